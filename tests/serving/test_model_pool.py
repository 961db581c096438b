"""The models of a server: who waits for one that is at work, and what becomes of them at its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.archives import new_archive
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.generations.records import Generation, generation_in_state
from vaultembed.deadline import Deadline, within
from vaultembed.errors import ModelError, TimedOutError
from vaultembed.models.errors import EmbedderCrashedError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child
from vaultembed.models.protocol import Embedded, Embedder, Role
from vaultembed.serving import model_pool
from vaultembed.serving.model_pool import KeptEmbedders

PATIENCE = 30.0


class SlowEmbedder(WordHashEmbedder):
    """At work on "slow" until it is told to go on, or closed by another thread, as a child process can be."""

    def __init__(self) -> None:
        super().__init__()
        self.is_at_work = threading.Event()
        self.goes_on = threading.Event()
        self.is_closed = False

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        if "slow" in texts:
            self.is_at_work.set()
            self.goes_on.wait(PATIENCE)
            if self.is_closed:
                raise EmbedderCrashedError("the model process died")
        return super().embed(texts, role)

    def close(self) -> None:
        self.is_closed = True
        self.goes_on.set()


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 1)
        run(archive)
        found = generation_in_state(archive, "active")
    assert found is not None
    return found


@contextmanager
def thread(outcomes: list[object], function: Callable[[], object], deadline: Deadline | None = None) -> Iterator[None]:
    """What the function returns, or the class of what it raises, is in `outcomes` at the end."""

    def call() -> None:
        try:
            with within(deadline or Deadline(3600)):
                outcomes.append(function())
        except Exception as error:
            outcomes.append(type(error))

    running = threading.Thread(target=call, daemon=True)
    running.start()
    yield
    running.join(PATIENCE)
    assert not running.is_alive()


@contextmanager
def at_work(generation: Generation) -> Iterator[tuple[KeptEmbedders, SlowEmbedder, Embedder]]:
    """With a call that the model is at work on."""
    slow = SlowEmbedder()
    embedders = KeptEmbedders(lambda _: slow)
    kept = embedders.open(generation)
    with thread([], lambda: kept.embed(["slow"])):
        assert slow.is_at_work.wait(PATIENCE)
        try:
            yield embedders, slow, kept
        finally:
            slow.goes_on.set()


def test_who_gives_up_does_not_wait_for_a_model_that_is_at_work_and_never_asks_it(generation: Generation) -> None:
    with at_work(generation) as (_, slow, kept):
        outcomes, deadline = list[object](), Deadline(3600)
        with thread(outcomes, lambda: kept.embed(["boat"]), deadline):
            deadline.give_up()
        assert outcomes == [TimedOutError]
    assert "boat" not in slow.texts


def test_who_has_given_up_does_not_ask_a_model_that_is_free(generation: Generation) -> None:
    slow = SlowEmbedder()
    kept = KeptEmbedders(lambda _: slow).open(generation)
    deadline = Deadline(3600)
    deadline.give_up()
    with within(deadline), pytest.raises(TimedOutError):
        kept.embed(["boat"])
    assert slow.texts == []


def test_tokens_are_counted_while_the_model_is_at_work(generation: Generation) -> None:
    with at_work(generation) as (_, _, kept):
        outcomes: list[object] = []
        with thread(outcomes, lambda: kept.count_tokens("boat")):
            pass
        assert outcomes == [3]


def test_at_the_end_nobody_who_still_waits_asks_the_model_again(
    generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_pool, "_END_SECONDS", 0.1)
    with at_work(generation) as (embedders, slow, kept):
        outcomes: list[object] = []
        with thread(outcomes, lambda: kept.embed(["boat"])):
            embedders.close()
        assert outcomes == [ModelError]
        with pytest.raises(ModelError):
            embedders.open(generation)
    assert "boat" not in slow.texts


def test_at_the_end_no_process_is_started_any_more(generation: Generation, model: ModelFile) -> None:
    child = open_in_child(model)
    embedders = KeptEmbedders(lambda _: child)
    kept = embedders.open(generation)
    kept.embed(["boat"])
    embedders.close()
    try:
        with pytest.raises(ModelError):
            kept.embed(["roof"])
        assert child.process_id is None
    finally:
        child.close()


def test_the_end_of_a_model_for_a_third_one_keeps_nobody_from_the_second(generation: Generation) -> None:
    is_ending, may_end = threading.Event(), threading.Event()

    class Lingering(WordHashEmbedder):
        def close(self) -> None:
            is_ending.set()
            may_end.wait(PATIENCE)

    embedders = KeptEmbedders(lambda _: Lingering())
    first, second, third = (replace(generation, space=space) for space in ("first", "second", "third"))
    embedders.open(first)
    kept = embedders.open(second)
    with thread([], lambda: embedders.open(third)):
        assert is_ending.wait(PATIENCE)
        try:
            with within(Deadline(PATIENCE / 3)):
                assert embedders.open(second) is kept
        finally:
            may_end.set()


def test_the_question_after_the_process_was_killed_is_answered_by_another(
    generation: Generation, model: ModelFile
) -> None:
    child = open_in_child(model)
    embedders = KeptEmbedders(lambda _: child)
    kept = embedders.open(generation)
    for query in ("boat", "harbour", "sea"):
        assert kept.embed([query], "query").vectors.shape == (1, model.facts.dimension)
        process_id = child.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
    kept.embed(["island"], "query")
    embedders.close()
    with pytest.raises(ModelError):
        kept.embed(["tide"], "query")
