from __future__ import annotations

import random
import time

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import fill, run, search
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import coverage_of, list_generations
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import discard, restamp, rollback
from vaultembed.archive.mail.deletion import delete_softly
from vaultembed.archive.upkeep.pruning import (
    Collected,
    collect_garbage,
    find_prunable,
    prune_generation,
    remove_unused_texts,
)
from vaultembed.archive.upkeep.shrinking import scattered_bytes, shrink
from vaultembed.archive.vectors import coarse_table
from vaultembed.embeddings.build import Wanted
from vaultembed.errors import UsageError, VaultembedError
from vaultembed.failpoints import action_at
from vaultembed.processes import this_process


def two_generations(archive: Archive, count: int) -> None:
    """Generation 1 retired, 2 active."""
    fill(archive, count)
    run(archive, WordHashEmbedder("one"))
    run(archive, WordHashEmbedder("two"))
    assert [g.state for g in list_generations(archive)] == ["retired", "active"]


def left_of(archive: Archive, generation_id: int) -> dict[str, int]:
    tables = ("chunks", "embed_outcomes", "scope_members", "embed_leases", "embed_watermark", "embed_coverage")
    return {
        table: number
        for table in (*tables, "vec_orphans")
        if (number := archive.scalar(f"SELECT count(*) FROM {table} WHERE generation_id = ?", (generation_id,)))
    }


def test_pruning_removes_a_generation_and_leaves_the_other_as_it_was(archive: Archive) -> None:
    two_generations(archive, 30)
    before = search(archive, "word7 body0", WordHashEmbedder("two"))
    assert [g.id for g in find_prunable(archive).generations] == [1]
    assert prune_generation(archive, 1)
    assert left_of(archive, 1) == {}
    assert archive.scalar("SELECT count(*) FROM vectors") == 30
    assert not coarse_table.has_vec_table(archive, 1)
    assert [(g.id, g.pruned_at is not None) for g in list_generations(archive)] == [(1, True), (2, False)]
    assert archive.scalar("SELECT count(*) FROM embed_runs WHERE generation_id = 1") == 1
    assert search(archive, "word7 body0", WordHashEmbedder("two")) == before
    assert coverage_of(archive, 2).missing == 0
    assert find_prunable(archive).generations == find_prunable(archive).begun == ()
    with pytest.raises(VaultembedError, match="no earlier generation"):
        rollback(archive)
    check_invariants(archive.path)


@pytest.mark.parametrize(("generation_id", "way_out"), [(2, "activate"), (3, "discard"), (9, "list")])
def test_what_is_in_use_or_not_there_is_refused_with_the_way_out(
    archive: Archive, generation_id: int, way_out: str
) -> None:
    two_generations(archive, 3)
    run(archive, WordHashEmbedder("three"), hold=True)
    with pytest.raises(UsageError) as refused:
        find_prunable(archive, [generation_id])
    assert way_out in (refused.value.hint or "")
    with pytest.raises(UsageError):
        prune_generation(archive, generation_id)
    assert archive.scalar("SELECT count(*) FROM vectors") == 9


def test_pruning_goes_on_wherever_it_was_interrupted(archive: Archive) -> None:
    """At every step that there is, one after the other; and the archive is right after each."""

    class InterruptedHereError(Exception):
        pass

    two_generations(archive, 12)
    steps = 0
    for stop_at in range(1, 100):
        left = stop_at

        def count() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise InterruptedHereError

        try:
            with action_at("prune.step", count):
                prune_generation(archive, 1)
        except InterruptedHereError:
            steps += 1
            check_invariants(archive.path)
            assert coverage_of(archive, 2).missing == 0
            found = find_prunable(archive)
            assert [g.id for g in (*found.generations, *found.begun)] in ([1], [])
            continue
        break
    assert steps >= 4
    assert left_of(archive, 1) == {}
    check_invariants(archive.path)


def test_pruning_before_the_stamps_are_renewed_embeds_nothing_again(archive: Archive) -> None:
    fill(archive, 20)
    run(archive, WordHashEmbedder("one"))
    run(archive, WordHashEmbedder("two"), hold=True)
    discard(archive, 2)  # the stamps still name it
    assert archive.scalar("SELECT count(*) FROM messages WHERE embed_gen = 2") == 20
    prune_generation(archive, 2)
    assert archive.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == 20
    embedder = WordHashEmbedder("one")
    run(archive, embedder)
    assert embedder.texts == []
    check_invariants(archive.path)


def test_a_generation_that_is_being_restamped_may_be_stopped(archive: Archive) -> None:
    fill(archive, 5)
    run(archive, WordHashEmbedder("one"))
    run(archive, WordHashEmbedder("two"), hold=True)
    discard(archive, 2)
    assert not prune_generation(archive, 2, lambda: True)
    assert list_generations(archive)[1].pruned_at is None
    restamp(archive)


