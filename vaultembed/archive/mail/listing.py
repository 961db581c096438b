"""Lists messages by date, a page at a time, and those of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.filters import Filter

Order = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Position:
    """The last message of a page: the next one goes on after it, whatever was added meanwhile."""

    sent_at: float | None
    """As it is stored. A text there is no date, and comes with those that have none."""
    message_id: int


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What a message has beside its summary."""

    conversation_id: int | None
    message_type: str
    list_id: str | None
    recipients: int
    attachments: int
    body_characters: int


def list_positions(archive: Archive, only: Filter, order: Order, after: Position | None, limit: int) -> list[Position]:
    """Live messages that pass a filter, by date; those without one come last. Seeks, however far down `after` is."""
    found: list[Position] = []
    if after is None or after.sent_at is not None:
        found = _dated(archive, only, order, after, limit)
    if len(found) < limit:
        undated_after = after if after is not None and after.sent_at is None else None
        found += _undated(archive, only, order, undated_after, limit - len(found))
    return found


def _dated(archive: Archive, only: Filter, order: Order, after: Position | None, limit: int) -> list[Position]:
    direction, sign = ("DESC", "<") if order == "newest" else ("ASC", ">")
    beyond = "" if after is None else f" AND (m.sent_at, m.id) {sign} (?, ?)"
    bindings = () if after is None else (after.sent_at, after.message_id)
    # numbers come before texts; said beside a position that says it, too, it would keep SQLite from seeking that
    dated = "m.sent_at IS NOT NULL" if after is not None and order == "newest" else "m.sent_at < ''"
    return [
        Position(*row)
        for row in archive.rows(
            f"SELECT m.sent_at, m.id FROM messages m WHERE {only.live} AND {dated}{beyond}"
            f" AND ({only.sql}) ORDER BY m.sent_at {direction}, m.id {direction} LIMIT ?",
            (*bindings, *only.bindings, limit),
        )
    ]


def _undated(archive: Archive, only: Filter, order: Order, after: Position | None, limit: int) -> list[Position]:
    direction, sign = ("DESC", "<") if order == "newest" else ("ASC", ">")
    beyond = "" if after is None else f" AND m.id {sign} ?"
    bindings = () if after is None else (after.message_id,)
    return [
        Position(None, row[0])
        for row in archive.rows(
            # two seeks: with an OR, SQLite reads the whole table in the order of id
            f"SELECT m.id FROM messages m WHERE {only.live} AND m.id IN (SELECT id FROM messages"
            f" WHERE sent_at IS NULL UNION ALL SELECT id FROM messages WHERE sent_at >= ''){beyond}"
            f" AND ({only.sql}) ORDER BY m.id {direction} LIMIT ?",
            (*bindings, *only.bindings, limit),
        )
    ]


# trash and spam only where there is nothing else
_OF_CONVERSATION: Final = (
    "FROM messages WHERE conversation_id = ?1 AND deleted_at IS NULL AND set_aside <="
    " (SELECT min(set_aside) FROM messages WHERE conversation_id = ?1 AND deleted_at IS NULL)"
)


def list_conversation(archive: Archive, conversation_id: int, offset: int, limit: int) -> list[int]:
    """Ids of its live messages, oldest first; not of those in trash or spam, unless all are."""
    return [
        int(row[0])
        for row in archive.rows(
            f"SELECT id {_OF_CONVERSATION} ORDER BY sent_at, id LIMIT ?2 OFFSET ?3",
            (conversation_id, limit, offset),
        )
    ]


def count_conversation(archive: Archive, conversation_id: int) -> int:
    """Those that `list_conversation` gives; 0 where there is no such conversation."""
    return int(archive.scalar(f"SELECT count(*) {_OF_CONVERSATION}", (conversation_id,)))


def read_facts(archive: Archive, message_id: int) -> MessageFacts | None:
    """None where there is no such message, or it is deleted."""
    row = archive.row(
        f"SELECT {number_of('m.conversation_id')}, {text_of('m.message_type')}, {text_of('m.list_id')},"
        " (SELECT count(*) FROM message_recipients r WHERE r.message_id = m.id),"
        " (SELECT count(*) FROM attachments a WHERE a.message_id = m.id AND a.inline IS NOT 1),"
        f" coalesce((SELECT length({text_of('b.body_text')}) FROM message_bodies b"
        " WHERE b.message_id = m.id), 0)"
        " FROM messages m WHERE m.id = ? AND m.deleted_at IS NULL",
        (message_id,),
    )
    return None if row is None else MessageFacts(*row)


def read_body_part(archive: Archive, message_id: int, start: int, characters: int) -> str:
    """`characters` code points of the visible text, from `start`."""
    return str(
        archive.scalar(
            f"SELECT substr({text_of('body_text')}, ?, ?) FROM message_bodies WHERE message_id = ?",
            (start + 1, characters, message_id),
        )
        or ""
    )
