"""What must always be true, each with its twin: the naive way, over the same events, and how it goes wrong.

Compare-and-set on `content_rev`, and the watermark that can only be wrong low, have theirs in test_races.py.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import numpy as np
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run, search, verify
from tests.kit.embedder import WordHashEmbedder
from tests.kit.processes import vaultembed
from tests.kit.truth import check_surfaced
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations import transitions
from vaultembed.archive.generations.leases import claim
from vaultembed.archive.generations.records import coverage_of
from vaultembed.archive.generations.work import work_ids
from vaultembed.archive.ledger import run_once
from vaultembed.archive.vector_format import to_bits
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.resilient import PROBE, NoVector, embed_texts
from vaultembed.embeddings.worker import Limits, new_worker
from vaultembed.errors import IncompleteError, ModelError, VaultembedError
from vaultembed.failpoints import action_at
from vaultembed.models.errors import BadTextError
from vaultembed.models.protocol import Embedded, Role


class Killed(Exception):  # noqa: N818 (it is no error)
    """Stands for a kill where another transaction of this process would hide what a kill leaves behind."""


def killed() -> None:
    raise Killed


def from_the_shell(archive: Archive, sql: str) -> None:
    """By a program that knows nothing of vaultembed, nor of sqlite-vec. In a process of its own: a second SQLite in
    this one would take away the locks of the first when it closes the file."""
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()"
    subprocess.run([sys.executable, "-c", script, str(archive.path), sql], check=True)


@contextmanager
def without_triggers(archive: Archive, like: str) -> Iterator[None]:
    dropped = archive.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE ?", (like,))
    assert dropped
    for name, _ in dropped:
        archive.db.execute(f"DROP TRIGGER {name}")
    try:
        yield
    finally:
        for _, sql in dropped:
            archive.db.execute(sql)


class WithoutTransactions(Archive):
    """Each statement of a connection stands for itself."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive.path, archive.db, writable=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


# I1. Nothing to enqueue ----------------------------------------------------------------------------------------------

EDITS = (
    "UPDATE messages SET subject = 'elephants' WHERE id = 3",
    "UPDATE message_bodies SET body_text = 'elephants' WHERE message_id = 3",
    "DELETE FROM message_bodies WHERE message_id = 3",
)
METADATA = (
    "UPDATE messages SET sent_at = 5, snippet = 'x', list_id = 'x', size_bytes = 7, zone_minutes = 60 WHERE id = 3",
    "UPDATE messages SET subject = subject WHERE id = 3",
    "UPDATE message_bodies SET body_text = body_text WHERE message_id = 3",
    "INSERT INTO message_labels SELECT 3, id FROM labels",
)


@pytest.mark.parametrize("edit", EDITS)
def test_whoever_changes_a_text_makes_its_message_work(archive: Archive, edit: str) -> None:
    fill(archive, 5)
    run(archive)
    from_the_shell(archive, edit)
    assert archive.scalar("SELECT embed_gen FROM messages WHERE id = 3") is None
    assert run(archive).run.embedded == 1
    assert check_surfaced(archive, 1) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("edit", EDITS)
def test_twin_of_an_embedder_that_must_be_told_what_changed(archive: Archive, edit: str) -> None:
    fill(archive, 5)
    run(archive)
    with without_triggers(archive, "content_changed_%"):
        from_the_shell(archive, edit)
    assert run(archive).run.embedded == 0
    with pytest.raises(AssertionError, match="no longer theirs"):
        check_surfaced(archive, 1)


@pytest.mark.parametrize("edit", METADATA)
def test_what_is_not_embedded_makes_no_work(archive: Archive, edit: str) -> None:
    fill(archive, 5)
    archive.db.execute("INSERT INTO labels(name, kind) VALUES ('work', 'label')")
    run(archive)
    before = archive.rows("SELECT id, content_rev, embed_gen FROM messages")
    from_the_shell(archive, edit)
    assert archive.rows("SELECT id, content_rev, embed_gen FROM messages") == before


