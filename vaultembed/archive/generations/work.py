"""Scan: which messages a generation still needs, and their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaultembed.archive.engine.connection import Archive


@dataclass(frozen=True, slots=True)
class Work:
    """What is read of a message to embed it. `content_rev` is the token of compare-and-set."""

    message_id: int
    content_rev: int
    subject: str
    body_text: str
    answers: bool
    """Its header names a message that it answers."""


def work_ids(
    archive: Archive, generation_id: int, after: int, limit: int | None = None, last: int | None = None
) -> list[int]:
    """Ids above `after`, up to `last`, of live messages in scope without a stamp or with another's, in order."""
    between = (after, 2**63 - 1 if last is None else last)
    found: list[int] = []
    condition, stamps = _work(archive, generation_id)
    for stamp in stamps:
        found += (
            row[0]
            for row in archive.stream(
                f"SELECT id FROM messages WHERE {condition} AND id > ? AND id <= ? ORDER BY id LIMIT ?",
                (stamp, *between, -1 if limit is None else limit),
            )
        )
    return sorted(found)[:limit]


def count_work(archive: Archive, generation_id: int, after: int) -> int:
    """How many ids `work_ids` would give without a limit."""
    condition, stamps = _work(archive, generation_id)
    query = f"SELECT count(*) FROM messages WHERE {condition} AND id > ?"
    return sum(int(archive.scalar(query, (stamp, after))) for stamp in stamps)


def _work(archive: Archive, generation_id: int) -> tuple[str, list[int | None]]:
    """What makes a message work: a condition with a place for a stamp, and the stamps that make it so.

    One seek a stamp: an OR of all, or "<>", is planned as a walk over the table.
    """
    condition = "deleted_at IS NULL AND embed_gen IS ?"
    if archive.scalar("SELECT is_scoped FROM embed_coverage WHERE generation_id = ?", (generation_id,)):
        condition += (
            " AND EXISTS (SELECT 1 FROM scope_members s"
            f" WHERE s.generation_id = {generation_id:d} AND s.message_id = messages.id)"
        )
    others = archive.rows("SELECT id FROM generations WHERE id <> ?", (generation_id,))
    return condition, [None, *(row[0] for row in others)]


def read_work(archive: Archive, message_ids: Sequence[int]) -> list[Work]:
    """The text of messages, each with the content_rev it was read at.

    Text that is no valid UTF-8, as another writer may leave it, is read with U+FFFD in its place: one bad message must
    not stop the others.
    """
    found = []
    for message_id in message_ids:
        row = archive.row(
            "SELECT m.id, m.content_rev, CAST(m.subject AS BLOB), CAST(coalesce(b.body_text, '') AS BLOB),"
            " m.in_reply_to IS NOT NULL FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
            " WHERE m.id = ? AND m.deleted_at IS NULL",
            (message_id,),
        )
        if row is not None:
            subject, body_text = (text.decode("utf-8", "replace") for text in row[2:4])
            found.append(Work(row[0], row[1], subject, body_text, answers=bool(row[4])))
    return found


def watermark_of(archive: Archive, generation_id: int) -> int:
    """0 where there is none: losing it is harmless."""
    return int(
        archive.scalar("SELECT watermark_id FROM embed_watermark WHERE generation_id = ?", (generation_id,)) or 0
    )


def sweep(archive: Archive, generation_id: int) -> None:
    """Set the watermark to just below the first id that still has work or lies in a lease, in the caller's transaction.

    Nothing remembered, nothing assumed; but for a generation with a scope: the messages outside bear no stamp of it:
    from 0, each batch would walk over all of them.
    """
    is_scoped = archive.scalar("SELECT is_scoped FROM embed_coverage WHERE generation_id = ?", (generation_id,))
    first = work_ids(archive, generation_id, after=watermark_of(archive, generation_id) if is_scoped else 0, limit=1)
    leased = archive.scalar("SELECT min(first_id) FROM embed_leases WHERE generation_id = ?", (generation_id,))
    highest = int(archive.scalar("SELECT coalesce(max(id), 0) FROM messages"))
    swept = min([highest, *(i - 1 for i in first), *([] if leased is None else [leased - 1])])
    archive.execute(
        "INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET watermark_id = excluded.watermark_id",
        (generation_id, swept),
    )


def settle(archive: Archive, generation_id: int) -> None:
    """After a look that found no work, in a generation with a scope: every later look would pass over all the messages
    outside of it again, once an edit of one of those has lowered the watermark."""
    is_scoped = archive.scalar("SELECT is_scoped FROM embed_coverage WHERE generation_id = ?", (generation_id,))
    last = archive.scalar("SELECT max(id) FROM messages") or 0
    if is_scoped and watermark_of(archive, generation_id) < last:
        with archive.transaction():
            sweep(archive, generation_id)


def retry_failed(archive: Archive, generation_id: int) -> int:
    """Make the messages that failed in a generation work again; returns how many. Their failure stands until then."""
    with archive.transaction():
        return archive.execute(
            "UPDATE messages SET embed_gen = NULL WHERE deleted_at IS NULL AND id IN"
            " (SELECT message_id FROM embed_outcomes WHERE generation_id = ? AND outcome = 'failed')",
            (generation_id,),
        )


def retry_partial(archive: Archive, generation_id: int, as_now: str) -> int:
    """Make the messages that a generation has in part work again; returns how many. Not those with `as_now`, the recipe
    that they would have again. What there is of them stands until then."""
    with archive.transaction():
        return archive.execute(
            "UPDATE messages SET embed_gen = NULL WHERE deleted_at IS NULL AND id IN"
            " (SELECT message_id FROM embed_outcomes INDEXED BY embed_outcomes_in_part WHERE generation_id = ?"
            "  AND is_in_part AND recipe <> ?)",
            (generation_id, as_now),
        )
