"""Scan and fill: which messages are work, and the one transaction that writes what became of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.generations import Generation
from vaultembed.errors import BusyError
from vaultembed.failpoints import failpoint

Outcome = Literal["embedded", "blank", "failed"]


@dataclass(frozen=True, slots=True)
class Work:
    """What is read of a message to embed it. `content_rev` is the token of compare-and-set."""

    message_id: int
    content_rev: int
    subject: str
    body_text: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    char_start: int
    char_end: int
    text_hash: bytes
    embedding: bytes
    """float16, normalised."""
    bits: bytes
    """The signs of the embedding, packed little-endian: what vec0 holds."""


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    message_id: int
    content_rev: int
    outcome: Outcome
    reason: str | None
    """Why it failed; None otherwise."""
    text: str
    """The embeddable text."""
    chunks: tuple[ChunkRow, ...]


def work_ids(archive: Archive, generation_id: int, after: int, limit: int) -> list[int]:
    """Ids above `after` of live messages without a stamp, or with another generation's, in order.

    One seek a generation: an OR of both conditions, or "<>", is planned as a walk over the table.
    """
    stamps = [
        None,
        *(row[0] for row in archive.rows("SELECT id FROM generations WHERE id <> ?", (generation_id,))),
    ]
    found: list[int] = []
    for stamp in stamps:
        found += (
            row[0]
            for row in archive.db.execute(
                "SELECT id FROM messages WHERE deleted_at IS NULL AND embed_gen IS ? AND id > ? ORDER BY id LIMIT ?",
                (stamp, after, limit),
            )
        )
    return sorted(found)[:limit]


def read_work(archive: Archive, message_ids: Sequence[int]) -> list[Work]:
    """The text of messages, each with the content_rev it was read at."""
    found = []
    for message_id in message_ids:
        row = archive.row(
            "SELECT m.id, m.content_rev, m.subject, coalesce(b.body_text, '') FROM messages m"
            " LEFT JOIN message_bodies b ON b.message_id = m.id WHERE m.id = ? AND m.deleted_at IS NULL",
            (message_id,),
        )
        if row is not None:
            found.append(Work(*row))
    return found


def watermark_of(archive: Archive, generation_id: int) -> int:
    """0 where there is none: losing it is harmless."""
    return int(
        archive.scalar("SELECT watermark_id FROM embed_watermark WHERE generation_id = ?", (generation_id,)) or 0
    )


def embedding_of_text(archive: Archive, generation_id: int, text_hash: bytes) -> bytes | None:
    """The vector that equal text has in this generation already: footers and forwards repeat endlessly in mail."""
    found: bytes | None = archive.scalar(
        "SELECT v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id"
        " WHERE c.generation_id = ? AND c.text_hash = ? LIMIT 1",
        (generation_id, text_hash),
    )
    return found


def commit_batch(
    archive: Archive, generation: Generation, preparation: str, outcomes: Sequence[MessageOutcome]
) -> list[MessageOutcome]:
    """Write a batch: all or none. Returns what was written.

    Left out, because it is not true any more or already done: a message whose content_rev has moved on, that was
    deleted, or that another process has stamped meanwhile. Needs `load_vec`.

    Raises:
        BusyError: the generation is not the one to be filled any more.
    """
    written = []
    failpoint("build.before_transaction")
    with archive.transaction():
        _check_still_filled(archive, generation)
        for outcome in outcomes:
            current = archive.row(
                "SELECT content_rev, embed_gen FROM messages WHERE id = ? AND deleted_at IS NULL",
                (outcome.message_id,),
            )
            if current is None or current[0] != outcome.content_rev or current[1] == generation.id:
                continue
            _write_outcome(archive, generation, preparation, outcome)
            written.append(outcome)
            failpoint("build.in_transaction")
        _sweep(archive, generation.id)
    failpoint("build.after_transaction")
    return written


def _check_still_filled(archive: Archive, generation: Generation) -> None:
    """Another process may have replaced the generation since this build chose it: to go on would embed the archive once
    more, into what nobody reads, and take the stamps from its successor."""
    newest = archive.scalar("SELECT max(id) FROM generations WHERE state IN ('building', 'active')")
    if newest != generation.id:
        raise BusyError(
            f"generation {generation.id} was replaced by another build meanwhile",
            "What is embedded stays. For the new one: vaultembed embeddings build",
        )


def _write_outcome(archive: Archive, generation: Generation, preparation: str, outcome: MessageOutcome) -> None:
    key = (generation.id, outcome.message_id)
    for (chunk_id,) in archive.rows("SELECT id FROM chunks WHERE generation_id = ? AND message_id = ?", key):
        # one by one: vec0 answers "IN" with a scan of the whole table
        archive.db.execute(f"DELETE FROM vec_{generation.id} WHERE rowid = ?", (chunk_id,))
        archive.db.execute("DELETE FROM chunks WHERE id = ?", (chunk_id,))
    archive.db.execute(
        "INSERT INTO message_texts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text",
        (outcome.message_id, preparation, outcome.text),
    )
    for index, chunk in enumerate(outcome.chunks):
        archive.db.execute(
            "INSERT INTO chunks(generation_id, message_id, chunk_index, char_start, char_end, text_hash, embedded_at)"
            " VALUES (?, ?, ?, ?, ?, ?, unixepoch())",
            (*key, index, chunk.char_start, chunk.char_end, chunk.text_hash),
        )
        chunk_id = archive.db.last_insert_rowid()
        archive.db.execute(
            "INSERT INTO vectors VALUES (?, ?, ?)", (chunk_id, chunk.embedding, zlib.crc32(chunk.embedding))
        )
        archive.db.execute(
            f"INSERT INTO vec_{generation.id}(rowid, embedding) VALUES (?, vec_bit(?))",
            (chunk_id, chunk.bits),
        )
    archive.db.execute(
        "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, reason, at)"
        " VALUES (?, ?, ?, ?, ?, ?, unixepoch()) ON CONFLICT DO UPDATE SET content_rev = excluded.content_rev,"
        " recipe = excluded.recipe, outcome = excluded.outcome, reason = excluded.reason, at = excluded.at,"
        " attempts = CASE WHEN content_rev = excluded.content_rev THEN attempts + 1 ELSE 1 END",
        (*key, outcome.content_rev, generation.recipe, outcome.outcome, outcome.reason),
    )
    archive.db.execute(
        "UPDATE messages SET embed_gen = ? WHERE id = ? AND content_rev = ?", (*key, outcome.content_rev)
    )


def _sweep(archive: Archive, generation_id: int) -> None:
    """Set the watermark to just below the first id that still has work. Nothing remembered, nothing assumed."""
    first = work_ids(archive, generation_id, after=0, limit=1)
    swept = first[0] - 1 if first else int(archive.scalar("SELECT coalesce(max(id), 0) FROM messages"))
    archive.db.execute(
        "INSERT INTO embed_watermark VALUES (?, ?) ON CONFLICT DO UPDATE SET watermark_id = excluded.watermark_id",
        (generation_id, swept),
    )


@dataclass(frozen=True, slots=True)
class Failure:
    message_id: int
    subject: str
    reason: str
    attempts: int


def list_failures(archive: Archive, generation_id: int) -> list[Failure]:
    """Messages whose current outcome in a generation is `failed`."""
    return [
        Failure(*row)
        for row in archive.rows(
            "SELECT m.id, m.subject, o.reason, o.attempts FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
            " WHERE o.generation_id = ? AND o.outcome = 'failed' AND o.content_rev = m.content_rev"
            " AND m.deleted_at IS NULL ORDER BY m.id",
            (generation_id,),
        )
    ]