def test_twin_of_a_trigger_on_any_change_embeds_again_what_is_the_same(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    from_the_shell(archive, METADATA[0])
    from_the_shell(archive, "UPDATE messages SET content_rev = content_rev + 1 WHERE id = 3")  # as it would
    assert run(archive).run.embedded == 1


# I2. One transaction per batch ---------------------------------------------------------------------------------------


def test_a_batch_that_does_not_come_to_its_end_leaves_nothing(archive: Archive) -> None:
    fill(archive, 5)
    with action_at("build.before_commit", killed), pytest.raises(Killed):
        run(archive)
    assert archive.scalar("SELECT count(*) FROM vectors") == 0
    check_invariants(archive.path)
    assert run(archive).run.embedded == 5


def test_twin_of_single_writes_leaves_messages_that_count_as_embedded_without_their_vectors(archive: Archive) -> None:
    """Outcome and stamp first, vectors after: whichever order there is, a kill between them leaves one alone."""
    fill(archive, 5)
    run(archive)
    archive.db.execute("UPDATE messages SET subject = 'elephants' WHERE id = 3")

    def kill_at_vectors(operation: int, table: str | None, *_: object) -> int:
        if operation == apsw.SQLITE_INSERT and table == "vectors":
            raise Killed
        return apsw.SQLITE_OK

    archive.db.authorizer = kill_at_vectors
    with pytest.raises(Killed):
        run(WithoutTransactions(archive))
    archive.db.authorizer = None
    with pytest.raises(AssertionError):
        check_invariants(archive.path)


def test_a_vector_without_a_chunk_or_of_another_length_is_refused(archive: Archive) -> None:
    fill(archive, 2)
    run(archive)
    with pytest.raises(apsw.ConstraintError):
        archive.db.execute("INSERT INTO vectors VALUES (99, zeroblob(128), 0)")
    for sql, why in (
        ("UPDATE vectors SET embedding = zeroblob(6) WHERE chunk_id = 1", "dimension"),
        ("UPDATE generations SET dimension = 3", "never change"),
        ("UPDATE generations SET space = 'another'", "never change"),
        ("UPDATE chunks SET message_id = 2 WHERE message_id = 1", "for good"),
    ):
        with pytest.raises(apsw.ConstraintError, match=why):
            archive.db.execute(sql)


# I5. Search never shows what is not true now -------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [EDITS[0], EDITS[2], "UPDATE messages SET deleted_at = 1 WHERE id = 3"])
def test_what_changed_is_out_of_every_result_at_once(archive: Archive, gone: str) -> None:
    fill(archive, 5)
    run(archive)
    assert search(archive, "word2 body2 text")[0] == 3
    from_the_shell(archive, gone)
    assert search(archive, "word2 body2 text")
    assert 3 not in search(archive, "word2 body2 text")
    assert 3 in naive_search(archive, "word2 body2 text"), "the twin no longer fails: it proves nothing"


def naive_search(archive: Archive, text: str) -> list[int]:
    """The nearest rows of the index, whatever has become of their messages."""
    query = WordHashEmbedder().embed([text], "query").vectors
    rows = archive.rows(
        "SELECT c.message_id FROM vec_1 x JOIN chunks c ON c.id = x.rowid"
        " WHERE x.embedding MATCH vec_bit(?) AND k = 5 ORDER BY x.distance",
        (to_bits(np.asarray(query[0], "<f2").tobytes()),),
    )
    return [row[0] for row in rows]


# I6. One bad message stops nothing -----------------------------------------------------------------------------------


def test_one_bad_message_is_failed_with_its_reason_and_the_rest_goes_through(archive: Archive) -> None:
    fill(archive, 9)
    bad = add(archive, "poison", "mushroom", message_id="bad")
    built = run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=1)
    assert (built.run.embedded, built.run.failed) == (9, 1)
    found = archive.rows("SELECT message_id, reason FROM embed_outcomes WHERE outcome = 'failed'")
    assert found == [(bad, "its vector is not finite")]
    archive.db.execute("UPDATE message_bodies SET body_text = 'wholesome' WHERE message_id = ?", (bad,))
    assert run(archive, WordHashEmbedder(refused=["mushroom"])).run.embedded == 1, "it is tried again by itself"


