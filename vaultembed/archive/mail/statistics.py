"""Counts what is in the archive.

By indexes where there are any. What still grows with the archive takes about a millisecond for each thousand messages:
the sizes of raw messages, the types of messages, the places where they stand, and the index of conversations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.mail.problems import count_by_weight
from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND

EMAIL: Final = "email"


@dataclass(frozen=True, slots=True)
class SourceCount:
    kind: str
    identifier: str
    messages: int
    """Live ones that stand in it, each once."""
    gone: int
    """Of them no longer in the source; they stay here."""
    added_at: int
    last_import_at: int | None


@dataclass(frozen=True, slots=True)
class TypeCount:
    type: str
    messages: int
    """Live ones."""


@dataclass(frozen=True, slots=True)
class LabelCount:
    kind: str
    """ "label" or "folder"."""
    name: str
    messages: int
    """Live ones."""


@dataclass(frozen=True, slots=True)
class Counts:
    messages: int
    """Live ones."""
    deleted: int
    conversations: int
    people: int
    attachments: int
    problems: int
    """Messages of which something is missing, and what could not be read."""
    guessed: int
    """Messages that were read by a guess, and have no other problem."""
    first_sent_at: int | None
    last_sent_at: int | None
    file_bytes: int | None
    """None within a horizon, as it tells of what lies outside."""
    raw_bytes: int
    """Of the raw messages, compressed."""


_NAMED: Final = (
    " WHERE id IN (SELECT sender_id FROM messages"
    " UNION SELECT r.participant_id FROM messages m CROSS JOIN message_recipients r ON r.message_id = m.id"
    " UNION SELECT participant_id FROM reactions)"
)


def count_archive(archive: Archive) -> Counts:
    deleted = _count_deleted(archive)
    problems = count_by_weight(archive)
    # one that no calendar has would hide the others
    dated = f"messages WHERE sent_at BETWEEN {FIRST_SECOND} AND {LAST_SECOND}"
    first, last = archive.rows(f"SELECT (SELECT min(sent_at) FROM {dated}), (SELECT max(sent_at) FROM {dated})")[0]
    return Counts(
        messages=_count_stored(archive) - deleted,
        deleted=deleted,
        conversations=_count_conversations(archive),
        people=archive.scalar("SELECT count(DISTINCT address) FROM participants" + _NAMED * archive.is_limited),
        attachments=archive.scalar("SELECT count(*) FROM attachments WHERE inline IS NOT 1"),
        problems=problems["unread"] + problems["incomplete"],
        guessed=problems["guessed"],
        first_sent_at=first,
        last_sent_at=last,
        file_bytes=None
        if archive.is_limited
        else archive.scalar("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
        raw_bytes=archive.scalar("SELECT coalesce(sum(length(mime)), 0) FROM message_raw"),
    )


def _count_stored(archive: Archive) -> int:
    """Live and deleted ones. SQLite counts a whole index by its pages."""
    return int(archive.scalar("SELECT count(*) FROM messages"))


def _count_deleted(archive: Archive) -> int:
    return int(archive.scalar("SELECT count(*) FROM messages INDEXED BY messages_deleted WHERE deleted_at IS NOT NULL"))


def _count_conversations(archive: Archive) -> int:
    """With a live message: all that the index has, less those of which every message is deleted. To look at each
    message for whether it is live takes ten times as long."""
    stored = archive.scalar("SELECT count(DISTINCT conversation_id) FROM messages INDEXED BY messages_by_conversation")
    without_live = archive.scalar(
        "SELECT count(*) FROM (SELECT DISTINCT conversation_id AS id FROM messages INDEXED BY messages_deleted"
        " WHERE deleted_at IS NOT NULL AND conversation_id IS NOT NULL) c WHERE NOT EXISTS"
        " (SELECT 1 FROM messages m WHERE m.conversation_id = c.id AND m.deleted_at IS NULL)"
    )
    return int(stored) - int(without_live)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Messages that stand in a source, each once."""

    messages: int
    gone: int


