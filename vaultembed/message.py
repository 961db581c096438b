"""What a message is on its way from a source to the archive: the types that cross between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MESSAGE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of one message that are read into memory. Mail servers stop at 150 MB and below."""

RecipientKind = Literal["to", "cc", "bcc", "mention"]
"""`mention`: named in a chat message."""
Flag = Literal["seen", "answered", "flagged", "draft", "trashed", "passed"]


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as a source hands it out, undecoded."""

    source_key: str
    """Names it within its source, the same on every import."""
    locator: str
    """Where a person finds it: a path, for an mbox followed by `@` and the byte offset."""
    mime: bytes
    """The RFC 5322 bytes, without the mbox "From " line, one level of ">From " quoting undone."""
    content_hash: bytes
    """16 bytes that name its content for good; see `text.mime.identity`."""
    folder: str = ""
    """Path of the folder below the imported path, "/"-separated; "" at its top."""
    flags: frozenset[Flag] = frozenset()
    delivered_at: int | None = None
    """Unix seconds, from the mbox "From " line or the Maildir file name; stands in for a missing Date."""


@dataclass(frozen=True, slots=True)
class FileState:
    """How far a file was read, and what it looked like then: the next import skips it, or goes on behind that."""

    size: int
    mtime_ns: int
    prefix_hash: bytes
    """Of samples of the part before `offset`: tells a file that grew from one that was rewritten."""
    offset: int
    """A message boundary: all before it was read."""
    is_current: bool = True
    """Not by an earlier version of the reader."""


@dataclass(frozen=True, slots=True)
class Person:
    address: str
    """Lower case; as written where it is no address ("pd at cbs.dk")."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    kind: RecipientKind
    person: Person


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part with a file name or that is not text, described but not stored (it lives in the raw message)."""

    filename: str
    mime_type: str
    size: int
    """Bytes, decoded."""
    sha256: bytes
    inline: bool = False
    """A picture that the HTML shows, or a signature: no mail program lists it as a file."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """To a message of a chat."""

    reaction: str
    """An emoji, or its name ("love")."""
    person: Person | None


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation as its source knows it, which needs no Message-IDs to be told."""

    name: str
    """Unlike any other's."""
    title: str
    """Of a chat what people call it, "" where nobody does; of mail for messages without a subject."""
    is_chat: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a message that could not be read as it should; the rest of the message stands."""

    kind: str
    """Short and stable, e.g. `unknown-charset`, `bad-date`, `broken-base64`, `unclosed-multipart`."""
    detail: str
    """One line for a person."""


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A message decoded. All text is valid Unicode without NUL and lone surrogates."""

    rfc822_message_id: str | None
    """Without angle brackets."""
    in_reply_to: str | None
    references: tuple[str, ...]
    """Oldest first, as in the header, without repeats and without the message's own id."""
    subject: str
    sent_at: int | None
    """Unix seconds, UTC."""
    zone_minutes: int | None
    """The sender's offset from UTC."""
    sender: Person | None
    recipients: tuple[Recipient, ...]
    list_id: str | None
    labels: tuple[str, ...]
    """From X-Gmail-Labels, X-Keywords, Keywords, and Thunderbird's tags (X-Mozilla-Keys)."""
    body_text: str
    """What a reader sees: quotes and signature included; HTML as text, quoted parts of it as "> " lines."""
    attachments: tuple[Attachment, ...]
    size_bytes: int
    problems: tuple[Problem, ...]
    message_type: str = "email"
    """`email`, or what a source says: `sms`, `whatsapp`, `teams`, `meeting_transcript`, …"""
    content_hash: bytes = b""
    """Of its source; no message is written without."""
    packed: bytes | None = None
    """As it was sent, compressed; None where that is not to be kept, or not known."""
    reader: int | None = None
    """Version of what read it; None where it was not read from what was sent."""
    thread: Thread | None = None
    """None where Message-IDs are all there is."""