def test_twin_of_a_batch_that_stands_or_falls_together() -> None:
    texts = [*(f"word{n}" for n in range(9)), "mushroom"]
    embedder = WordHashEmbedder(refused=["mushroom"])
    with pytest.raises(BadTextError):
        embedder.embed(texts)
    assert [isinstance(result, NoVector) for result in embed_texts(embedder, texts).results] == [False] * 9 + [True]


def falls_sick(embedder: WordHashEmbedder) -> Callable[[], None]:
    def fall() -> None:
        embedder._sick = True

    return fall


def test_of_a_sick_model_no_message_is_blamed(archive: Archive) -> None:
    fill(archive, 9)
    embedder = WordHashEmbedder()
    with action_at("build.after_read", falls_sick(embedder)), pytest.raises(ModelError, match="does not work"):
        run(archive, embedder)
    assert archive.rows("SELECT * FROM embed_outcomes") == []
    assert run(archive).run.embedded == 9


def test_twin_without_a_probe_takes_the_sickness_of_the_model_for_that_of_every_message(archive: Archive) -> None:
    class SeemsWell(WordHashEmbedder):
        """What it is probed with, it embeds: as if it were not probed at all."""

        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            return WordHashEmbedder().embed(texts) if texts == [PROBE] else super().embed(texts, role)

    fill(archive, 9)
    embedder = SeemsWell()
    with action_at("build.after_read", falls_sick(embedder)):
        run(archive, embedder, max_failed=9)
    assert coverage_of(archive, 1).failed == 9


# I7. Activation is one transaction -----------------------------------------------------------------------------------


@pytest.fixture
def two(archive: Archive) -> Archive:
    """Generation 1 active, 2 complete, verified and held."""
    fill(archive, 5)
    run(archive)
    run(archive, WordHashEmbedder("two"), wanted=Wanted(model_named=True), hold=True)
    verify(archive, 2, WordHashEmbedder("two"))
    return archive


def test_a_generation_that_misses_something_or_has_nothing_is_not_activated(two: Archive) -> None:
    add(two, "new", "mail", message_id="new")
    with pytest.raises(IncompleteError, match="misses 1 of 6"):
        transitions.activate(two, 2, 0)
    two.db.execute("DELETE FROM embed_outcomes WHERE generation_id = 2")
    for force in (False, True):
        with pytest.raises(VaultembedError, match="is empty"):
            transitions.activate(two, 2, 0, force=force)
    assert states(two) == [(1, "active"), (2, "building")]


def states(archive: Archive) -> list[tuple[object, ...]]:
    return archive.rows("SELECT id, state FROM generations ORDER BY id")


def half_way(count: int) -> Callable[[], None]:
    """Killed at the count-th point of a transition."""
    left = [count]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return step


@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_is_one_active_generation_before_and_after(two: Archive, count: int) -> None:
    with action_at("transition.step", half_way(count)), pytest.raises(Killed):
        transitions.activate(two, 2, 0)
    assert states(two) == [(1, "active"), (2, "building")]


def test_twin_of_two_statements_leaves_none(two: Archive) -> None:
    with action_at("transition.step", half_way(2)), pytest.raises(Killed):
        transitions.activate(WithoutTransactions(two), 2, 0)
    assert states(two) == [(1, "retired"), (2, "building")], "the twin no longer fails: it proves nothing"


def test_two_can_be_neither_active_nor_built(two: Archive) -> None:
    for sql in (
        "UPDATE generations SET state = 'active' WHERE id = 2",
        "UPDATE generations SET state = 'building' WHERE id = 1",
    ):
        with pytest.raises(apsw.ConstraintError):
            two.db.execute(sql)
        assert states(two) == [(1, "active"), (2, "building")]


def test_after_a_rollback_nothing_is_embedded_again(two: Archive) -> None:
    transitions.activate(two, 2, 0)
    assert transitions.rollback(two).id == 1
    embedder = WordHashEmbedder()
    run(two, embedder)
    assert embedder.texts == []


def test_twin_that_renews_no_stamps_would_embed_all_of_it_again(two: Archive) -> None:
    transitions.activate(two, 2, 0)
    transitions.rollback(two)
    assert len(work_ids(two, 1, 0, 10)) == 5
    transitions.restamp(two)
    assert work_ids(two, 1, 0, 10) == []


# I8. Two processes are normal ----------------------------------------------------------------------------------------


