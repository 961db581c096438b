"""Which version of the reader a message was last read by, and what that found: so that a newer one reads it again, and
what somebody has written over it since stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.mail.threads import MOST_IDS
from vaultembed.message import Attachment, ParsedMessage, Person, Recipient
from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND, MINUTES_A_DAY
from vaultembed.text.mime.mime import READER_VERSION

PARTS: Final = (
    ("subject",),
    ("body_text",),
    ("sender",),
    ("recipients",),
    ("sent_at", "zone_minutes"),
    ("rfc822_message_id", "in_reply_to", "references"),
    ("list_id",),
    ("attachments",),
    ("labels",),
)
"""Of a message, each with a digest of its own. Frozen: one in another form would look like somebody's edit. More may
follow."""
_DIGEST_SIZE: Final = 4


def as_stored(new: ParsedMessage) -> ParsedMessage:
    """As it comes back from its rows. What no calendar has is not to stand there, whichever reader gave it."""
    return replace(
        new,
        recipients=tuple(sorted(new.recipients, key=lambda each: each.kind)),
        sent_at=_if_within(new.sent_at, FIRST_SECOND, LAST_SECOND),
        zone_minutes=_if_within(new.zone_minutes, 1 - MINUTES_A_DAY, MINUTES_A_DAY - 1),
        references=new.references[-MOST_IDS:],
        labels=tuple(sorted(set(new.labels))),
    )


def _if_within(number: int | None, least: int, most: int) -> int | None:
    return number if number is not None and least <= number <= most else None


def digests_of(stored: ParsedMessage) -> list[bytes]:
    """Of its `PARTS`."""
    return [
        blake2b(_bytes([getattr(stored, name) for name in names]), digest_size=_DIGEST_SIZE).digest() for names in PARTS
    ]


def _bytes(values: list[object]) -> bytes:
    match values:
        case [str(text)]:
            return text.encode()
    return json.dumps(values, default=_plain).encode()


def _plain(value: object) -> object:
    match value:
        case Person():
            return [value.address, value.name]
        case Recipient():
            return [value.kind, value.person]
        case Attachment():
            return [value.filename, value.mime_type, value.size, value.sha256, value.inline]
        case bytes():
            return value.hex()
    raise TypeError(type(value).__name__)


def record_reading(archive: Archive, message_id: int, stored: ParsedMessage) -> None:
    """In the caller's transaction."""
    if stored.reader is None:
        archive.execute("DELETE FROM message_readings WHERE message_id = ?", (message_id,))
        return
    archive.execute(
        "INSERT INTO message_readings VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET reader = excluded.reader,"
        " digests = excluded.digests",
        (message_id, stored.reader, b"".join(digests_of(stored))),
    )


def record_reader(archive: Archive, message_id: int, reader: int | None) -> None:
    """This version found no more than what is here."""
    archive.execute("UPDATE message_readings SET reader = ? WHERE message_id = ?", (reader, message_id))


def last_digests(archive: Archive, message_id: int) -> list[bytes]:
    found = archive.scalar("SELECT CAST(digests AS BLOB) FROM message_readings WHERE message_id = ?", (message_id,))
    return [(found or b"")[n * _DIGEST_SIZE : (n + 1) * _DIGEST_SIZE] for n in range(len(PARTS))]


def is_outdated(archive: Archive, message_id: int) -> bool:
    """Whether an earlier version of the reader has read it."""
    sql = "SELECT 1 FROM message_readings WHERE message_id = ? AND reader < ?"
    return archive.scalar(sql, (message_id, READER_VERSION)) is not None


_OUTDATED: Final = (
    "FROM message_readings d WHERE d.reader < ? AND d.message_id > ?"
    " AND EXISTS (SELECT 1 FROM message_raw r WHERE r.message_id = d.message_id)"
    " AND (?3 IS NULL OR EXISTS (SELECT 1 FROM message_sources x WHERE x.message_id = d.message_id"
    " AND x.source_id IN (SELECT value FROM json_each(?3))))"
)


def outdated_messages(archive: Archive, source_ids: Sequence[int] | None, after: int, limit: int) -> list[int]:
    """Ids of messages that an earlier version has read and that are kept as they were sent, above `after`, in their
    order: of some sources, or of all."""
    sources = None if source_ids is None else json.dumps(list(source_ids))
    return [
        row[0]
        for row in archive.rows(
            f"SELECT d.message_id {_OUTDATED} ORDER BY d.message_id LIMIT ?4", (READER_VERSION, after, sources, limit)
        )
    ]


def count_outdated(archive: Archive) -> int:
    return int(archive.scalar(f"SELECT count(*) {_OUTDATED}", (READER_VERSION, 0, None)))