def test_texts_that_no_outcome_is_about_go_and_the_others_stay(archive: Archive) -> None:
    two_generations(archive, 5)
    archive.db.execute("INSERT INTO message_texts VALUES (1, 'p0', 'an older preparation')")
    assert remove_unused_texts(archive) == 1
    assert archive.scalar("SELECT count(*) FROM message_texts") == 5
    archive.db.execute("UPDATE generations SET state = 'retired' WHERE id = 2")
    for generation_id in (1, 2):
        prune_generation(archive, generation_id)
    assert remove_unused_texts(archive) == 5


def test_rows_whose_chunk_was_deleted_with_plain_sql_are_collected(archive: Archive) -> None:
    fill(archive, 6)
    run(archive)
    archive.db.execute("DELETE FROM chunks WHERE message_id IN (2, 5)")
    assert archive.scalar("SELECT count(*) FROM vec_1") == 6
    assert collect_garbage(archive) == Collected(0, 2)
    assert archive.scalar("SELECT count(*) FROM vec_1") == 4
    check_invariants(archive.path)


def test_deleted_messages_lose_their_vectors_in_every_generation(archive: Archive) -> None:
    two_generations(archive, 6)
    delete_softly(archive, [1, 2])
    assert collect_garbage(archive) == Collected(2, 4)
    assert archive.scalar("SELECT count(*) FROM vectors") == 8
    assert archive.scalar("SELECT count(*) FROM message_texts") == 4
    assert collect_garbage(archive) == Collected(0, 0)
    check_invariants(archive.path)


def test_many_deleted_messages_are_collected_in_few_transactions(archive: Archive) -> None:
    fill(archive, 250)
    run(archive)
    delete_softly(archive, list(range(1, 251)))
    commits = 0

    def note() -> bool:
        nonlocal commits
        commits += 1
        return False

    archive.db.set_commit_hook(note)
    assert collect_garbage(archive) == Collected(250, 250)
    archive.db.set_commit_hook(None)
    assert commits <= 10
    check_invariants(archive.path)


def test_a_collection_may_be_stopped_between_transactions(archive: Archive) -> None:
    fill(archive, 250)
    run(archive)
    delete_softly(archive, list(range(1, 251)))
    answers = iter([False])
    stopped = collect_garbage(archive, lambda: next(answers, True))
    assert 0 < stopped.messages < 250
    assert archive.scalar("SELECT count(*) FROM deleted_with_remains") == 250 - stopped.messages
    check_invariants(archive.path)
    assert collect_garbage(archive).messages == 250 - stopped.messages
    check_invariants(archive.path)


def test_a_collection_that_is_interrupted_leaves_all_of_a_transaction_or_nothing(archive: Archive) -> None:
    """At every step that there is, one after the other."""
    two_generations(archive, 8)
    delete_softly(archive, [2, 3, 5, 7])

    class InterruptedHereError(Exception):
        pass

    for stop_at in range(1, 100):
        left = stop_at

        def count() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise InterruptedHereError

        try:
            with action_at("prune.step", count):
                collect_garbage(archive)
        except InterruptedHereError:
            check_invariants(archive.path)
            remains = archive.scalar("SELECT count(*) FROM deleted_with_remains")
            assert archive.scalar("SELECT count(*) FROM vectors") == 8 + 2 * remains
            assert remains in (4, 0)
            continue
        break
    assert stop_at > 8
    assert archive.scalar("SELECT count(*) FROM vectors") == 8
    check_invariants(archive.path)


def test_a_collection_with_nothing_to_do_is_cheap(archive: Archive) -> None:
    fill(archive, 200)
    run(archive)
    delete_softly(archive, list(range(1, 101)))
    collect_garbage(archive)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        collect_garbage(archive)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.002


def grown(archive: Archive, rows: int) -> None:
    """So many chunks with a vector each, of one message, without an embedder."""
    fill(archive, 1)
    run(archive)
    chance = random.Random(1)
    with archive.transaction():
        for index in range(1, rows):
            archive.db.execute("INSERT INTO chunks VALUES (NULL, 1, 1, ?, 0, 5, x'00', 0)", (index,))
            chunk = archive.db.last_insert_rowid()
            archive.db.execute("INSERT INTO vectors VALUES (?, ?, 0)", (chunk, chance.randbytes(2 * DIMENSION)))
            archive.db.execute(
                "INSERT INTO vec_1(rowid, embedding) SELECT ?, vec_bit(?)",
                (
                    chunk,
                    coarse_table.to_bits(archive.scalar("SELECT embedding FROM vectors WHERE chunk_id = ?", (chunk,))),
                ),
            )


def shown(archive: Archive) -> list[tuple[object, ...]]:
    return archive.rows("SELECT rowid, embedding FROM vec_1 ORDER BY rowid")


