"""A message of msgvault as an entry to be written: from how it was sent, where that was kept, else from what was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vaultembed.archive.mail.places import Place
from vaultembed.importing.parser import Depth, Mime
from vaultembed.importing.writing import Entry, Raw
from vaultembed.message import ParsedMessage, Problem, Thread
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase
from vaultembed.msgvault.their_messages import TheirMessage, TheirSource, read_mime
from vaultembed.sources.base import printable
from vaultembed.text.charsets import clean, guess
from vaultembed.text.html.to_text import html_to_text
from vaultembed.text.mime.dates import is_plausible
from vaultembed.text.mime.identity import content_hash
from vaultembed.text.mime.mime import labels_in_header
from vaultembed.text.problems import ProblemLog


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that is to be written."""

    message: TheirMessage
    entry: Entry


def place_of(database: ForeignDatabase, message: TheirMessage) -> Place:
    locator = f"{printable(database.path)}#{message.id}"
    return Place(str(message.id), locator, "", "seen" if message.is_read else "")


def take(
    database: ForeignDatabase,
    message: TheirMessage,
    source: TheirSource,
    source_id: int,
    keep: Raw,
    *,
    was_read: bool,
) -> Taken:
    """Read what was sent, and say what the message is. `source_id`: of this archive. `was_read`: at this place, before,
    with another text."""
    mime, problems = _as_sent(database, message)
    place = place_of(database, message)
    thread = _thread(database, message, source)
    unparsed: _Unparsed | Problem
    if mime is not None:
        digest, in_header = content_hash(mime), tuple(labels_in_header(mime))
        as_sent = Mime(mime, digest, message.received_at or message.sent_at, is_kept=keep == "keep")
        unparsed = _Unparsed(message, thread, as_sent)
    else:
        digest, in_header = _hash_of(database, message, source), ()
        unparsed = _Unparsed(message, thread, _Extract(message, digest, problems))
        if not database.columns("message_bodies"):
            unparsed = Problem("unreadable-message", "the table of its body is missing")
    labels = tuple(dict.fromkeys((*message.labels, *in_header)))
    entry = Entry(
        source_id,
        place,
        digest,
        unparsed,
        lambda: labels,
        deleted_at=message.deleted_at,
        is_extract=mime is None,
        was_read=was_read,
    )
    return Taken(message, entry)


@dataclass(frozen=True, slots=True)
class _Extract:
    """What msgvault kept of a message that it does not have as it was sent. As `Unparsed`."""

    message: TheirMessage
    content_hash: bytes
    problems: tuple[Problem, ...]

    @property
    def size(self) -> int:
        return len(self.message.body_text or b"") + len(self.message.body_html or b"")

    def parse(self, depth: Depth) -> ParsedMessage:
        message = self.message
        if depth >= Depth.WITHOUT_HTML:
            message = replace(message, body_html=None)
        if depth >= Depth.HEADER:
            message = replace(message, body_text=None)
        return replace(_parsed(message, self.problems), content_hash=self.content_hash)


@dataclass(frozen=True, slots=True)
class _Unparsed:
    """A message with what only msgvault knows of it. As `Unparsed`."""

    message: TheirMessage
    thread: Thread | None
    text: Mime | _Extract

    @property
    def size(self) -> int:
        return self.text.size

    def parse(self, depth: Depth) -> ParsedMessage:
        return replace(self.text.parse(depth), message_type=self.message.message_type, thread=self.thread)


def _as_sent(database: ForeignDatabase, message: TheirMessage) -> tuple[bytes | None, tuple[Problem, ...]]:
    """None where it was not kept, or cannot be read."""
    try:
        return read_mime(database, message.id), ()
    except (ValueError, ForeignDamageError) as error:
        reason = error.message if isinstance(error, ForeignDamageError) else str(error)
        return None, (Problem("unreadable-raw", f"as it was sent: {reason}; its text is msgvault's"),)


def texts_of(message: TheirMessage) -> tuple[str, str]:
    """Subject and body as msgvault has them."""
    return _text(message.subject, []), _body(message, [])


def _thread(database: ForeignDatabase, message: TheirMessage, source: TheirSource) -> Thread | None:
    theirs = message.conversation
    if theirs is None:
        return None
    name = theirs.name or f"{printable(database.path.resolve())}#{theirs.id}"
    return Thread(f"{source.name}/{name}", theirs.title, theirs.is_chat)


def _hash_of(database: ForeignDatabase, message: TheirMessage, source: TheirSource) -> bytes:
    """Of a message that has nothing as it was sent: its name at its source. Frozen for good, as `content_hash` is."""
    name = message.source_message_id
    if not name and message.rfc822_message_id:
        # bridges give equal Message-IDs to other messages: two say "ok" in one second, or send a picture each
        sender = message.sender.address if message.sender else ""
        chat = message.conversation.name if message.conversation else ""
        files = [(each.filename, each.sha256) for each in message.attachments]
        said = (message.message_type, message.sent_at, *texts_of(message), sender, chat, files)
        name = repr((message.rfc822_message_id, *said))
    if not name:
        name = f"{printable(database.path.resolve())}#{message.id}"  # an id says nothing beyond its own archive
    text = "\0".join(("msgvault", source.kind, source.identifier, name))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _parsed(message: TheirMessage, problems: Sequence[Problem]) -> ParsedMessage:
    found = list(problems)
    subject = _text(message.subject, found, "subject")
    body = _body(message, found)
    sent_at = message.sent_at
    if sent_at is not None and message.message_type == "email" and not is_plausible(sent_at, time.time()):
        sent_at = None  # an appointment may well be next year
    return ParsedMessage(
        rfc822_message_id=message.rfc822_message_id,
        in_reply_to=None,
        references=(),
        subject=" ".join(subject.split()),
        sent_at=sent_at,
        zone_minutes=message.zone_minutes if sent_at is not None else None,
        sender=message.sender,
        recipients=message.recipients,
        list_id=None,
        labels=(),
        body_text=body,
        attachments=message.attachments,
        size_bytes=message.size or len(body.encode()),
        problems=tuple(found),
        message_type=message.message_type,
    )


def _body(message: TheirMessage, problems: list[Problem]) -> str:
    if message.body_text:
        return _text(message.body_text, problems, "body")
    log = ProblemLog()
    text = html_to_text(_text(message.body_html, problems, "body"), log) if message.body_html else ""
    problems += log.problems()
    return text


def _text(stored: bytes, problems: list[Problem], where: str = "") -> str:
    text, charset = guess(stored, None)
    if charset != "utf-8":
        problems.append(Problem("bad-bytes", f"{where}: no UTF-8, read as {charset}"))
    return clean(text)
