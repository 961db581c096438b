"""Counts what is in the archive."""

from __future__ import annotations

from dataclasses import dataclass

from vaultembed.archive.database import Archive


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
class Counts:
    messages: int
    """Live ones."""
    deleted: int
    conversations: int
    people: int
    attachments: int
    problems: int
    first_sent_at: int | None
    last_sent_at: int | None
    file_bytes: int
    raw_bytes: int
    """Of the raw messages, compressed."""


def count_archive(archive: Archive) -> Counts:
    messages, deleted, first, last = archive.rows(
        "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at), min(sent_at), max(sent_at) FROM messages"
    )[0]
    return Counts(
        messages=messages,
        deleted=deleted,
        conversations=archive.scalar("SELECT count(DISTINCT conversation_id) FROM messages WHERE deleted_at IS NULL"),
        people=archive.scalar("SELECT count(DISTINCT address) FROM participants"),
        attachments=archive.scalar("SELECT count(*) FROM attachments"),
        problems=archive.scalar("SELECT count(*) FROM problems"),
        first_sent_at=first,
        last_sent_at=last,
        file_bytes=archive.scalar("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
        raw_bytes=archive.scalar("SELECT coalesce(sum(length(mime)), 0) FROM message_raw"),
    )


def count_sources(archive: Archive) -> list[SourceCount]:
    return [
        SourceCount(*row)
        for row in archive.rows(
            "SELECT s.kind, s.identifier, count(DISTINCT x.message_id) FILTER (WHERE m.deleted_at IS NULL),"
            " count(DISTINCT x.message_id) FILTER (WHERE m.deleted_at IS NULL AND x.gone_at IS NOT NULL),"
            " s.added_at, s.last_import_at FROM sources s LEFT JOIN message_sources x ON x.source_id = s.id"
            " LEFT JOIN messages m ON m.id = x.message_id GROUP BY s.id ORDER BY s.id"
        )
    ]


def count_types(archive: Archive) -> list[TypeCount]:
    """Most first."""
    return [
        TypeCount(*row)
        for row in archive.rows(
            "SELECT message_type, count(*) FROM messages WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        )
    ]