_NONE: Final = _Standing(0, 0)


def count_sources(archive: Archive) -> list[SourceCount]:
    """In the order in which they were added."""
    standing, deleted = _standing(archive), _standing_deleted(archive)
    found = []
    for source_id, kind, identifier, added_at, last_import_at in archive.rows(
        f"SELECT id, {text_of('kind')}, {text_of('identifier')}, {number_of('added_at')}, {number_of('last_import_at')}"
        " FROM sources ORDER BY id"
    ):
        all_of, less = standing.get(source_id, _NONE), deleted.get(source_id, _NONE)
        messages, gone = all_of.messages - less.messages, all_of.gone - less.gone
        if archive.is_limited and not messages:
            continue
        found.append(SourceCount(kind, identifier, messages, gone, added_at, last_import_at))
    return found


def _standing(archive: Archive) -> dict[int, _Standing]:
    """By source; of deleted messages, too. A message seldom stands in one source twice: so places are counted, and then
    what is too many, which takes a fifth of the time that counting messages apart takes."""
    places = archive.rows(
        "SELECT source_id, count(*), count(DISTINCT message_id) FILTER (WHERE gone_at IS NOT NULL)"
        " FROM message_sources WHERE typeof(source_id) = 'integer' GROUP BY source_id"
    )
    pairs = archive.scalar(
        "SELECT count(*) FROM (SELECT DISTINCT message_id, source_id FROM message_sources"
        " INDEXED BY message_sources_by_message WHERE typeof(source_id) = 'integer')"
    )
    too_many: dict[int, int] = {}
    if pairs != sum(count for _, count, _ in places):
        too_many = dict(
            archive.rows(
                "SELECT source_id, sum(places - 1) FROM (SELECT source_id, count(*) AS places FROM message_sources"
                " INDEXED BY message_sources_by_message WHERE typeof(source_id) = 'integer'"
                " GROUP BY message_id, source_id HAVING places > 1) GROUP BY 1"
            )
        )
    return {source: _Standing(count - too_many.get(source, 0), gone) for source, count, gone in places}


def _standing_deleted(archive: Archive) -> dict[int, _Standing]:
    return {
        source: _Standing(messages, gone)
        for source, messages, gone in archive.rows(
            "SELECT x.source_id, count(DISTINCT x.message_id),"
            " count(DISTINCT x.message_id) FILTER (WHERE x.gone_at IS NOT NULL)"
            " FROM messages m INDEXED BY messages_deleted CROSS JOIN message_sources x ON x.message_id = m.id"
            " WHERE m.deleted_at IS NOT NULL AND typeof(x.source_id) = 'integer' GROUP BY 1"
        )
    }


def count_types(archive: Archive) -> list[TypeCount]:
    """Most first. Only what is not mail is sorted by type: in most archives that is nothing."""
    others = archive.rows(
        f"SELECT {text_of('type')}, messages FROM (SELECT message_type AS type, count(*) AS messages"
        " FROM messages NOT INDEXED WHERE message_type <> ? AND deleted_at IS NULL GROUP BY 1)",
        (EMAIL,),
    )
    mail = _count_stored(archive) - _count_deleted(archive) - sum(count for _, count in others)
    found = [TypeCount(*row) for row in [*others, *([(EMAIL, mail)] if mail else [])]]
    return sorted(found, key=lambda counted: (-counted.messages, counted.type))


def count_labels(archive: Archive, limit: int) -> list[LabelCount]:
    """Those with the most live messages, most first."""
    return [
        LabelCount(*row)
        for row in archive.rows(
            f"SELECT {text_of('l.kind')}, {text_of('l.name')}, x.messages FROM"
            " (SELECT label_id, count(*) AS messages FROM message_labels WHERE message_id NOT IN"
            " (SELECT id FROM messages INDEXED BY messages_deleted WHERE deleted_at IS NOT NULL) GROUP BY 1) x"
            " JOIN labels l ON l.id = x.label_id ORDER BY 3 DESC, 1, 2 LIMIT ?",
            (limit,),
        )
    ]
