"""Takes out what no search looks at any more: vectors of deleted messages, and whole generations out of use.

Everything in transactions of bounded size, each of which leaves an archive that is right: interrupted anywhere, the
same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import Generation, generation_with_id, list_generations
from vaultembed.archive.generations.transitions import restamp
from vaultembed.archive.vectors.coarse_table import close_holes, has_vec_table
from vaultembed.errors import UsageError
from vaultembed.failpoints import failpoint

_BATCH: Final = 500
"""Chunks, or outcomes, of one transaction: about 20 ms."""
_MESSAGES: Final = 100
"""Deleted messages of one transaction: one each takes a millisecond for the disk alone."""
_WALKED: Final = 20_000
"""Texts looked at in one transaction."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found dead and taken out."""

    messages: int
    """Deleted ones whose vectors, outcomes or texts were still there."""
    vectors: int
    """Theirs, and rows of coarse indexes whose chunk was gone already."""


def collect_garbage(archive: Archive, should_stop: Callable[[], bool] = lambda: False) -> Collected:
    """Take out the vectors of deleted messages, of every generation, and what stands in the coarse indexes for chunks
    that are gone; then close holes there, if they are many. Needs `load_vec`.

    A message that is undeleted afterwards is work again.
    """
    vectors = 0
    messages = 0
    last = 0
    while batch := _deleted_with_remains(archive, last):
        if should_stop():
            return Collected(messages, vectors)
        with archive.transaction():
            vectors += sum(_collect_message(archive, message_id) for message_id in batch)
        failpoint("prune.step")
        messages += len(batch)
        last = batch[-1]
    vectors += _collect_orphans(archive, should_stop)
    for generation in list_generations(archive):
        if generation.pruned_at is None and has_vec_table(archive, generation.id) and not should_stop():
            close_holes(archive, generation.id, should_stop)
    return Collected(messages, vectors)


def remove_orphans(archive: Archive, limit: int = -1) -> int:
    """Delete rows of coarse indexes whose chunk is gone, in the caller's transaction; returns how many."""
    orphans = archive.rows("SELECT generation_id, chunk_id FROM vec_orphans LIMIT ?", (limit,))
    present = {generation: has_vec_table(archive, generation) for generation, _ in orphans}
    for generation, chunk_id in orphans:
        if present[generation]:
            # one by one: vec0 answers "IN" with a scan of the whole table
            archive.execute(f"DELETE FROM vec_{generation} WHERE rowid = ?", (chunk_id,))
        archive.execute("DELETE FROM vec_orphans WHERE generation_id = ? AND chunk_id = ?", (generation, chunk_id))
    return len(orphans)


def _collect_orphans(archive: Archive, should_stop: Callable[[], bool]) -> int:
    removed = 0
    while archive.scalar("SELECT 1 FROM vec_orphans LIMIT 1") is not None and not should_stop():
        with archive.transaction():
            removed += remove_orphans(archive, _BATCH)
            failpoint("prune.step")
        failpoint("prune.step")
    return removed


def _deleted_with_remains(archive: Archive, after: int) -> list[int]:
    query = "SELECT message_id FROM deleted_with_remains WHERE message_id > ? ORDER BY message_id LIMIT ?"
    return [row[0] for row in archive.rows(query, (after, _MESSAGES))]


def _collect_message(archive: Archive, message_id: int) -> int:
    """In the caller's transaction."""
    if archive.scalar("SELECT 1 FROM messages WHERE id = ? AND deleted_at IS NOT NULL", (message_id,)) is None:
        return 0  # undeleted meanwhile
    archive.execute("DELETE FROM chunks WHERE message_id = ?", (message_id,))
    failpoint("prune.step")
    archive.execute("DELETE FROM embed_outcomes WHERE message_id = ?", (message_id,))
    archive.execute("DELETE FROM message_texts WHERE message_id = ?", (message_id,))
    archive.execute("DELETE FROM deleted_with_remains WHERE message_id = ?", (message_id,))
    removed = remove_orphans(archive)
    failpoint("prune.step")
    return removed


@dataclass(frozen=True, slots=True)
class Prunable:
    """What `prune` would be about."""

    generations: tuple[Generation, ...]
    """Still whole: to be asked about."""
    begun: tuple[Generation, ...]
    """Whose pruning was interrupted."""


def find_prunable(archive: Archive, wanted: Sequence[int] = ()) -> Prunable:
    """Generations out of use with something left of them: those of `wanted`, or all.

    Raises:
        UsageError: one of `wanted` is not there, or in use.
    """
    for generation_id in wanted:
        _check_out_of_use(generation_with_id(archive, generation_id))
    found = [
        generation
        for generation in list_generations(archive)
        if generation.state in ("retired", "discarded") and (not wanted or generation.id in wanted)
    ]
    return Prunable(
        tuple(g for g in found if g.pruned_at is None),
        tuple(g for g in found if g.pruned_at is not None and _has_remains(archive, g.id)),
    )


