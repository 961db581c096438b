"""Reads messages out of msgvault.db, some hundreds at a time."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vaultembed.message import MESSAGE_LIMIT, Attachment, Person, Reaction, Recipient, RecipientKind
from vaultembed.msgvault.files import ForeignDatabase
from vaultembed.msgvault.their_chats import Conversation, conversations_of, members_of_chats, reactions_to
from vaultembed.msgvault.their_people import blob, named, person_columns, sender_join
from vaultembed.msgvault.values import UNKNOWN, as_integer, as_seconds, as_text, one_line, zone_of
from vaultembed.text.mime.packed import unpack

_KINDS: Final[dict[str, RecipientKind]] = {"to": "to", "cc": "cc", "bcc": "bcc", "mention": "mention"}
_RECEIVES: Final = ("to", "cc", "bcc")
"""Who is mentioned in a chat is not all that read it."""
_OPTIONAL: Final = {
    "message_bodies": "bodies of messages",
    "message_raw": "messages as they were sent",
    "participants": "people",
    "message_recipients": "recipients",
    "labels": "labels",
    "message_labels": "labels",
    "attachments": "attachments of chats",
}
"""Tables without which there is still something to import: what is left out then."""
_LIGHT: Final = (
    "source_message_id",
    "rfc822_message_id",
    "message_type",
    "sent_at",
    "received_at",
    "internal_date",
    "is_from_me",
    "is_read",
    "subject",
    "size_estimate",
    "deleted_at",
    "deleted_from_source_at",
)
"""Columns that are taken over as they are; `sender_id` apart."""
_OWN: Final = ("source_id", "conversation_id", "reply_to_message_id", "embed_gen")
"""Numbers that mean something in that archive alone."""
TEXT: Final = slice(0, 8)
LABELS: Final = slice(8, 12)
CHAT_NAME: Final = slice(12, 16)
REACTIONS: Final = slice(16, 20)
"""Parts of a digest."""


@dataclass(frozen=True, slots=True)
class TheirSource:
    """An account, a mailbox or a chat service."""

    id: int
    kind: str
    identifier: str

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.identifier}"


@dataclass(frozen=True, slots=True)
class TheirMessage:
    """A message without its raw form. Bytes are text that may be no UTF-8."""

    id: int
    source_id: int
    source_message_id: str
    rfc822_message_id: str | None
    message_type: str
    sent_at: int | None
    zone_minutes: int | None
    received_at: int | None
    sender: Person | None
    recipients: tuple[Recipient, ...]
    subject: bytes
    body_text: bytes | None
    """None: it has no body row, or that is empty."""
    body_html: bytes | None
    labels: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    conversation: Conversation | None
    reply_to: int | None
    """Id of the message that it answers."""
    reactions: tuple[Reaction, ...]
    size: int
    is_read: bool
    deleted_at: int | None
    """Hidden as a duplicate, or deleted at its source; None of a live one."""
    embed_gen: int | None
    content_changed_at: int | None
    raw_size: int
    """Bytes of its raw form as it is stored; 0 without one."""
    digest: bytes
    """24 bytes over all of this that is taken over: eight over its text, four each over its labels, the name of its
    chat, its reactions, and the rest. Two equal ones: there is nothing new."""


def left_out(database: ForeignDatabase) -> tuple[str, ...]:
    """What a damaged archive has no tables for."""
    tables = database.tables()
    missing = {what: table for table, what in _OPTIONAL.items() if table not in tables}
    return tuple(f"{what} (its table {table} is missing)" for what, table in missing.items())


def list_sources(database: ForeignDatabase) -> dict[int, TheirSource]:
    kind = "source_type" if "source_type" in database.columns("sources") else "'unknown'"
    return {
        int(row[0]): TheirSource(int(row[0]), as_text(row[1]), as_text(row[2]))
        for row in database.rows(f"SELECT id, CAST({kind} AS BLOB), CAST(identifier AS BLOB) FROM sources")
        if isinstance(row[0], int)
    }


def list_message_ids(database: ForeignDatabase) -> tuple[array[int], bool]:
    """All ids in order; False where some may be missing, because pages are damaged."""
    found, whole = database.integers("SELECT id FROM messages NOT INDEXED ORDER BY id")
    if not whole:
        # from the other end there may be more
        behind, _ = database.integers("SELECT id FROM messages NOT INDEXED ORDER BY id DESC")
        found.extend(i for i in reversed(behind) if not found or i > found[-1])
    return found, whole


def ids_still_there(database: ForeignDatabase, ids: Sequence[int]) -> set[int]:
    """Those of `ids` that are messages."""
    sql = "SELECT id FROM messages WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0] for row in database.rows(sql, (json.dumps(list(ids)),))}


def read_messages(database: ForeignDatabase, ids: Sequence[int]) -> list[TheirMessage]:
    """Those of `ids` that there are, in order of id.

    Raises:
        ForeignDamageError: one of them, or something of it, cannot be read. (Asked for alone, the others can.)
    """
    listing = (json.dumps(list(ids)),)
    columns = database.columns("messages")
    wanted = [blob("m", name) if name in columns else "NULL" for name in _LIGHT]
    own = [f"m.{name}" if name in columns else "NULL" for name in _OWN]
    changed = blob("m", "content_changed_at") if "content_changed_at" in columns else "NULL"
    rows = database.rows(
        f"SELECT m.id, {', '.join([*own, changed, *person_columns(database, 's'), *wanted])} FROM messages m"
        f" {sender_join(database)} WHERE m.id IN (SELECT value FROM json_each(?)) ORDER BY m.id",
        listing,
    )
    bodies = _bodies(database, listing)
    raws = _raw_sizes(database, listing)
    recipients = _recipients(database, listing)
    members = members_of_chats(database, listing)
    labels = _labels(database, listing)
    attachments = _attachments(database, listing)
    conversations = conversations_of(database, listing)
    reactions = reactions_to(database, listing)
    return [
        _message(
            row,
            bodies.get(row[0]),
            raws.get(row[0]),
            recipients[row[0]],
            members[row[2]],
            labels[row[0]],
            attachments[row[0]],
            conversations.get(row[2]),
            tuple(reactions[row[0]]),
        )
        for row in rows
    ]


def read_mime(database: ForeignDatabase, message_id: int) -> bytes | None:
    """A message as it was sent; None where it is not kept, or not as MIME.

    Raises:
        ValueError: it is there and cannot be unpacked; says why.
        ForeignDamageError: its page is damaged.
    """
    if "raw_data" not in database.columns("message_raw"):
        return None
    columns = database.columns("message_raw")
    packing, form, key = (
        name if name in columns else "NULL" for name in ("compression", "raw_format", "encryption_version")
    )
    found = database.rows(
        f"SELECT raw_data, {packing}, {form}, {key} FROM message_raw WHERE message_id = ?", (message_id,)
    )
    if not found or not found[0][0]:
        return None
    data, compression, raw_format, encryption = found[0]
    if as_integer(encryption):
        raise ValueError("it is encrypted")
    if as_text(raw_format).lower() not in ("", "mime", "eml", "rfc822", "message/rfc822"):
        return None
    if not isinstance(data, bytes):
        raise ValueError("it is no blob")
    if as_text(compression).lower() in ("zlib", "deflate"):
        return unpack(data)
    if as_text(compression).lower() in ("", "none"):
        if len(data) > MESSAGE_LIMIT:
            raise ValueError(f"it has more than {MESSAGE_LIMIT / 1e6:.0f} MB")
        return data
    raise ValueError(f"it is compressed with {as_text(compression)!r}, which is not known here")


def _bodies(database: ForeignDatabase, listing: tuple[str]) -> dict[int, tuple[bytes | None, bytes | None]]:
    columns = database.columns("message_bodies")
    if "message_id" not in columns:
        return {}
    text, html = (blob("b", name) if name in columns else "NULL" for name in ("body_text", "body_html"))
    return {
        row[0]: (row[1], row[2])
        for row in database.rows(
            # of the two the text counts, where there is some
            f"SELECT message_id, {text}, CASE WHEN octet_length({text}) > 0 THEN NULL ELSE {html} END"
            " FROM message_bodies b WHERE message_id IN (SELECT value FROM json_each(?))",
            listing,
        )
    }


def _raw_sizes(database: ForeignDatabase, listing: tuple[str]) -> dict[int, int]:
    if not {"message_id", "raw_data"} <= database.columns("message_raw"):
        return {}
    return dict(
        database.rows(
            "SELECT message_id, coalesce(octet_length(raw_data), 0) FROM message_raw"
            " WHERE message_id IN (SELECT value FROM json_each(?))",
            listing,
        )
    )


def _recipients(database: ForeignDatabase, listing: tuple[str]) -> dict[int, list[tuple[str, Person]]]:
    found: dict[int, list[tuple[str, Person]]] = defaultdict(list)
    columns = database.columns("message_recipients")
    if not {"message_id", "recipient_type"} <= columns:
        return found
    joined = "participant_id" in columns and "id" in database.columns("participants")
    address, name = person_columns(database, "p") if joined else ("NULL", "NULL")
    if "email_address" in columns:
        address = f"coalesce(nullif({blob('r', 'email_address')}, x''), {address})"
    if "display_name" in columns:
        own = f"nullif(nullif({blob('r', 'display_name')}, x''), CAST('{UNKNOWN}' AS BLOB))"
        name = f"coalesce({own}, {name})"
    for message_id, kind, found_address, found_name in database.rows(
        f"SELECT r.message_id, CAST(r.recipient_type AS BLOB), {address}, {name} FROM message_recipients r"
        f" {'LEFT JOIN participants p ON p.id = r.participant_id' if joined else ''}"
        " WHERE r.message_id IN (SELECT value FROM json_each(?)) ORDER BY r.message_id, r.rowid",
        listing,
    ):
        person = named(found_address, found_name)
        if person is not None:
            found[message_id].append((as_text(kind), person))
    return found


def _labels(database: ForeignDatabase, listing: tuple[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    if "name" in database.columns("labels") and "label_id" in database.columns("message_labels"):
        for message_id, name in database.rows(
            "SELECT x.message_id, CAST(l.name AS BLOB) FROM message_labels x JOIN labels l ON l.id = x.label_id"
            " WHERE x.message_id IN (SELECT value FROM json_each(?)) ORDER BY 1, 2",
            listing,
        ):
            if as_text(name).strip():
                found[message_id].append(" ".join(as_text(name).split()))
    return found


def _attachments(database: ForeignDatabase, listing: tuple[str]) -> dict[int, list[Attachment]]:
    found: dict[int, list[Attachment]] = defaultdict(list)
    columns = database.columns("attachments")
    if "message_id" not in columns:
        return found
    wanted = [
        blob("a", name) if name in columns else "NULL" for name in ("filename", "mime_type", "size", "content_hash")
    ]
    for message_id, filename, mime_type, size, digest in database.rows(
        f"SELECT message_id, {', '.join(wanted)} FROM attachments a"
        " WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY message_id, a.rowid",
        listing,
    ):
        try:
            sha256 = bytes.fromhex(as_text(digest))
        except ValueError:
            sha256 = b""
        found[message_id].append(
            Attachment(
                filename=one_line(filename),
                mime_type=one_line(mime_type) or "application/octet-stream",
                size=max(as_integer(size) or 0, 0),
                sha256=sha256 if len(sha256) == hashlib.sha256().digest_size else b"",
            )
        )
    return found


def _message(
    row: tuple[Any, ...],
    body: tuple[bytes | None, bytes | None] | None,
    raw_size: int | None,
    people: list[tuple[str, Person]],
    members: list[Person],
    labels: list[str],
    attachments: list[Attachment],
    conversation: Conversation | None,
    reactions: tuple[Reaction, ...],
) -> TheirMessage:
    message_id, source_id, _, reply_to, embed_gen, changed, address, name, *light = row
    field = dict(zip(_LIGHT, light, strict=True))
    body_text, body_html = body or (None, None)
    first_sender = next((person for kind, person in people if kind == "from"), None)
    # the header of this message names its sender as it was written there
    sender = first_sender or named(address, name)
    if not any(kind in _RECEIVES for kind, _ in people):
        # a message may call its sender by another name than the chat does
        sent_by = (sender, named(address, name))
        people = people + [("to", person) for person in members if person not in sent_by]
    dates = (field[name] for name in ("sent_at", "internal_date", "received_at"))
    sent = next((date for date in dates if as_seconds(date) is not None), None)
    deleted = [as_seconds(field[n]) or 1 for n in ("deleted_at", "deleted_from_source_at") if field[n] is not None]
    text = (field["subject"], body, raw_size)
    chat_name = conversation.title if conversation and conversation.is_chat else ""
    belongs_to = (conversation.id, conversation.name, conversation.is_chat) if conversation else None
    rest = (source_id, belongs_to, reply_to, address, name, light, people, attachments)
    return TheirMessage(
        id=message_id,
        source_id=as_integer(source_id) or 0,
        source_message_id=as_text(field["source_message_id"]),
        rfc822_message_id="".join(as_text(field["rfc822_message_id"]).split()).strip("<>") or None,
        message_type=one_line(field["message_type"]).lower() or "email",
        sent_at=as_seconds(sent),
        zone_minutes=zone_of(sent),
        received_at=as_seconds(field["internal_date"]) or as_seconds(field["received_at"]),
        sender=sender,
        recipients=tuple(Recipient(_KINDS[kind], person) for kind, person in people if kind in _KINDS),
        subject=field["subject"] or b"",
        body_text=body_text or None,
        body_html=body_html or None,
        labels=tuple(dict.fromkeys(labels)),
        attachments=tuple(attachments),
        conversation=conversation,
        reply_to=as_integer(reply_to),
        reactions=reactions,
        size=max(as_integer(field["size_estimate"]) or 0, 0),
        is_read=bool(as_integer(field["is_read"])),
        deleted_at=min(deleted, default=None),
        embed_gen=as_integer(embed_gen),
        content_changed_at=as_seconds(changed),
        raw_size=raw_size or 0,
        digest=_hash(text, 8) + b"".join(_hash(part, 4) for part in (tuple(labels), (chat_name,), reactions, rest)),
    )


def _hash(parts: tuple[Any, ...], size: int) -> bytes:
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=size).digest()
