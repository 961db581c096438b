"""Counts live messages by what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import text_of
from vaultembed.archive.filters import Filter

Grouping = Literal["sender", "domain", "recipient", "year", "month", "label", "source", "type"]

# what is grouped by, and from where; a message counts once in each group it belongs to
_GROUPS: Final[dict[Grouping, tuple[str, str]]] = {
    "sender": ("p.address", "messages m JOIN participants p ON p.id = m.sender_id"),
    "domain": ("p.domain", "messages m JOIN participants p ON p.id = m.sender_id"),
    "recipient": (
        "p.address",
        "messages m JOIN message_recipients r ON r.message_id = m.id JOIN participants p ON p.id = r.participant_id",
    ),
    "year": ("strftime('%Y', m.sent_at, 'unixepoch')", "messages m"),
    "month": ("strftime('%Y-%m', m.sent_at, 'unixepoch')", "messages m"),
    "label": (
        "l.name",
        "messages m JOIN message_labels x ON x.message_id = m.id JOIN labels l ON l.id = x.label_id",
    ),
    "source": (
        "s.identifier",
        "messages m JOIN message_sources x ON x.message_id = m.id JOIN sources s ON s.id = x.source_id",
    ),
    "type": ("m.message_type", "messages m"),
}
_IN_TIME: Final = ("year", "month")


@dataclass(frozen=True, slots=True)
class Group:
    key: str
    messages: int


def count_groups(archive: Archive, by: Grouping, only: Filter, offset: int, limit: int) -> list[Group]:
    """Most messages first; years and months in their order. Messages without such a thing are in no group."""
    key, source = _GROUPS[by]
    order = "1" if by in _IN_TIME else "2 DESC, 1"
    return [
        Group(*row)
        for row in archive.rows(
            f"SELECT {text_of('key')}, messages FROM"
            f" (SELECT {key} AS key, count(DISTINCT m.id) AS messages FROM {source}"
            f" WHERE {only.live} AND {key} IS NOT NULL AND ({only.sql})"
            f" GROUP BY 1 ORDER BY {order} LIMIT ? OFFSET ?)",
            (*only.bindings, limit, offset),
        )
    ]


def count_matching(archive: Archive, only: Filter) -> int:
    """Live messages that pass a filter."""
    return int(archive.scalar(f"SELECT count(*) FROM messages m WHERE {only.live} AND ({only.sql})", only.bindings))
