"""A call that is over leaves the model at its work: what it owes, the calls to come wait for and tell apart."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from vaultembed.deadline import Deadline, within
from vaultembed.errors import TimedOutError
from vaultembed.models.errors import EmbedderCrashedError
from vaultembed.models.host import ChildEmbedder
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, Role

PATIENCE = 30.0


@pytest.fixture
def child(model: ModelFile) -> Iterator[ChildEmbedder]:
    embedder = ChildEmbedder(model)
    yield embedder
    embedder.close()


@contextmanager
def stopped(embedder: ChildEmbedder) -> Iterator[None]:
    """Stands for a model that is slow."""
    assert embedder.process_id is not None
    os.kill(embedder.process_id, signal.SIGSTOP)
    yield
    os.kill(embedder.process_id, signal.SIGCONT)


def give_up_on(embedder: ChildEmbedder, text: str, role: Role = "document") -> None:
    with stopped(embedder):
        with within(Deadline(0.05)), pytest.raises(TimedOutError):
            embedder.embed([text], role)
        assert embedder.process_id is not None


def same(one: Embedded, other: Embedded) -> bool:
    return bool(np.array_equal(one.vectors, other.vectors))


def test_a_call_that_is_over_keeps_the_model_and_each_later_call_gets_its_own_answer(child: ChildEmbedder) -> None:
    boat, roof = child.embed(["boat"]), child.embed(["roof"])
    before = child.process_id
    for asked, expected in (("boat", boat), ("roof", roof)):
        give_up_on(child, "boat")
        assert same(child.embed([asked]), expected)
        assert same(child.embed(["roof"]), roof)
    assert child.process_id == before


def test_what_is_wrong_with_the_text_of_a_call_that_is_over_is_not_told_to_another(child: ChildEmbedder) -> None:
    boat = child.embed(["boat"])
    give_up_on(child, "boat " * 600)
    assert same(child.embed(["boat"]), boat)


def test_loading_goes_on_across_calls_that_are_too_short_for_it(child: ChildEmbedder) -> None:
    children, times_over, end = set(), 0, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with within(Deadline(0.05)):
                child.embed(["boat"])
            break
        except TimedOutError:
            times_over += 1
            children.add(child.process_id)
    else:
        pytest.fail("the model was never loaded")
    assert times_over > 0
    assert children == {child.process_id}


def test_a_child_that_hangs_is_replaced(model: ModelFile) -> None:
    embedder = ChildEmbedder(model, hung_seconds=0.2)
    try:
        boat = embedder.embed(["boat"])
        before = embedder.process_id
        assert before is not None
        os.kill(before, signal.SIGSTOP)
        with within(Deadline(0.05)), pytest.raises(TimedOutError):
            embedder.embed(["roof"])
        time.sleep(0.2)
        with within(Deadline(PATIENCE)):
            assert same(embedder.embed(["boat"]), boat)
        assert embedder.process_id != before
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
    finally:
        embedder.close()


class Watched(Deadline):
    """Tells when a call has begun to wait."""

    def __init__(self) -> None:
        super().__init__(3600)
        self.waits = threading.Event()

    def wait(self, happens: Callable[[float], object]) -> None:
        self.waits.set()
        super().wait(happens)


@contextmanager
def waiting(embedder: ChildEmbedder, outcomes: list[object]) -> Iterator[Watched]:
    """Another thread waits for an answer; what becomes of it is added to `outcomes`."""
    deadline = Watched()

    def ask() -> None:
        try:
            with within(deadline):
                outcomes.append(embedder.embed(["roof"]))
        except Exception as error:
            outcomes.append(type(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert deadline.waits.wait(PATIENCE)
    yield deadline
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_who_gives_up_waits_no_longer_and_the_model_stays(child: ChildEmbedder) -> None:
    boat, outcomes = child.embed(["boat"]), list[object]()
    before = child.process_id
    with stopped(child), waiting(child, outcomes) as deadline:
        deadline.give_up()
    assert outcomes == [TimedOutError]
    assert same(child.embed(["boat"]), boat)
    assert child.process_id == before


def test_who_waits_while_another_thread_closes_is_told_that_the_model_has_died(child: ChildEmbedder) -> None:
    child.embed(["boat"])
    assert child.process_id is not None
    os.kill(child.process_id, signal.SIGSTOP)
    outcomes: list[object] = []
    with waiting(child, outcomes):
        child.close()
    assert outcomes == [EmbedderCrashedError]
