"""A build stops within seconds, whatever the model is doing, and keeps what is embedded; no message makes a step long,
and no kill is held against one that is merely long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from tests.archive.generations.test_leases import dead_worker
from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.leases import GIVE_UP_AFTER, Worker, claim
from vaultembed.archive.generations.outcomes import list_failures
from vaultembed.archive.generations.records import (
    Coverage,
    Generation,
    coverage_of,
    generation_with_id,
    list_generations,
)
from vaultembed.archive.generations.transitions import retire
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.mail.lexical import rank_by_words
from vaultembed.embeddings import stopping
from vaultembed.embeddings.ahead import PrepareAhead, Scan, ScanLimits
from vaultembed.embeddings.recipe import MOST_CHUNKS, Job, Recipe, recipe_for
from vaultembed.embeddings.stopping import STEP_SECONDS, Pace, StoppableEmbedder
from vaultembed.embeddings.worker import Limits, new_worker
from vaultembed.errors import StoppedError
from vaultembed.failpoints import action_at
from vaultembed.models.errors import EmbedderCrashedError
from vaultembed.models.host import ChildEmbedder
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, Role


def text_of(words: int, name: str = "w") -> str:
    return " ".join(f"{name}{n}" for n in range(words))


def job_of(generation: Generation) -> Job:
    return Job(generation, Recipe.from_tag(generation.recipe))


class StopsAfter(WordHashEmbedder):
    """Is told to stop while it embeds for the n-th time."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._calls = calls
        self.calls = 0

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        self.calls += 1
        return super().embed(texts, role)

    def should_stop(self) -> bool:
        return self.calls >= self._calls


