"""Texts as they are stored, byte for byte, in whatever table; and their change by compare-and-set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import text_of
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.deletion import remove_unused_participant
from vaultembed.errors import UsageError

Field = Literal["subject", "body", "snippet", "name", "label", "file", "conversation"]
FIELDS: Final[tuple[Field, ...]] = ("subject", "body", "snippet", "name", "label", "file", "conversation")


@dataclass(frozen=True, slots=True)
class TextField:
    """Where a text stands: one text of one message."""

    message_id: int
    field: Field
    place: str = ""
    """Which of them: "sender" or "to 0", the position of an attachment, the kind of a label."""


@dataclass(frozen=True, slots=True)
class Change:
    at: TextField
    before: bytes
    after: bytes
    method: str
    confidence: float
    thread_key: str = ""
    """Of a conversation with the text after as its subject."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts that a message has for itself."""

    message_id: int
    subject: bytes
    snippet: bytes
    body: bytes | None
    files: tuple[tuple[str, bytes], ...]
    """Position and name of each attachment."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A name, a label or the subject of a conversation: stored once, shown with many messages."""

    field: Field
    row_id: int
    text: bytes
    key: str
    """Of a name its address, of a label its kind, of the name of a chat "chat"."""


def selected(archive: Archive, ids: Sequence[int], source_ids: Sequence[int]) -> Filter:
    """Of which messages the texts are wanted; all, where neither says.

    Raises:
        UsageError: there is no message with one of the ids.
    """
    conditions: list[str] = []
    if ids:
        for message_id in ids:
            if archive.scalar("SELECT 1 FROM messages WHERE id = ? AND deleted_at IS NULL", (message_id,)) is None:
                raise UsageError(f"there is no message {message_id}", "Ids are shown by: vaultembed search QUERY")
        conditions.append("m.id IN (SELECT value FROM json_each(?))")
    if source_ids:
        conditions.append(
            "EXISTS (SELECT 1 FROM message_sources s WHERE s.message_id = m.id"
            " AND s.source_id IN (SELECT value FROM json_each(?)))"
        )
    # as one value each: SQLite has a limit on the number of them
    return Filter(
        " AND ".join(conditions) or "1", tuple(json.dumps(list(given)) for given in (ids, source_ids) if given)
    )


def count_selected(archive: Archive, only: Filter) -> int:
    return int(
        archive.scalar(f"SELECT count(*) FROM messages m WHERE m.deleted_at IS NULL AND {only.sql}", only.bindings)
    )


def iter_texts(archive: Archive, only: Filter, after: int = 0, batch: int = 500) -> Iterator[list[Texts]]:
    """Live messages in the order of their ids, in batches, each read by itself: a writer may come in between."""
    while True:
        rows = archive.rows(
            "SELECT m.id, CAST(m.subject AS BLOB), CAST(m.snippet AS BLOB), CAST(b.body_text AS BLOB) FROM messages m"
            f" LEFT JOIN message_bodies b ON b.message_id = m.id WHERE m.id > ? AND m.deleted_at IS NULL AND {only.sql}"
            " ORDER BY m.id LIMIT ?",
            (after, *only.bindings, batch),
        )
        if not rows:
            return
        yield [Texts(row[0], row[1], row[2], row[3], _files(archive, row[0])) for row in rows]
        after = rows[-1][0]


def _files(archive: Archive, message_id: int) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (position, name)
        for position, name in archive.rows(
            f"SELECT {text_of('position')}, CAST(filename AS BLOB) FROM attachments"
            " WHERE message_id = ? AND filename <> ''",
            (message_id,),
        )
    )


_SHARED: Final[dict[Field, str]] = {
    "name": f"SELECT id, CAST(name AS BLOB), {text_of('address')} FROM participants"
    " WHERE name <> '' AND id > ? ORDER BY id LIMIT 1000",
    "label": f"SELECT id, CAST(name AS BLOB), {text_of('kind')} FROM labels WHERE id > ? ORDER BY id LIMIT 1000",
    "conversation": "SELECT id, CAST(subject AS BLOB), iif(is_chat, 'chat', '') FROM conversations WHERE id > ?"
    " ORDER BY id LIMIT 1000",
}


def iter_shared(archive: Archive, field: Field) -> Iterator[Shared]:
    after = 0
    while rows := archive.rows(_SHARED[field], (after,)):
        for row_id, text, key in rows:
            yield Shared(field, row_id, text, key)
        after = rows[-1][0]


def uses_of(archive: Archive, shared: Shared, only: Filter) -> list[TextField]:
    """Every live message that shows it, and where."""
    live = f"m.deleted_at IS NULL AND {only.sql}"
    if shared.field == "name":
        return [
            TextField(message_id, "name", place)
            for message_id, place in archive.rows(
                f"SELECT m.id, 'sender' FROM messages m WHERE m.sender_id = ? AND {live} UNION ALL"
                f" SELECT m.id, {text_of('r.kind')} || ' ' || {text_of('r.position')} FROM message_recipients r"
                f" JOIN messages m ON m.id = r.message_id WHERE r.participant_id = ? AND {live} UNION ALL"
                f" SELECT m.id, 'reaction ' || {text_of('r.position')} FROM reactions r"
                f" JOIN messages m ON m.id = r.message_id WHERE r.participant_id = ? AND {live}",
                (shared.row_id, *only.bindings) * 3,
            )
        ]
    if shared.field == "label":
        rows = archive.rows(
            "SELECT m.id FROM message_labels l JOIN messages m ON m.id = l.message_id"
            f" WHERE l.label_id = ? AND {live} ORDER BY m.id",
            (shared.row_id, *only.bindings),
        )
        return [TextField(row[0], "label", shared.key) for row in rows]
    # of a conversation there is one subject: it stands with the first message, and goes when that is deleted for ever
    rows = archive.rows(
        f"SELECT m.id FROM messages m WHERE m.conversation_id = ? AND {live} ORDER BY m.id LIMIT 1",
        (shared.row_id, *only.bindings),
    )
    return [TextField(row[0], "conversation") for row in rows]