def test_holes_of_the_coarse_index_are_closed_and_what_it_finds_is_the_same(archive: Archive) -> None:
    grown(archive, 6_000)
    doomed = random.Random(2).sample(range(2, 6_001), 4_200)
    with archive.transaction():
        for chunk in doomed:
            archive.db.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
    collect_garbage(archive)
    empty, slots = coarse_table.holes(archive, 1)
    assert slots - empty == 1_800
    assert empty <= 2_048
    expected = archive.rows("SELECT chunk_id, embedding FROM vectors ORDER BY chunk_id")
    assert shown(archive) == [(chunk, coarse_table.to_bits(vector)) for chunk, vector in expected]


def test_an_interrupted_closing_of_holes_lacks_no_row(archive: Archive) -> None:
    grown(archive, 6_000)
    with archive.transaction():
        for chunk in random.Random(2).sample(range(2, 6_001), 4_200):
            archive.db.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
    while archive.scalar("SELECT count(*) FROM vec_orphans"):
        with archive.transaction():
            for (chunk,) in archive.rows("SELECT chunk_id FROM vec_orphans"):
                archive.db.execute("DELETE FROM vec_1 WHERE rowid = ?", (chunk,))
            archive.db.execute("DELETE FROM vec_orphans")
    before = shown(archive)
    slots = coarse_table.holes(archive, 1)[1]

    def fail() -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), action_at("prune.step", fail):
            coarse_table.close_holes(archive, 1)
        assert shown(archive) == before
    stops = iter([False])
    coarse_table.close_holes(archive, 1, lambda: next(stops, True))
    assert shown(archive) == before
    coarse_table.close_holes(archive, 1)
    assert shown(archive) == before
    assert coarse_table.holes(archive, 1)[1] < slots


def test_a_rebuilt_coarse_index_is_that_of_the_vectors(archive: Archive) -> None:
    fill(archive, 40)
    run(archive)
    before = shown(archive)
    archive.db.execute("DROP TABLE vec_1")
    assert coarse_table.rebuild(archive, 1) == 40
    assert shown(archive) == before
    check_invariants(archive.path)


def test_a_pruned_generation_gives_its_space_back_and_search_is_right_in_the_file_written_anew(
    archive: Archive,
) -> None:
    two_generations(archive, 400)
    before = search(archive, "word7 body0", WordHashEmbedder("two"))
    prune_generation(archive, 1)
    shrunk = shrink(archive)
    assert shrunk.bytes_after < shrunk.bytes_before
    assert archive.path.stat().st_size == shrunk.bytes_after
    assert archive.db.pragma("freelist_count") == 0
    assert search(archive, "word7 body0", WordHashEmbedder("two")) == before
    assert not coarse_table.is_misplaced(archive, 2)
    check_invariants(archive.path)
    again = shrink(archive)
    assert (again.rewritten, again.bytes_after) == (False, shrunk.bytes_after)


def scatter(archive: Archive) -> None:
    """Delete more than half of 800 messages, here and there."""
    with archive.transaction():
        for message_id in random.Random(3).sample(range(1, 801), 500):
            archive.db.execute("DELETE FROM messages WHERE id = ?", (message_id,))
    collect_garbage(archive)


def test_free_space_inside_of_pages_is_given_back_once(archive: Archive) -> None:
    fill(archive, 800)
    run(archive)
    scatter(archive)
    before = scattered_bytes(archive)
    shrunk = shrink(archive, scattered_share=0.03)
    assert shrunk.rewritten
    assert scattered_bytes(archive) < before / 4
    check_invariants(archive.path)
    assert not shrink(archive, scattered_share=0.03).rewritten


def test_a_file_is_not_written_anew_beside_a_build(archive: Archive) -> None:
    fill(archive, 800)
    run(archive)
    scatter(archive)
    me = this_process()
    archive.db.execute(
        "INSERT INTO embed_leases(generation_id, first_id, last_id, owner, host, boot_id, pid, pid_started_at,"
        " heartbeat_at, expires_at) VALUES (1, 1, 1, 'me', ?, ?, ?, ?, unixepoch(), unixepoch() + 100)",
        (me.host, me.boot_id, me.pid, me.started_at),
    )
    shrunk = shrink(archive, scattered_share=0.03)
    assert (shrunk.rewritten, shrunk.left) == (False, "busy")
    assert shrunk.scattered > 0
    archive.db.execute("DELETE FROM embed_leases")
    assert shrink(archive, scattered_share=0.03).left is None


def test_a_scope_is_no_hindrance(archive: Archive) -> None:
    fill(archive, 10)
    run(archive, WordHashEmbedder("one"), wanted=Wanted(model_named=True, scope=Scope(types=("email",))))
    run(archive, WordHashEmbedder("two"))
    assert archive.scalar("SELECT count(*) FROM scope_members") == 10
    prune_generation(archive, 1)
    assert left_of(archive, 1) == {}
    archive.db.execute("UPDATE messages SET sent_at = 7")  # finds no member for it again
    assert left_of(archive, 1) == {}
    check_invariants(archive.path)
