"""Deletes messages so that they can be brought back, and says which are deleted. Each is out of every search result in
the same transaction. (For ever: `upkeep.erasing`.)"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import index_messages
from vaultembed.archive.mail.places import remove_source_of_one_file
from vaultembed.archive.mail.threads import forget_headers, headers_of
from vaultembed.failpoints import failpoint

_SOFT_BATCH: Final = 2_000


@dataclass(frozen=True, slots=True)
class Doomed:
    """A message in a line, for a person who is to decide about it."""

    id: int
    sent_at: int | None
    zone_minutes: int | None
    sender: str
    subject: str
    """How it begins, where it has none."""
    deleted_at: int | None


_SELECT: Final = f"""
SELECT m.id, {number_of("m.sent_at")}, {number_of("m.zone_minutes")},
       coalesce(nullif({text_of("p.name")}, ''), {text_of("p.address")}, ''),
       coalesce(nullif({text_of("m.subject")}, ''), {text_of("m.snippet")}),
       {number_of("m.deleted_at")}
FROM messages m LEFT JOIN participants p ON p.id = m.sender_id
"""


def read_doomed(archive: Archive, message_ids: Sequence[int]) -> list[Doomed]:
    """Those of the messages that there are, deleted or not."""
    rows = (archive.row(_SELECT + "WHERE m.id = ?", (message_id,)) for message_id in message_ids)
    return [Doomed(*row) for row in rows if row is not None]


def list_deleted(archive: Archive, limit: int) -> list[Doomed]:
    """Deleted messages that can be brought back, the last deleted first."""
    return [
        Doomed(*row)
        for row in archive.rows(
            _SELECT + "WHERE m.deleted_at IS NOT NULL ORDER BY m.deleted_at DESC, m.id LIMIT ?", (limit,)
        )
    ]


def count_deleted(archive: Archive) -> int:
    return int(archive.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL"))


def last_id(archive: Archive) -> int:
    """The last that a message ever had: none up to it comes again, so what is not there was deleted for ever."""
    return int(archive.scalar(f"SELECT {number_of('seq')} FROM sqlite_sequence WHERE name = 'messages'") or 0)


def ids_of_deleted(archive: Archive) -> list[int]:
    return [row[0] for row in archive.rows("SELECT id FROM messages WHERE deleted_at IS NOT NULL ORDER BY id")]


def matching_ids(archive: Archive, only: Filter, *, deleted: bool) -> list[int]:
    """Ids of all live messages that pass a filter, or of all deleted ones."""
    state = "NOT NULL" if deleted else "NULL"
    return [
        row[0]
        for row in archive.rows(
            f"SELECT m.id FROM messages m WHERE m.deleted_at IS {state} AND {only.shown} AND ({only.sql})"
            " ORDER BY m.id",
            only.bindings,
        )
    ]


def is_any_matching(archive: Archive, only: Filter) -> bool:
    """Whether a message passes a filter, deleted or not."""
    return archive.row(f"SELECT 1 FROM messages m WHERE {only.sql} LIMIT 1", only.bindings) is not None


def hashes_and_names(archive: Archive, message_ids: Sequence[int]) -> list[tuple[bytes | None, str | None]]:
    """Content hash and Message-ID of each, by which copies elsewhere are known."""
    return archive.rows(
        f"SELECT content_hash, {text_of('rfc822_message_id')} FROM messages"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(message_ids)),),
    )


def delete_softly(archive: Archive, message_ids: Sequence[int], should_stop: Callable[[], bool] = lambda: False) -> int:
    """Mark messages as deleted; returns how many were live. Their text, vectors and places stay for now: until
    the vectors are collected, an undelete costs nothing."""
    return _mark(archive, message_ids, "unixepoch()", "NULL", should_stop)


def undelete(archive: Archive, message_ids: Sequence[int], should_stop: Callable[[], bool] = lambda: False) -> int:
    """Bring messages back; returns how many were deleted. Those whose vectors were collected are work again."""
    return _mark(archive, message_ids, "NULL", "NOT NULL", should_stop)


def _mark(archive: Archive, message_ids: Sequence[int], value: str, was: str, should_stop: Callable[[], bool]) -> int:
    marked = 0
    for start in range(0, len(message_ids), _SOFT_BATCH):
        if should_stop():
            break
        with archive.transaction():
            for message_id in message_ids[start : start + _SOFT_BATCH]:
                marked += archive.execute(
                    f"UPDATE messages SET deleted_at = {value} WHERE id = ? AND deleted_at IS {was}", (message_id,)
                )
            failpoint("delete.step")
        failpoint("delete.step")
    return marked


_GONE: Final = "SELECT value FROM json_each(?1)"
_PLACES: Final = f"SELECT source_id, source_key FROM message_sources WHERE message_id IN ({_GONE})"
_FORGET_PLACES: Final = (
    # not deleted: an unchanged file is not to be read again. But its name is often the subject
    f"UPDATE OR REPLACE source_files SET path = forgotten(CAST(path AS BLOB)) WHERE (source_id, path) IN ({_PLACES})",
    f"DELETE FROM msgvault_messages WHERE (source_id, source_key) IN ({_PLACES})",
    f"""DELETE FROM problems WHERE message_id IS NULL
    AND locator IN (SELECT locator FROM message_sources WHERE message_id IN ({_GONE}))""",
)


def remove_messages(archive: Archive, message_ids: Sequence[int]) -> int:
    """With all that is their own, in the caller's transaction, which must also remove the orphans of their vectors;
    returns how many were there. Names and labels that nobody bears any more are left: see `remove_unused`."""
    gone = (json.dumps(list(message_ids)),)
    for sql in _FORGET_PLACES:
        archive.execute(sql, gone)
    sources = {row[0] for row in archive.rows(f"SELECT source_id FROM ({_PLACES})", gone)}
    said = headers_of(archive, message_ids)
    # the rest goes with them by their foreign keys: body, raw form, places, labels, problems, chunks and their vectors
    removed = archive.execute(f"DELETE FROM messages WHERE id IN ({_GONE})", gone)
    index_messages(archive, message_ids)  # which deletes their entries
    forget_headers(archive, said)
    for source_id in sources:
        remove_source_of_one_file(archive, source_id)
    return removed


def remove_unused(archive: Archive) -> None:
    """Names and labels of which there is no mail any more."""
    with archive.transaction():
        archive.execute(f"DELETE FROM participants WHERE {_IS_UNUSED}")
        archive.execute("DELETE FROM labels WHERE NOT EXISTS (SELECT 1 FROM message_labels WHERE label_id = labels.id)")


_IS_UNUSED: Final = (
    "NOT EXISTS (SELECT 1 FROM messages WHERE sender_id = participants.id)"
    " AND NOT EXISTS (SELECT 1 FROM message_recipients WHERE participant_id = participants.id)"
    " AND NOT EXISTS (SELECT 1 FROM reactions WHERE participant_id = participants.id)"
)


def remove_unused_participant(archive: Archive, participant_id: int) -> None:
    """An address of which there is no mail any more, in the caller's transaction."""
    archive.execute(f"DELETE FROM participants WHERE id = ? AND {_IS_UNUSED}", (participant_id,))