def read_embedded_texts(archive: Archive, message_id: int) -> tuple[bytes, bytes]:
    """Subject and body, of which the embeddable text is made."""
    row = archive.row(
        "SELECT CAST(m.subject AS BLOB), CAST(coalesce(b.body_text, '') AS BLOB) FROM messages m"
        " LEFT JOIN message_bodies b ON b.message_id = m.id WHERE m.id = ?",
        (message_id,),
    )
    return (b"", b"") if row is None else (bytes(row[0]), bytes(row[1]))


def write_text(archive: Archive, change: Change) -> bool:
    """Write one text, in the caller's transaction. False: it is not what it was when it was read, and stays."""
    return _WRITERS[change.at.field](archive, change)


def _write_subject(archive: Archive, change: Change) -> bool:
    return _write(
        archive, "UPDATE messages SET subject = CAST(?1 AS TEXT) WHERE id = ?2 AND CAST(subject AS BLOB) = ?3", change
    )


def _write_snippet(archive: Archive, change: Change) -> bool:
    return _write(
        archive, "UPDATE messages SET snippet = CAST(?1 AS TEXT) WHERE id = ?2 AND CAST(snippet AS BLOB) = ?3", change
    )


def _write_body(archive: Archive, change: Change) -> bool:
    return _write(
        archive,
        "UPDATE message_bodies SET body_text = CAST(?1 AS TEXT) WHERE message_id = ?2 AND CAST(body_text AS BLOB) = ?3",
        change,
    )


def _write(archive: Archive, sql: str, change: Change) -> bool:
    return archive.execute(sql, (change.after, change.at.message_id, change.before)) > 0


def _write_file(archive: Archive, change: Change) -> bool:
    changed = archive.execute(
        "UPDATE attachments SET filename = CAST(? AS TEXT) WHERE message_id = ? AND position = ?"
        " AND CAST(filename AS BLOB) = ?",
        (change.after, change.at.message_id, int(change.at.place), change.before),
    )
    return changed > 0


def _write_conversation(archive: Archive, change: Change) -> bool:
    changed = archive.execute(
        "UPDATE conversations SET subject = CAST(? AS TEXT), thread_key = iif(is_chat, '', ?)"
        " WHERE CAST(subject AS BLOB) = ? AND id = (SELECT conversation_id FROM messages WHERE id = ?)",
        (change.after, change.thread_key, change.before, change.at.message_id),
    )
    return changed > 0


def _write_name(archive: Archive, change: Change) -> bool:
    """The message gets another row of participants: one that bears the right name may be there already."""
    kind, _, position = change.at.place.partition(" ")
    if kind == "sender":
        where, bindings = "messages WHERE id = ?", (change.at.message_id,)
        column = "sender_id"
    elif kind == "reaction":
        where = "reactions WHERE message_id = ? AND position = ?"
        bindings = (change.at.message_id, int(position))  # type: ignore[assignment]
        column = "participant_id"
    else:
        where = "message_recipients WHERE message_id = ? AND kind = ? AND position = ?"
        bindings = (change.at.message_id, kind, int(position))  # type: ignore[assignment]
        column = "participant_id"
    found = archive.row(
        f"SELECT id, address, domain FROM participants WHERE id = (SELECT {column} FROM {where})"
        " AND CAST(name AS BLOB) = ?",
        (*bindings, change.before),
    )
    if found is None:
        return False
    archive.execute(
        "INSERT INTO participants(address, name, domain) VALUES (?, CAST(? AS TEXT), ?) ON CONFLICT DO NOTHING",
        (found[1], change.after, found[2]),
    )
    table = where.partition(" WHERE ")
    archive.execute(
        f"UPDATE {table[0]} SET {column} = (SELECT id FROM participants WHERE address = ? AND name = CAST(? AS TEXT))"
        f" WHERE {table[2]}",
        (found[1], change.after, *bindings),
    )
    remove_unused_participant(archive, found[0])
    return True


def _write_label(archive: Archive, change: Change) -> bool:
    kind = change.at.place
    removed = archive.execute(
        "DELETE FROM message_labels WHERE message_id = ? AND label_id = (SELECT id FROM labels WHERE kind = ?"
        " AND CAST(name AS BLOB) = ?)",
        (change.at.message_id, kind, change.before),
    )
    if not removed:
        return False
    archive.execute(
        "DELETE FROM labels WHERE kind = ? AND CAST(name AS BLOB) = ?"
        " AND NOT EXISTS (SELECT 1 FROM message_labels WHERE label_id = labels.id)",
        (kind, change.before),
    )
    archive.execute(
        "INSERT INTO labels(kind, name) VALUES (?, CAST(? AS TEXT)) ON CONFLICT DO NOTHING", (kind, change.after)
    )
    archive.execute(
        "INSERT INTO message_labels SELECT ?, id FROM labels WHERE kind = ? AND name = CAST(? AS TEXT)"
        " ON CONFLICT DO NOTHING",
        (change.at.message_id, kind, change.after),
    )
    return True


_WRITERS: Final = {
    "subject": _write_subject,
    "body": _write_body,
    "snippet": _write_snippet,
    "name": _write_name,
    "label": _write_label,
    "file": _write_file,
    "conversation": _write_conversation,
}