def test_two_workers_never_get_the_same_message(archive: Archive) -> None:
    fill(archive, 10)
    run(archive, limits=Limits(messages=2))
    one, other = new_worker(None), new_worker(None)
    first, second = claim(archive, 1, one, 0, 4), claim(archive, 1, other, 0, 4)
    assert first is not None
    assert second is not None
    assert not set(first.message_ids) & set(second.message_ids)
    naive = [work_ids(archive, 1, 0, 4) for _ in range(2)]
    assert naive[0] == naive[1], "the twin, which asks for work and leases nothing, no longer fails: it proves nothing"


# I9. One-time steps run once -----------------------------------------------------------------------------------------

Once = Callable[[Archive, Callable[[], str]], object]


def by_the_ledger(archive: Archive, step: Callable[[], str]) -> object:
    return run_once(archive, "backfill", step)


def naively(archive: Archive, step: Callable[[], str]) -> object:
    """Asks, works, and makes a note of it, each by itself."""
    if archive.scalar("SELECT 1 FROM applied_steps WHERE name = 'backfill'"):
        return False
    detail = step()
    return archive.db.execute("INSERT INTO applied_steps VALUES ('backfill', 0, ?) ON CONFLICT DO NOTHING", (detail,))


@pytest.mark.parametrize(("once", "times"), [(by_the_ledger, 1), (naively, 2)], ids=["ledger", "twin"])
def test_of_two_processes_one_does_what_is_to_be_done_once(archive: Archive, once: Once, times: int) -> None:
    done: list[str] = []
    both_in = threading.Barrier(2)

    def step() -> str:
        done.append("once")
        with suppress(threading.BrokenBarrierError):
            both_in.wait(0.3)  # as if it took long: long enough for the other to come in, if it can
        return "done"

    def process() -> None:
        with open_archive(archive.path) as opened:
            once(opened, step)

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == times


def test_a_step_that_fails_is_not_noted_as_done(archive: Archive) -> None:
    with pytest.raises(Killed):
        run_once(archive, "backfill", killed)  # type: ignore[arg-type]
    assert archive.rows("SELECT * FROM applied_steps WHERE name = 'backfill'") == []


# I10. Old data is never destroyed to make room for new ---------------------------------------------------------------


@pytest.fixture
def replaced(two: Archive) -> Path:
    """Generation 1 is out of use, and can be gone back to."""
    transitions.activate(two, 2, 0)
    return two.path


DESTRUCTIVE = (
    ("embeddings", "prune"),
    ("migrate", "--to", "101"),
    ("delete", "3"),
    ("delete", "3", "--forever"),
)


def digest(path: Path) -> list[tuple[object, ...]]:
    with open_archive(path) as archive:
        return [
            *archive.rows("SELECT id, deleted_at FROM messages"),
            *archive.rows("SELECT chunk_id, checksum FROM vectors"),
            *archive.rows("SELECT id, state, pruned_at FROM generations"),
        ]


@pytest.mark.parametrize("command", DESTRUCTIVE, ids=" ".join)
def test_what_destroys_asks_and_without_an_answer_does_nothing(replaced: Path, command: tuple[str, ...]) -> None:
    before = digest(replaced)
    refused = vaultembed(*command, archive=replaced)
    assert refused.returncode == 2, refused.stderr
    assert "--yes" in refused.stderr
    assert digest(replaced) == before
    # else it would prove nothing
    done = vaultembed(*command, "--yes", archive=replaced)
    assert done.returncode == 0, done.stderr
    if command[0] != "migrate":  # which made a backup
        assert digest(replaced) != before


def test_a_build_with_another_model_takes_nothing_from_the_one_in_use(two: Archive) -> None:
    first = "SELECT c.id, v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = 1"
    before = two.rows(first)
    transitions.activate(two, 2, 0)
    run(two, WordHashEmbedder("three"), wanted=Wanted(model_named=True))
    assert two.rows(first) == before
    assert len(before) == 5


def test_a_backup_is_not_written_over(replaced: Path, tmp_path: Path) -> None:
    there = tmp_path / "precious"
    there.write_text("precious")
    done = vaultembed("backup", there, archive=replaced)
    assert done.returncode not in (0, 70)
    assert there.read_text() == "precious"
