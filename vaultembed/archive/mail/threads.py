"""Joins messages into conversations by the Message-IDs they name, in whatever order they arrive."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import text_of
from vaultembed.message import ParsedMessage
from vaultembed.text.embeddable.subject import base_subject

SUBJECT_WINDOW_SECONDS: Final = 30 * 86400
_LOOKED_AT: Final = 50  # of "daily report" there may be 20,000 conversations
MOST_IDS: Final = 200  # a References header of real mail once held 4,000


def conversation_of(archive: Archive, parsed: ParsedMessage) -> int:
    """The conversation `parsed` belongs to, made or merged as needed.

    A message that names one of ours, or is named by one, joins it; one that names several, until now apart, joins them
    with each other. A reply that names nothing joins the latest conversation of its subject within 30 days. All
    messages of one `thread` belong together; and of a chat nobody else: people quote in one what was said in another.
    """
    thread = parsed.thread
    is_chat = thread is not None and thread.is_chat
    in_headers = () if is_chat else (parsed.rfc822_message_id, parsed.in_reply_to, *parsed.references[-MOST_IDS:])
    ids = list(dict.fromkeys(name for name in (thread.name if thread else None, *in_headers) if name))
    found = sorted(
        {
            int(row[0])
            for row in archive.rows(
                f"SELECT conversation_id FROM thread_ids WHERE rfc822_message_id IN ({','.join('?' * len(ids))})",
                ids,
            )
        }
    )
    if found:
        conversation_id = found[0]
        for other in found[1:]:
            _merge(archive, other, conversation_id)
    elif thread is not None and is_chat:
        conversation_id = _new(archive, "", thread.title, is_chat=True)
    else:
        thread_key, is_reply = base_subject(parsed.subject)
        has_references = bool(parsed.references or parsed.in_reply_to)
        by_subject = None
        if is_reply and thread_key and not has_references:
            by_subject = _latest_of_subject(archive, thread_key, parsed.sent_at)
        title = parsed.subject or (thread.title if thread else "")
        conversation_id = by_subject or _new(archive, thread_key, title, is_chat=False)
    for name in ids:
        archive.execute(
            "INSERT INTO thread_ids(rfc822_message_id, conversation_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (name, conversation_id),
        )
    return conversation_id


def write_references(archive: Archive, message_id: int, references: tuple[str, ...]) -> None:
    """Record the References of a message; each must have gone through `conversation_of`."""
    archive.execute("DELETE FROM message_references WHERE message_id = ?", (message_id,))
    for position, name in enumerate(references[-MOST_IDS:]):
        archive.execute(
            "INSERT INTO message_references SELECT ?, ?, id FROM thread_ids WHERE rfc822_message_id = ?",
            (message_id, position, name),
        )


@dataclass(frozen=True, slots=True)
class Headers:
    """What messages say of conversations."""

    subjects: dict[int, set[bytes]]
    """By conversation."""
    ids: list[int]
    """In `thread_ids`: their own, and those that they name."""


def headers_of(archive: Archive, message_ids: Sequence[int]) -> Headers:
    these = (json.dumps(list(message_ids)),)
    named = archive.rows(
        "SELECT thread_id FROM message_references WHERE message_id IN (SELECT value FROM json_each(?1))"
        " UNION SELECT t.id FROM messages m JOIN thread_ids t ON t.rfc822_message_id IN"
        " (m.rfc822_message_id, m.in_reply_to) WHERE m.id IN (SELECT value FROM json_each(?1))",
        these,
    )
    subjects: dict[int, set[bytes]] = defaultdict(set)
    for conversation_id, subject in archive.rows(
        "SELECT conversation_id, CAST(subject AS BLOB) FROM messages"
        " WHERE id IN (SELECT value FROM json_each(?)) AND conversation_id IS NOT NULL",
        these,
    ):
        subjects[conversation_id].add(subject)
    return Headers(subjects, [row[0] for row in named])


def forget_headers(archive: Archive, said: Headers) -> None:
    """Messages that said this are gone, or say something else: what no other message says goes. In the caller's
    transaction."""
    conversations = json.dumps(list(said.subjects))
    archive.execute(
        "DELETE FROM thread_ids WHERE id IN (SELECT value FROM json_each(?)"
        " UNION SELECT t.id FROM thread_ids t WHERE t.conversation_id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = t.conversation_id))"
        " AND NOT EXISTS (SELECT 1 FROM message_references r WHERE r.thread_id = thread_ids.id)"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.rfc822_message_id = thread_ids.rfc822_message_id)"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = thread_ids.conversation_id"
        " AND m.in_reply_to = thread_ids.rfc822_message_id)",
        (json.dumps(said.ids), conversations),
    )
    archive.execute(
        "DELETE FROM conversations WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = conversations.id)"
        " AND NOT EXISTS (SELECT 1 FROM thread_ids t WHERE t.conversation_id = conversations.id)",
        (conversations,),
    )
    strange = archive.rows(
        "SELECT c.id, CAST(c.subject AS BLOB) FROM conversations c WHERE c.id IN (SELECT value FROM json_each(?))"
        " AND NOT c.is_chat"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id AND m.subject = c.subject)",
        (conversations,),
    )
    for conversation_id, subject in strange:
        _name_anew(archive, conversation_id, is_of_the_gone=subject in said.subjects[conversation_id])


def _name_anew(archive: Archive, conversation_id: int, *, is_of_the_gone: bool) -> None:
    """A conversation whose subject none of its messages has, by the first of them. What a meeting is called stays."""
    first = archive.row(
        f"SELECT {text_of('subject')}, message_type FROM messages WHERE conversation_id = ?"
        " ORDER BY subject = '', id LIMIT 1",
        (conversation_id,),
    )
    subject, message_type = first or ("", "email")
    if not subject and message_type != "email" and not is_of_the_gone:
        return
    archive.execute(
        "UPDATE conversations SET subject = ?, thread_key = ? WHERE id = ?",
        (subject, base_subject(subject)[0], conversation_id),
    )
    _forget_repairs(archive, conversation_id)


def rename_chat(archive: Archive, message_id: int, name: str) -> None:
    """Give the chat of a message another name. Its messages, of which there may be 200,000, are noted as to be indexed
    anew, by trigger."""
    conversation_id = archive.scalar("SELECT conversation_id FROM messages WHERE id = ?", (message_id,))
    if archive.execute(
        "UPDATE conversations SET subject = ?1 WHERE id = ?2 AND is_chat AND subject <> ?1", (name, conversation_id)
    ):
        _forget_repairs(archive, conversation_id)


def _forget_repairs(archive: Archive, conversation_id: int) -> None:
    archive.execute(
        "DELETE FROM repairs WHERE field = 'conversation'"
        " AND message_id IN (SELECT id FROM messages WHERE conversation_id = ?)",
        (conversation_id,),
    )


def _new(archive: Archive, thread_key: str, subject: str, *, is_chat: bool) -> int:
    return archive.insert(
        "INSERT INTO conversations(thread_key, subject, is_chat) VALUES (?, ?, ?) RETURNING id",
        (thread_key, subject, int(is_chat)),
    )


def _merge(archive: Archive, source: int, target: int) -> None:
    archive.execute("UPDATE messages SET conversation_id = ? WHERE conversation_id = ?", (target, source))
    archive.execute("UPDATE thread_ids SET conversation_id = ? WHERE conversation_id = ?", (target, source))
    archive.execute("DELETE FROM conversations WHERE id = ?", (source,))


def _latest_of_subject(archive: Archive, thread_key: str, sent_at: int | None) -> int | None:
    if sent_at is None:
        return None
    found: int | None = archive.scalar(
        "SELECT m.conversation_id FROM"
        " (SELECT id FROM conversations WHERE thread_key = ? ORDER BY id DESC LIMIT ?) c"
        " JOIN messages m ON m.conversation_id = c.id"
        " WHERE m.sent_at BETWEEN ? AND ? ORDER BY m.sent_at DESC LIMIT 1",
        (thread_key, _LOOKED_AT, sent_at - SUBJECT_WINDOW_SECONDS, sent_at),
    )
    return found
