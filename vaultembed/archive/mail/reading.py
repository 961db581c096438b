"""Reads messages for people: what a result line shows, and a whole message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.mail.problems import ProblemRow, problems_of
from vaultembed.errors import DamageError
from vaultembed.message import Person, Reaction
from vaultembed.text.mime.packed import unpack


@dataclass(frozen=True, slots=True)
class Summary:
    """A message in a line."""

    id: int
    rfc822_message_id: str | None
    sent_at: int | None
    zone_minutes: int | None
    sender_name: str
    sender_address: str
    subject: str
    """Of a chat "" where it only repeats the beginning of the text, as that of a text message does."""
    snippet: str
    has_attachments: bool
    chat: str | None
    """What the chat is called that it belongs to, "" where it has no name; None of mail."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message among others of its conversation."""

    summary: Summary
    text: str
    """How it begins; where it has no text, its attachments."""


@dataclass(frozen=True, slots=True)
class RecipientRow:
    kind: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    filename: str
    mime_type: str
    size: int


@dataclass(frozen=True, slots=True)
class PlaceRow:
    source: str
    locator: str
    folder: str
    flags: tuple[str, ...]
    gone: bool


@dataclass(frozen=True, slots=True)
class Details:
    """A message whole."""

    summary: Summary
    recipients: tuple[RecipientRow, ...]
    list_id: str | None
    labels: tuple[str, ...]
    body_text: str
    attachments: tuple[AttachmentRow, ...]
    places: tuple[PlaceRow, ...]
    problems: tuple[ProblemRow, ...]
    reactions: tuple[Reaction, ...]
    reply_to: Line | None
    """The message that it answers, where that is here."""
    people: tuple[Person, ...]
    """Of its conversation."""
    conversation: tuple[Line, ...]
    """All live messages of its conversation, this one included, oldest first; those in trash or spam only beside one
    that is there, too."""


_SUMMARY = f"""
SELECT m.id, {text_of("m.rfc822_message_id")}, {number_of("m.sent_at")}, {number_of("m.zone_minutes")},
       coalesce({text_of("p.name")}, ''), coalesce({text_of("p.address")}, ''), {text_of("m.subject")},
       {text_of("m.snippet")}, {number_of("m.has_attachments")}, {text_of("c.subject")}
FROM messages m LEFT JOIN participants p ON p.id = m.sender_id
LEFT JOIN conversations c ON c.id = m.conversation_id AND c.is_chat
"""
_NEWEST_OF_CHAT: Final = 1_000
"""Messages of a conversation whose recipients are looked at: each message of a group has all its members."""


def _summary(row: tuple[Any, ...]) -> Summary:
    found = Summary(*row)
    subject = " ".join(found.subject.split())
    both = min(len(subject), len(found.snippet))
    repeats = found.chat is not None and both > 0 and subject[:both] == found.snippet[:both]
    return replace(found, has_attachments=bool(found.has_attachments), subject="" if repeats else found.subject)


def read_summary(archive: Archive, message_id: int) -> Summary | None:
    """None where there is no such message, or it is deleted."""
    row = archive.row(_SUMMARY + "WHERE m.id = ? AND m.deleted_at IS NULL", (message_id,))
    return None if row is None else _summary(row)


def read_details(archive: Archive, message_id: int) -> Details | None:
    """None where there is no such message, or it is deleted."""
    summary = read_summary(archive, message_id)
    if summary is None:
        return None
    key = (message_id,)
    conversation_id = archive.scalar(f"SELECT {number_of('conversation_id')} FROM messages WHERE id = ?", key)
    answered = read_reply_to(archive, message_id)
    return Details(
        summary=summary,
        recipients=tuple(read_recipients(archive, message_id)),
        list_id=archive.scalar(f"SELECT {text_of('list_id')} FROM messages WHERE id = ?", key),
        labels=tuple(read_labels(archive, message_id)),
        body_text=read_body(archive, message_id),
        attachments=tuple(read_attachments(archive, message_id)),
        places=tuple(read_places(archive, message_id)),
        problems=tuple(problems_of(archive, message_id)),
        reactions=tuple(read_reactions(archive, message_id)),
        reply_to=read_line(archive, answered) if answered is not None else None,
        people=tuple(read_people(archive, conversation_id)),
        conversation=tuple(
            _lines(
                archive,
                "WHERE m.deleted_at IS NULL AND m.conversation_id = ?"
                " AND m.set_aside <= (SELECT set_aside FROM messages WHERE id = ?) ORDER BY m.sent_at, m.id",
                (conversation_id, message_id),
            )
        ),
    )


def _lines(archive: Archive, where: str, bindings: tuple[object, ...]) -> Iterator[Line]:
    for row in archive.rows(_SUMMARY + where, bindings):
        summary = _summary(row)
        names = [] if summary.snippet else [a.filename or a.mime_type for a in read_attachments(archive, summary.id)]
        yield Line(summary, summary.snippet or (f"[{', '.join(names)}]" if names else ""))


def read_line(archive: Archive, message_id: int) -> Line | None:
    """None where there is no such message, or it is deleted."""
    return next(_lines(archive, "WHERE m.id = ? AND m.deleted_at IS NULL", (message_id,)), None)


