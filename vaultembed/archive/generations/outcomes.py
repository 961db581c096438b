"""Fill: the one transaction that writes what became of a batch of messages."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.leases import Worker, advance, held_by
from vaultembed.archive.generations.records import ADOPTED_RECIPE, Generation, generation_to_fill
from vaultembed.archive.generations.runs import RunCounts, note_progress
from vaultembed.archive.generations.work import sweep
from vaultembed.archive.vector_format import to_bits
from vaultembed.errors import BusyError
from vaultembed.failpoints import failpoint

_LOOKED_AT: Final = 4
"""Of vectors of the same text, where the first are damaged."""

Outcome = Literal["embedded", "blank", "failed"]


@dataclass(frozen=True, slots=True)
class ChunkRow:
    char_start: int
    char_end: int
    text_hash: bytes
    embedding: bytes
    """float16, normalised."""
    embedded_at: int | None = None
    """None: now."""


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    message_id: int
    content_rev: int
    outcome: Outcome
    reason: str | None
    """Why it failed; None otherwise."""
    text: str | None
    """The embeddable text; None where it could not be prepared. Other generations may have their chunks in it."""
    chunks: tuple[ChunkRow, ...]
    in_part: bool = False
    """The text goes on where the chunks end."""


Progress = Callable[[Sequence[MessageOutcome]], RunCounts]
"""What the run has done with these written, to be recorded with them."""


def embedding_of_text(archive: Archive, generation_id: int, text_hash: bytes) -> bytes | None:
    """The vector that equal text has in this generation already: footers and forwards repeat endlessly in mail."""
    for embedding, checksum in archive.rows(
        "SELECT v.embedding, v.checksum FROM chunks c JOIN vectors v ON v.chunk_id = c.id"
        " WHERE c.generation_id = ? AND c.text_hash = ? LIMIT ?",
        (generation_id, text_hash, _LOOKED_AT),
    ):
        # a damaged one must not spread, with a checksum that says it is right
        if isinstance(embedding, bytes) and zlib.crc32(embedding) == checksum:
            return embedding
    return None


def commit_batch(
    archive: Archive,
    generation: Generation,
    recipe: str,
    outcomes: Sequence[MessageOutcome],
    worker: Worker,
    leases: Mapping[int, Sequence[int]],
    progress: Progress,
) -> list[MessageOutcome]:
    """Write a batch: all or none. Returns what was written. Needs `load_vec`.

    `leases` says which messages each lease of the worker has in this batch. Left out, because it is not true any more
    or somebody else's: a message whose content_rev has moved on, that was deleted, that has been stamped meanwhile, or
    whose lease was taken over.

    Raises:
        BusyError: the generation is not the one to be filled any more.
    """
    written = []
    failpoint("build.before_transaction")
    with archive.transaction():
        _check_still_filled(archive, generation)
        held = held_by(archive, worker, leases)
        allowed = {message_id for lease_id in held for message_id in leases[lease_id]}
        for outcome in outcomes:
            current = archive.row(
                "SELECT content_rev, embed_gen FROM messages WHERE id = ? AND deleted_at IS NULL",
                (outcome.message_id,),
            )
            if (
                outcome.message_id not in allowed
                or current is None
                or current[0] != outcome.content_rev
                or current[1] == generation.id
            ):
                continue
            write_outcome(archive, generation, recipe, outcome)
            written.append(outcome)
            failpoint("build.in_transaction")
        for lease_id in held:
            advance(archive, lease_id, leases[lease_id][-1])
        collect_orphans(archive, generation.id)
        sweep(archive, generation.id)
        note_progress(archive, worker.run_id, progress(written))
        failpoint("build.before_commit")
    failpoint("build.after_transaction")
    return written


def _check_still_filled(archive: Archive, generation: Generation) -> None:
    """Another process may have replaced the generation since this build chose it: to go on would embed the archive once
    more, into what nobody reads, and take the stamps from its successor."""
    target = generation_to_fill(archive)
    if target is None or target.id != generation.id:
        raise BusyError(
            f"generation {generation.id} was replaced by another build meanwhile",
            "What is embedded stays. For the new one: vaultembed embeddings build",
        )


def recipe_of(recipe: str, outcome: MessageOutcome) -> str:
    """As an outcome records it: whether it is in part is told at its end."""
    if not outcome.in_part:
        return recipe
    return f"{recipe}:truncated" if recipe.startswith(ADOPTED_RECIPE) else f"{recipe}c{len(outcome.chunks)}"


def write_outcome(
    archive: Archive, generation: Generation, recipe: str, outcome: MessageOutcome, *, stamped: bool = True
) -> None:
    """Write what became of a message in place of what did before, in the caller's transaction, which must also
    `collect_orphans`. Needs `load_vec`."""
    key = (generation.id, outcome.message_id)
    # a trigger notes the rows of the coarse index that lose their chunk; they go before the transaction ends
    archive.execute("DELETE FROM chunks WHERE generation_id = ? AND message_id = ?", key)
    if outcome.text is not None:
        archive.execute(
            "INSERT INTO message_texts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text",
            (outcome.message_id, recipe.partition(":")[0], outcome.text),
        )
    for index, chunk in enumerate(outcome.chunks):
        chunk_id = archive.insert(
            "INSERT INTO chunks(generation_id, message_id, chunk_index, char_start, char_end, text_hash, embedded_at)"
            " VALUES (?, ?, ?, ?, ?, ?, coalesce(?, unixepoch())) RETURNING id",
            (*key, index, chunk.char_start, chunk.char_end, chunk.text_hash, chunk.embedded_at),
        )
        archive.execute(
            "INSERT INTO vectors VALUES (?, ?, ?)", (chunk_id, chunk.embedding, zlib.crc32(chunk.embedding))
        )
        archive.execute(
            f"INSERT INTO vec_{generation.id}(rowid, embedding) VALUES (?, vec_bit(?))",
            (chunk_id, to_bits(chunk.embedding)),
        )
    archive.execute(
        "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, reason, at)"
        " VALUES (?, ?, ?, ?, ?, ?, unixepoch()) ON CONFLICT DO UPDATE SET content_rev = excluded.content_rev,"
        " recipe = excluded.recipe, outcome = excluded.outcome, reason = excluded.reason, at = excluded.at,"
        " is_stale = 0, attempts = CASE WHEN content_rev = excluded.content_rev THEN attempts + 1 ELSE 1 END",
        (
            *key,
            outcome.content_rev,
            recipe_of(recipe, outcome),
            outcome.outcome,
            outcome.reason,
        ),
    )
    if stamped:
        archive.execute(
            "UPDATE messages SET embed_gen = ? WHERE id = ? AND content_rev = ?", (*key, outcome.content_rev)
        )


def collect_orphans(archive: Archive, generation_id: int) -> int:
    """Delete the rows of the coarse index whose chunk is gone, in the caller's transaction; returns how many."""
    orphans = archive.rows("SELECT chunk_id FROM vec_orphans WHERE generation_id = ?", (generation_id,))
    for orphan in orphans:
        # one by one: vec0 answers "IN" with a scan of the whole table
        archive.execute(f"DELETE FROM vec_{generation_id} WHERE rowid = ?", orphan)
    if orphans:
        archive.execute("DELETE FROM vec_orphans WHERE generation_id = ?", (generation_id,))
    return len(orphans)


