"""The record of repairs, so that each can be undone; and the undoing.

Nothing here decides what is wrong. Of two repairs at once, or a repair beside an import, the later one finds another
text and leaves it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.mail.fulltext import index_messages
from vaultembed.archive.mail.stored_texts import Change, TextField, write_text
from vaultembed.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    started_at: int
    ended_at: int | None
    repairs: int
    undone: int


def was_undone(archive: Archive, at: TextField, before: bytes) -> bool:
    """Somebody has looked at this repair, and taken it back."""
    return (
        archive.scalar(
            "SELECT 1 FROM repairs WHERE message_id = ? AND field = ? AND place = ? AND before = ?"
            " AND undone_at IS NOT NULL LIMIT 1",
            (at.message_id, at.field, at.place, before),
        )
        is not None
    )


def start_repair(archive: Archive) -> int:
    return archive.insert("INSERT INTO repair_runs(started_at) VALUES (unixepoch()) RETURNING id")


def end_repair(archive: Archive, run_id: int) -> None:
    """One that changed nothing leaves no trace."""
    with archive.transaction():
        archive.execute("UPDATE repair_runs SET ended_at = unixepoch() WHERE id = ?", (run_id,))
        archive.execute(
            "DELETE FROM repair_runs WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM repairs WHERE run_id = ?1)", (run_id,)
        )


def list_runs(archive: Archive) -> list[Run]:
    return [
        Run(*row)
        for row in archive.rows(
            "SELECT r.id, r.started_at, r.ended_at, count(p.id), count(p.undone_at) FROM repair_runs r"
            " LEFT JOIN repairs p ON p.run_id = r.id GROUP BY r.id ORDER BY r.id"
        )
    ]


def repairs_of_run(archive: Archive, run_id: int, after: int, limit: int) -> list[tuple[int, Change]]:
    """Those that stand, the last first, each with its id; `after` is the last id seen, or 2**63 - 1."""
    return [
        (row[0], Change(TextField(row[1], row[2], row[3]), bytes(row[4]), bytes(row[5]), row[6], row[7]))
        for row in archive.rows(
            "SELECT id, message_id, field, place, before, CAST(after AS BLOB), method, confidence FROM repairs"
            " WHERE run_id = ? AND undone_at IS NULL AND id < ? ORDER BY id DESC LIMIT ?",
            (run_id, after, limit),
        )
    ]


def apply_changes(
    archive: Archive, run_id: int, message_id: int, changes: Sequence[Change], *, keeps_embedding: bool
) -> list[Change]:
    """Change texts of a message, in the caller's transaction; returns what was changed: a text that is not what it was
    when it was read is left alone. `keeps_embedding`: what is embedded of the message is the same before and after.
    """
    done = _change_texts(archive, message_id, changes, keeps_embedding=keeps_embedding)
    for change in done:
        archive.execute(
            "INSERT INTO repairs(run_id, message_id, field, place, before, after, method, confidence, at)"
            " VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, unixepoch())",
            (
                run_id,
                message_id,
                change.at.field,
                change.at.place,
                change.before,
                change.after,
                change.method,
                change.confidence,
            ),
        )
    failpoint("repair.step")
    return done


def undo_changes(
    archive: Archive, message_id: int, repairs: Sequence[tuple[int, Change]], *, keeps_embedding: bool
) -> list[int]:
    """Put texts back as they were, in the caller's transaction: `before` and `after` of each are swapped already.
    Returns the ids of the repairs undone. One whose text has changed since is left alone."""
    done = _change_texts(archive, message_id, [change for _, change in repairs], keeps_embedding=keeps_embedding)
    undone = [repair_id for repair_id, change in repairs if change in done]
    for repair_id in undone:
        archive.execute("UPDATE repairs SET undone_at = unixepoch() WHERE id = ?", (repair_id,))
    failpoint("repair.step")
    return undone


def _change_texts(
    archive: Archive, message_id: int, changes: Sequence[Change], *, keeps_embedding: bool
) -> list[Change]:
    before = archive.row("SELECT content_rev, embed_gen FROM messages WHERE id = ?", (message_id,))
    if before is None:
        return []
    done = [change for change in changes if write_text(archive, change)]
    if not done:
        return []
    settle_outcomes(archive, message_id, before, keeps_embedding=keeps_embedding)
    index_messages(archive, [message_id])
    return done


def settle_outcomes(
    archive: Archive, message_id: int, before: tuple[int, int | None], *, keeps_embedding: bool
) -> None:
    """After texts of a message have changed. `before`: its content_rev and stamp."""
    now = archive.scalar("SELECT content_rev FROM messages WHERE id = ?", (message_id,))
    if now == before[0]:
        return
    if keeps_embedding:
        _carry_outcomes(archive, message_id, before[0], now, before[1])
    else:
        archive.execute("DELETE FROM message_texts WHERE message_id = ?", (message_id,))


def _carry_outcomes(archive: Archive, message_id: int, before: int, now: int, stamp: int | None) -> None:
    """What was true of the text before is true of it now: quotations and signatures are not embedded."""
    archive.execute(
        "UPDATE embed_outcomes SET content_rev = ?, is_stale = 0 WHERE message_id = ? AND content_rev = ?"
        " AND generation_id IN (SELECT id FROM generations)",
        (now, message_id, before),
    )
    if stamp is not None:
        archive.execute(
            "UPDATE messages SET embed_gen = ?1 WHERE id = ?2 AND EXISTS (SELECT 1 FROM embed_outcomes o"
            " WHERE o.generation_id = ?1 AND o.message_id = ?2 AND o.content_rev = ?3)",
            (stamp, message_id, now),
        )