def prune_generation(
    archive: Archive,
    generation_id: int,
    should_stop: Callable[[], bool] = lambda: False,
    on_chunks: Callable[[int], None] = lambda _: None,
) -> bool:
    """Remove the vectors, chunks and outcomes of a generation out of use; its row and its runs stay. False: stopped
    before the end. Needs `load_vec`. `on_chunks` is told how many are gone.

    Raises:
        UsageError: it is in use.
    """
    # First the stamps of the generation to be filled: a message that bears one of this generation's would lose it, and
    # be embedded again although its outcome is current.
    restamp(archive, should_stop)
    if should_stop():
        return False
    with archive.transaction():
        _check_out_of_use(generation_with_id(archive, generation_id))
        archive.execute(
            "UPDATE generations SET pruned_at = coalesce(pruned_at, unixepoch()) WHERE id = ?", (generation_id,)
        )
        failpoint("prune.step")
        # with its counters gone, nobody keeps them nor lists its chunks as orphans
        archive.execute("DELETE FROM embed_coverage WHERE generation_id = ?", (generation_id,))
        archive.execute("DELETE FROM embed_leases WHERE generation_id = ?", (generation_id,))
        failpoint("prune.step")
    failpoint("prune.step")
    with archive.transaction():
        archive.execute(f"DROP TABLE IF EXISTS vec_{generation_id}")
        failpoint("prune.step")
        archive.execute("DELETE FROM vec_orphans WHERE generation_id = ?", (generation_id,))
    failpoint("prune.step")
    gone = 0
    for table in ("chunks", "embed_outcomes", "scope_members"):
        while not should_stop():
            removed = _remove_batch(archive, table, generation_id)
            if not removed:
                break
            if table == "chunks":
                gone += removed
                on_chunks(gone)
            failpoint("prune.step")
    if should_stop():
        return False
    # last: while it is there, the pruning has not come to its end
    archive.execute("DELETE FROM embed_watermark WHERE generation_id = ?", (generation_id,))
    failpoint("prune.step")
    return True


def remove_unused_texts(archive: Archive, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Delete embeddable texts that no outcome is about; returns how many."""
    after = 0
    removed = 0
    while not should_stop():
        with archive.transaction():
            last = archive.scalar(
                "SELECT message_id FROM message_texts WHERE message_id > ? ORDER BY message_id LIMIT 1 OFFSET ?",
                (after, _WALKED),
            )
            removed += archive.execute(
                "DELETE FROM message_texts WHERE message_id > ? AND message_id <= ? AND NOT EXISTS"
                " (SELECT 1 FROM embed_outcomes o WHERE o.message_id = message_texts.message_id"
                " AND substr(o.recipe, 1, instr(o.recipe || ':', ':') - 1) = message_texts.preparation)",
                (after, 2**63 - 1 if last is None else last),
            )
            failpoint("prune.step")
        failpoint("prune.step")
        if last is None:
            break
        after = last
    return removed


def _check_out_of_use(generation: Generation) -> None:
    if generation.state == "active":
        raise UsageError(
            f"generation {generation.id} is the one that search by meaning uses",
            "Activate another first: vaultembed embeddings activate ID. To list them: vaultembed embeddings list",
        )
    if generation.state == "building":
        raise UsageError(
            f"generation {generation.id} is being built",
            f"To abandon it first: vaultembed embeddings discard {generation.id}",
        )


def _has_remains(archive: Archive, generation_id: int) -> bool:
    return has_vec_table(archive, generation_id) or any(
        archive.scalar(f"SELECT 1 FROM {table} WHERE generation_id = ? LIMIT 1", (generation_id,)) is not None
        for table in ("chunks", "embed_outcomes", "scope_members", "embed_watermark", "embed_coverage")
    )


def _remove_batch(archive: Archive, table: str, generation_id: int) -> int:
    """Delete rows of a generation in one transaction, in the order of its index; returns how many."""
    with archive.transaction():
        ids = archive.rows(
            f"SELECT message_id FROM {table} WHERE generation_id = ? ORDER BY message_id LIMIT ?",
            (generation_id, _BATCH),
        )
        if not ids:
            return 0
        # whole messages: "embedded" with some of its chunks would be a lie
        removed = archive.execute(
            f"DELETE FROM {table} WHERE generation_id = ? AND message_id <= ?", (generation_id, ids[-1][0])
        )
        failpoint("prune.step")
    return removed