def read_reply_to(archive: Archive, message_id: int) -> int | None:
    """The live message that this one answers; None where it is not here, or answers none."""
    found: int | None = archive.scalar(
        # one place where it still stands says more than one where it stood
        "SELECT * FROM (SELECT t.id FROM message_sources x"
        " JOIN msgvault_messages k ON k.source_id = x.source_id AND k.source_key = x.source_key"
        " JOIN message_sources y ON y.source_id = k.source_id AND y.source_key = k.reply_to"
        " JOIN messages t ON t.id = y.message_id WHERE x.message_id = ?1 AND t.id <> ?1 AND t.deleted_at IS NULL"
        " ORDER BY x.gone_at IS NOT NULL, x.source_id, x.source_key)"
        " UNION ALL SELECT t.id FROM messages m JOIN messages t ON t.rfc822_message_id = m.in_reply_to"
        " WHERE m.id = ?1 AND t.id <> ?1 AND t.deleted_at IS NULL LIMIT 1",
        (message_id,),
    )
    return found


def read_reactions(archive: Archive, message_id: int, limit: int = -1) -> list[Reaction]:
    return [
        Reaction(reaction, None if address is None else Person(address, name))
        for reaction, address, name in archive.rows(
            f"SELECT {text_of('r.reaction')}, {text_of('p.address')}, {text_of('p.name')} FROM reactions r"
            " LEFT JOIN participants p ON p.id = r.participant_id WHERE r.message_id = ? ORDER BY r.position LIMIT ?",
            (message_id, limit),
        )
    ]


def read_people(archive: Archive, conversation_id: int | None, limit: int = -1) -> list[Person]:
    """Who wrote in a conversation, and to whom of late, by name."""
    return [
        Person(*row)
        for row in archive.rows(
            f"SELECT {text_of('p.address')}, {text_of('p.name')} FROM participants p WHERE p.id IN"
            " (SELECT sender_id FROM messages WHERE conversation_id = ?1 AND deleted_at IS NULL"
            " UNION SELECT r.participant_id FROM (SELECT id FROM messages WHERE conversation_id = ?1"
            " AND deleted_at IS NULL ORDER BY id DESC LIMIT ?2) m JOIN message_recipients r ON r.message_id = m.id"
            " WHERE r.kind <> 'bcc') ORDER BY p.name = '', p.name, p.address LIMIT ?3",
            (conversation_id, _NEWEST_OF_CHAT, limit),
        )
    ]


def read_recipients(archive: Archive, message_id: int, limit: int = -1) -> list[RecipientRow]:
    """To, then cc, then bcc. A negative `limit` is none, here and below."""
    return [
        RecipientRow(*row)
        for row in archive.rows(
            f"SELECT {text_of('r.kind')}, {text_of('p.name')}, {text_of('p.address')} FROM message_recipients r"
            " JOIN participants p ON p.id = r.participant_id WHERE r.message_id = ?"
            " ORDER BY r.kind DESC, r.position LIMIT ?",
            (message_id, limit),
        )
    ]


def read_labels(archive: Archive, message_id: int, limit: int = -1) -> list[str]:
    """And folders, which `label:` finds as well."""
    return [
        row[0]
        for row in archive.rows(
            f"SELECT DISTINCT {text_of('l.name')} FROM message_labels x JOIN labels l ON l.id = x.label_id"
            " WHERE x.message_id = ? ORDER BY 1 LIMIT ?",
            (message_id, limit),
        )
    ]


def read_attachments(archive: Archive, message_id: int, limit: int = -1) -> list[AttachmentRow]:
    """Without the pictures in its text and its signatures."""
    return [
        AttachmentRow(*row)
        for row in archive.rows(
            f"SELECT {text_of('filename')}, {text_of('mime_type')}, coalesce({number_of('size')}, 0) FROM attachments"
            " WHERE message_id = ? AND inline IS NOT 1 ORDER BY position LIMIT ?",
            (message_id, limit),
        )
    ]


def read_places(archive: Archive, message_id: int, limit: int = -1) -> list[PlaceRow]:
    """Where it stands in its sources."""
    return [
        PlaceRow(row[0], row[1], row[2], tuple(row[3].split()), gone=bool(row[4]))
        for row in archive.rows(
            f"SELECT {text_of('s.identifier')}, {text_of('x.locator')}, {text_of('x.folder')}, {text_of('x.flags')},"
            " x.gone_at IS NOT NULL FROM message_sources x"
            " JOIN sources s ON s.id = x.source_id WHERE x.message_id = ? ORDER BY s.id, x.source_key LIMIT ?",
            (message_id, limit),
        )
    ]


def read_body(archive: Archive, message_id: int) -> str:
    sql = f"SELECT {text_of('body_text')} FROM message_bodies WHERE message_id = ?"
    return str(archive.scalar(sql, (message_id,)) or "")


def read_raw(archive: Archive, message_id: int) -> bytes | None:
    """The message as it was sent; None where import left it out.

    Raises:
        DamageError: it cannot be unpacked.
    """
    found: bytes | None = archive.scalar(
        "SELECT CAST(mime AS BLOB) FROM message_raw WHERE message_id = ?", (message_id,)
    )
    try:
        return None if found is None else unpack(found)
    except ValueError as error:
        what = f"the stored original of message {message_id} cannot be read: {error}"
        raise DamageError(what, "Whether others are damaged, too: vaultembed doctor") from error