def outcome_of(archive: Archive, generation_id: int, message_id: int) -> Outcome | None:
    """What became of the present text of a message; None where nothing yet."""
    found: Outcome | None = archive.scalar(
        "SELECT o.outcome FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
        " AND m.content_rev = o.content_rev WHERE o.generation_id = ? AND o.message_id = ?",
        (generation_id, message_id),
    )
    return found


@dataclass(frozen=True, slots=True)
class Failure:
    message_id: int
    subject: str
    """How it begins, where it has none."""
    reason: str
    attempts: int


def list_failures(archive: Archive, generation_id: int) -> list[Failure]:
    """Messages whose current outcome in a generation is `failed`."""
    return [
        Failure(*row)
        for row in archive.rows(
            # left to choose, the planner walks all outcomes of the generation
            "SELECT m.id, lenient(coalesce(nullif(CAST(m.subject AS BLOB), x''), CAST(m.snippet AS BLOB))), o.reason,"
            " o.attempts"
            " FROM embed_outcomes o INDEXED BY embed_outcomes_failed"
            " CROSS JOIN messages m ON m.id = o.message_id"
            " WHERE o.generation_id = ? AND o.outcome = 'failed' AND o.content_rev = m.content_rev"
            " AND m.deleted_at IS NULL ORDER BY o.message_id",
            (generation_id,),
        )
    ]