@pytest.mark.parametrize("calls", range(4, 9))
def test_a_build_stops_after_the_call_in_hand_and_keeps_each_message_that_is_finished(
    archive: Archive, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "step", lambda _pace, texts: min(2, len(texts)))
    for n in range(40):
        add(archive, f"subject {n}", text_of(250, f"w{n}x"), message_id=str(n))  # three chunks each
    embedder = StopsAfter(calls)
    paused = run(archive, embedder, should_stop=embedder.should_stop)
    assert paused.interrupted
    assert embedder.calls == calls, "the model was given more"
    # four calls try the model; each other one gives two chunks of three
    assert paused.coverage == Coverage(40, embedded=2 * (calls - 4) // 3, blank=0, failed=0)
    assert archive.rows("SELECT * FROM embed_leases") == []
    check_invariants(archive.path)
    assert run(archive).coverage.embedded == 40
    assert archive.scalar("SELECT max(attempts) FROM embed_outcomes") == 1


class Slow(StopsAfter):
    def __init__(self) -> None:
        super().__init__(0)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        time.sleep(0.02)
        return super().embed(texts, role)


def test_an_error_ends_a_build_after_the_call_in_hand_too(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "step", lambda _pace, _texts: 1)
    fill(archive, 199)
    slow = Slow()
    at_the_error: list[int] = []

    def interrupt(_: object) -> None:
        at_the_error.append(slow.calls)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(archive, slow, on_batch=interrupt)
    assert slow.calls - at_the_error[0] <= 2
    assert archive.rows("SELECT * FROM embed_leases") == []
    assert archive.rows("SELECT outcome FROM embed_runs") == [("interrupted",)]


def test_within_a_time_that_is_over_already_a_first_small_batch_is_embedded(archive: Archive) -> None:
    fill(archive, 300)
    coverages = [run(archive, limits=Limits(until=time.monotonic())).coverage.embedded for _ in range(3)]
    assert 0 < coverages[0] < coverages[1] < coverages[2] < 100


def test_no_message_is_prepared_once_a_build_is_to_stop(archive: Archive) -> None:
    """Of megabytes of quotations nothing is left to be embedded, so that dozens of them, a second each, are a batch."""
    fill(archive, 40)
    job = job_of(run(archive, should_stop=lambda: True).generation)
    reached, went_on = threading.Event(), threading.Event()

    def close() -> None:
        reached.set()
        assert ahead._stopped.wait(10)

    with action_at("build.prepare.5", close), action_at("build.prepare.6", went_on.set):
        ahead = PrepareAhead(archive.path, job, WordHashEmbedder(), new_worker(None), ScanLimits())
        assert reached.wait(10)
        ahead.close()
    assert not went_on.is_set()


def test_what_a_worker_died_over_is_suspect_until_all_of_it_is_prepared(archive: Archive) -> None:
    fill(archive, 40)
    job = job_of(run(archive, should_stop=lambda: True).generation)
    assert claim(archive, 1, dead_worker(), 0) is not None
    stop = threading.Event()
    scan = Scan(archive, job, WordHashEmbedder(), new_worker(None), ScanLimits(), lambda: None, stop.is_set)
    with action_at("build.prepare.5", stop.set), pytest.raises(StoppedError):
        list(scan)
    assert archive.rows("SELECT attempts FROM embed_leases") == [(1,)]


def test_what_was_changed_behind_the_archive_layer_is_not_all_indexed_before_a_build_stops(archive: Archive) -> None:
    fill(archive, 20)
    archive.db.execute("UPDATE messages SET subject = subject || ' x'")
    assert refresh_stale(archive, iter([False, False, True]).__next__, batch=5) == 10
    run(archive, should_stop=lambda: True)
    assert count_stale(archive) == 10
    run(archive)
    assert count_stale(archive) == 0


def test_the_model_is_given_little_at_first_then_a_step_and_less_before_the_time_is_over() -> None:
    texts = ["x" * 1000] * 200
    pace = Pace(lambda: False, None)
    assert pace.step(texts) == 2
    pace.learn(texts[:2], 0.1)
    assert pace.step(texts) == 20 * STEP_SECONDS
    assert pace.step(["x" * 10**6]) == 1
    ending = Pace(lambda: False, time.monotonic() + 1)
    ending.learn(texts[:2], 0.1)
    assert 10 < ending.step(texts) <= 20
    assert Pace(lambda: False, time.monotonic() - 9).step(texts) == 1


@pytest.fixture
def child(model: ModelFile) -> ChildEmbedder:
    return ChildEmbedder(model)


@pytest.mark.parametrize("is_loading", [True, False])
def test_a_model_that_does_not_answer_is_given_up(
    child: ChildEmbedder, is_loading: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE_SECONDS", 0.1)
    stop = threading.Event()
    embedder = StoppableEmbedder(child, stop.is_set)
    if is_loading:
        threading.Timer(0.1, stop.set).start()
    else:
        embedder.embed(["it is loaded"])
        assert child.process_id is not None
        os.kill(child.process_id, signal.SIGSTOP)
        stop.set()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        embedder.embed(["a text"] * 40)
    embedder.close()
    assert child.process_id is None
    assert time.monotonic() - began < 2


def test_a_child_that_dies_while_the_build_is_to_stop_blames_no_text() -> None:
    """A service is stopped by a signal to all of its processes."""
    dying = WordHashEmbedder(fatal=["mushroom"])
    assert isinstance(caught(lambda: StoppableEmbedder(dying, lambda: False).embed(["mushroom"])), EmbedderCrashedError)
    assert isinstance(caught(lambda: StoppableEmbedder(dying, lambda: True).embed(["mushroom"])), StoppedError)


def caught(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error
    return None


# Enormous messages


def test_of_an_enormous_message_the_beginning_is_embedded_and_all_of_it_is_found_by_words(archive: Archive) -> None:
    fill(archive, 3)
    (log,) = [add(archive, "the log", f"{text_of(40_000)} needle", message_id="log")]
    embedder = WordHashEmbedder()
    built = run(archive, embedder)
    assert built.activated
    assert built.coverage == Coverage(live=4, embedded=4, blank=0, failed=0, in_part=1)
    assert archive.scalar("SELECT count(*) FROM chunks WHERE message_id = ?", (log,)) == MOST_CHUNKS
    assert len(set(embedder.texts)) <= MOST_CHUNKS + 4
    recipe = built.generation.recipe
    assert archive.scalar("SELECT recipe FROM embed_outcomes WHERE message_id = ?", (log,)) == f"{recipe}c{MOST_CHUNKS}"
    assert archive.scalar("SELECT recipe FROM embed_outcomes WHERE message_id <> ?", (log,)) == recipe
    assert str(archive.scalar("SELECT text FROM message_texts WHERE message_id = ?", (log,))).endswith("needle")
    assert [match.message_id for match in rank_by_words(archive, "needle", 5, Filter())] == [log]
    check_invariants(archive.path)
    assert run(archive).run.embedded == 0
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (log,))
    assert coverage_of(archive, 1).in_part == 0
    archive.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = ?", (log,))
    assert coverage_of(archive, 1).in_part == 1
    archive.db.execute("UPDATE message_bodies SET body_text = 'short' WHERE message_id = ?", (log,))
    assert coverage_of(archive, 1) == Coverage(live=4, embedded=3, blank=0, failed=0)
    assert run(archive).coverage == Coverage(live=4, embedded=4, blank=0, failed=0)


@pytest.mark.parametrize(("tokens", "chunks"), [(16, 64), (256, 64), (512, 32), (8192, 2), (10**6, 1)])
def test_large_chunks_are_fewer(tokens: int, chunks: int) -> None:
    assert recipe_for(10**6, tokens).most_chunks == chunks


def test_a_generation_from_before_keeps_its_fingerprint_and_what_it_has_whole(archive: Archive) -> None:
    """A message that it has in all its chunks is not embedded again, and it is gone back to as it is."""
    fill(archive, 3)
    first = run(archive).generation
    assert first.recipe == "p2:t128o16"
    run(archive, WordHashEmbedder("another"))
    retire(archive, 2, force=True)
    reopened = run(archive)
    assert (reopened.generation.id, reopened.run.embedded) == (1, 0)
    assert list_generations(archive)[0].fingerprint == first.fingerprint


# Kills


def dies_after_preparing(archive: Archive, worker: Worker) -> None:
    """As a process that is killed while the model is at work."""
    job = job_of(generation_with_id(archive, 1))
    next(iter(Scan(archive, job, WordHashEmbedder(), worker, ScanLimits(), lambda: None)))


def test_a_message_that_is_merely_long_is_embedded_however_often_its_worker_is_killed(archive: Archive) -> None:
    log = add(archive, "the log", text_of(20_000), message_id="log")
    fill(archive, 2)
    assert run(archive, should_stop=lambda: True).coverage.embedded == 0
    for _ in range(3 * GIVE_UP_AFTER):
        dies_after_preparing(archive, dead_worker())
    assert archive.scalar("SELECT max(attempts) FROM embed_leases") <= 1
    assert run(archive).coverage == Coverage(live=3, embedded=3, blank=0, failed=0, in_part=1)
    assert list_failures(archive, 1) == []
    assert archive.scalar("SELECT outcome FROM embed_outcomes WHERE message_id = ?", (log,)) == "embedded"
    check_invariants(archive.path)
