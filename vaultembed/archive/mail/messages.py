"""Writes messages. Every function works in the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.archive.mail.fulltext import IndexedTexts, index_texts, texts_to_index
from vaultembed.archive.mail.labels import add_labels
from vaultembed.archive.mail.readings import as_stored, record_reading
from vaultembed.archive.mail.threads import conversation_of, forget_headers, headers_of, write_references
from vaultembed.message import ParsedMessage, Person, Reaction
from vaultembed.text.mime.dates import MINUTES_A_DAY
from vaultembed.text.mime.snippet import snippet


def find_by_hash(archive: Archive, content_hash: bytes) -> int | None:
    found: int | None = archive.scalar("SELECT id FROM messages WHERE content_hash = ?", (content_hash,))
    return found


def content_rev_of(archive: Archive, message_id: int) -> int:
    return int(archive.scalar("SELECT content_rev FROM messages WHERE id = ?", (message_id,)))


def has_raw(archive: Archive, message_id: int) -> bool:
    """Whether the message is kept as it was sent."""
    return archive.scalar("SELECT 1 FROM message_raw WHERE message_id = ?", (message_id,)) is not None


def add_message(archive: Archive, new: ParsedMessage) -> int:
    """Write a message that is not here yet; returns its id. It leaves embed_gen NULL: needs work. To be followed by
    `index_parsed`."""
    new = as_stored(new)
    message_id = archive.insert(
        f"INSERT INTO messages({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) RETURNING id",
        _values(archive, new, conversation_of(archive, new)),
    )
    archive.execute("INSERT INTO message_bodies VALUES (?, ?)", (message_id, new.body_text))
    _write_details(archive, message_id, new)
    record_reading(archive, message_id, new)
    return message_id


def replace_message(archive: Archive, message_id: int, new: ParsedMessage) -> None:
    """Write what a message now is over what it was. Its stamp is cleared, by trigger, only if its text differs. To be
    followed by `index_parsed`."""
    said = headers_of(archive, [message_id])
    new = as_stored(new)
    for table in ("message_raw", "problems"):
        archive.execute(f"DELETE FROM {table} WHERE message_id = ?", (message_id,))
    write_over(archive, message_id, new, conversation_of(archive, new))
    record_reading(archive, message_id, new)
    forget_headers(archive, said)


def write_over(archive: Archive, message_id: int, new: ParsedMessage, conversation_id: int | None) -> None:
    """Write what a message says over what it said, where the rest of it stays."""
    archive.execute(
        f"UPDATE messages SET {', '.join(f'{column} = ?' for column in _COLUMNS)} WHERE id = ?",
        (*_values(archive, new, conversation_id), message_id),
    )
    archive.execute(
        "INSERT INTO message_bodies VALUES (?, ?) ON CONFLICT DO UPDATE SET body_text = excluded.body_text",
        (message_id, new.body_text),
    )
    for table in ("message_recipients", "attachments"):
        archive.execute(f"DELETE FROM {table} WHERE message_id = ?", (message_id,))
    _write_details(archive, message_id, new)


def index_parsed(archive: Archive, messages: Mapping[int, ParsedMessage]) -> None:
    """Make what was written findable by its words: last in the transaction, see `index_texts`."""
    index_texts(
        archive,
        (
            (
                message_id,
                texts_to_index(archive, message_id)  # by the name of the chat too, as it is here
                if parsed.thread is not None and parsed.thread.is_chat
                else IndexedTexts(
                    parsed.subject,
                    parsed.body_text,
                    [
                        (person.name, person.address)
                        for person in (parsed.sender, *(recipient.person for recipient in parsed.recipients))
                        if person is not None
                    ],
                    [attachment.filename for attachment in parsed.attachments if attachment.filename],
                ),
            )
            for message_id, parsed in sorted(messages.items())
        ),
    )


def has_body(archive: Archive, message_id: int) -> bool:
    """Whether it has any text besides its subject."""
    return (
        archive.scalar("SELECT 1 FROM message_bodies WHERE message_id = ? AND body_text <> ''", (message_id,))
        is not None
    )


def has_text(archive: Archive, message_id: int, new: ParsedMessage) -> bool:
    """Whether subject and body here are those of `new`."""
    return (
        archive.scalar(
            "SELECT 1 FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
            " WHERE m.id = ? AND m.subject = ? AND coalesce(b.body_text, '') = ?",
            (message_id, new.subject, new.body_text),
        )
        is not None
    )


def find_mail(archive: Archive, extract: ParsedMessage) -> int | None:
    """The one mail that is kept as it was sent and that `extract` was made of; None where there is none, or more than
    one. An equal Message-ID alone says nothing: programs give the same one to other messages."""
    if extract.rfc822_message_id is None:
        return None
    found = archive.rows(
        f"SELECT m.id, {text_of('m.message_type')}, {number_of('m.sent_at')}, {text_of('m.subject')},"
        f" {text_of('b.body_text')} FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
        " WHERE m.rfc822_message_id = ? AND EXISTS (SELECT 1 FROM message_raw r WHERE r.message_id = m.id) LIMIT 2",
        (extract.rfc822_message_id,),
    )
    same = [row[0] for row in found if is_extract_of(said_by(extract), Said(*row[1:]))]
    return same[0] if len(found) == len(same) == 1 else None


def is_named(archive: Archive, message_id: str) -> bool:
    """Whether there is a message of that Message-ID."""
    return archive.scalar("SELECT 1 FROM messages WHERE rfc822_message_id = ? LIMIT 1", (message_id,)) is not None


def find_extract(archive: Archive, mail: ParsedMessage) -> int | None:
    """The one message that another program made of `mail`, where that was not to be had; None as in `find_mail`."""
    found = archive.rows(
        f"SELECT m.id, {text_of('m.message_type')}, {number_of('m.sent_at')}, {text_of('m.subject')},"
        f" {text_of('b.body_text')} FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
        # not of all, where a program gives one Message-ID to all of its mail
        " WHERE m.id IN (SELECT id FROM messages WHERE rfc822_message_id = ? ORDER BY id DESC LIMIT 4)"
        " AND NOT EXISTS (SELECT 1 FROM message_readings r WHERE r.message_id = m.id)"
        # what somebody has edited or repaired since is not written over
        " AND EXISTS (SELECT 1 FROM message_sources x JOIN msgvault_messages k ON k.source_id = x.source_id"
        " AND k.source_key = x.source_key WHERE x.message_id = m.id AND k.content_rev = m.content_rev)"
        " AND NOT EXISTS (SELECT 1 FROM repairs r WHERE r.message_id = m.id AND r.undone_at IS NULL)",
        (mail.rfc822_message_id,),
    )
    same = [row[0] for row in found if is_extract_of(Said(*row[1:]), said_by(mail))]
    return same[0] if len(found) == len(same) == 1 else None


class Said(NamedTuple):
    """What a message is known by beside its Message-ID."""

    message_type: str
    sent_at: float | None
    subject: str
    body_text: str | None


def said_by(message: ParsedMessage) -> Said:
    return Said(message.message_type, message.sent_at, message.subject, message.body_text)


def is_extract_of(extract: Said, whole: Said) -> bool:
    """Whether a message may be what another program made of a mail with the same Message-ID: it is of its kind, of its
    time (programs read odd zones differently) and has most of its words from there."""
    if whole.message_type != extract.message_type:
        return False
    one, other = whole.sent_at, extract.sent_at
    if one is not None and other is not None and abs(one - other) > 60 * MINUTES_A_DAY:
        return False
    words = _words(f"{extract.subject} {extract.body_text or ''}")
    return 2 * len(words & _words(f"{whole.subject} {whole.body_text or ''}")) >= len(words)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def set_reactions(archive: Archive, message_id: int, reactions: Iterable[Reaction]) -> None:
    archive.execute("DELETE FROM reactions WHERE message_id = ?", (message_id,))
    archive.execute_many(
        "INSERT INTO reactions VALUES (?, ?, ?, ?)",
        [
            (message_id, position, each.reaction, _participant(archive, each.person))
            for position, each in enumerate(reactions)
        ],
    )


_COLUMNS: Final = (
    "rfc822_message_id",
    "content_hash",
    "conversation_id",
    "in_reply_to",
    "sender_id",
    "message_type",
    "sent_at",
    "zone_minutes",
    "subject",
    "snippet",
    "list_id",
    "size_bytes",
    "has_attachments",
)


def _values(archive: Archive, parsed: ParsedMessage, conversation_id: int | None) -> tuple[Any, ...]:
    """The values of `_COLUMNS`."""
    return (
        parsed.rfc822_message_id,
        parsed.content_hash,
        conversation_id,
        parsed.in_reply_to,
        _participant(archive, parsed.sender),
        parsed.message_type,
        parsed.sent_at,
        parsed.zone_minutes,
        parsed.subject,
        snippet(parsed.body_text),
        parsed.list_id,
        parsed.size_bytes,
        int(any(not a.inline for a in parsed.attachments)),
    )


def _write_details(archive: Archive, message_id: int, parsed: ParsedMessage) -> None:
    write_references(archive, message_id, parsed.references)
    positions = {"to": 0, "cc": 0, "bcc": 0, "mention": 0}
    for recipient in parsed.recipients:
        archive.execute(
            "INSERT INTO message_recipients VALUES (?, ?, ?, ?)",
            (message_id, recipient.kind, positions[recipient.kind], _participant(archive, recipient.person)),
        )
        positions[recipient.kind] += 1
    archive.execute_many(
        "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (message_id, position, a.filename, a.mime_type, a.size, a.sha256, int(a.inline))
            for position, a in enumerate(parsed.attachments)
        ],
    )
    if parsed.packed is not None:
        archive.execute("INSERT INTO message_raw VALUES (?, 'zlib', ?)", (message_id, parsed.packed))
    add_labels(archive, message_id, "label", parsed.labels)


def _participant(archive: Archive, person: Person | None) -> int | None:
    if person is None:
        return None
    key = (person.address, person.name)
    found: int | None = archive.scalar("SELECT id FROM participants WHERE address = ? AND name = ?", key)
    if found is not None:
        return found
    domain = person.address.rpartition("@")[2] if "@" in person.address else ""
    return archive.insert(
        "INSERT INTO participants(address, name, domain) VALUES (?, ?, ?) RETURNING id", (*key, domain)
    )
