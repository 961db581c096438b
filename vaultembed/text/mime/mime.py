"""A message's bytes to what the archive keeps of it."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from email import message_from_bytes, policy
from email.message import Message
from typing import Final

from vaultembed.message import ParsedMessage, Person, Recipient, RecipientKind, Thread
from vaultembed.text.charsets import clean
from vaultembed.text.html.to_text import html_to_text
from vaultembed.text.mime.body import LONGEST_BODY, ReadHtml, body_of
from vaultembed.text.mime.dates import is_plausible, parse_date
from vaultembed.text.mime.header_block import HEADER_LIMIT, mended
from vaultembed.text.mime.headers import addresses, decode_header, decode_words, message_ids, replied_to, unfold
from vaultembed.text.mime.identity import normalise_message_id
from vaultembed.text.mime.parts import read_part
from vaultembed.text.problems import ProblemLog

READER_VERSION: Final = 1
"""Of all that reads mail: this, charsets, HTML, and `sources/`. Raise it with every change that reads some mail
otherwise: the next import of it then reads again what is in archives."""

Fields = Mapping[str, Sequence[str]]

_KINDS: Final[tuple[tuple[str, RecipientKind], ...]] = (
    ("to", "to"),
    ("apparently-to", "to"),
    ("cc", "cc"),
    ("bcc", "bcc"),
)
_MOST_LABELS: Final = 200
_LABEL_FIELD: Final = re.compile(rb"(?i)^(?:x-gmail-labels|x-keywords|keywords|x-mozilla-keys)[ \t]*:", re.MULTILINE)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_LONGEST_PLAIN: Final = 6 * LONGEST_BODY  # bytes of a message without parts
_HAS_PARTS: Final = re.compile(rb"(?i)^content-type[ \t]*:\s*(?!text/)", re.MULTILINE)


def parse_message(mime: bytes, *, delivered_at: int | None = None, read_html: ReadHtml = html_to_text) -> ParsedMessage:
    """Reads any bytes as a message; never raises. What could not be read as it should is in `problems`.

    Args:
        mime: RFC 5322 bytes, without an mbox "From " line.
        delivered_at: unix seconds; stands in for a Date that is missing or not plausible, after the earliest
            Received field: an mbox that a mail program wrote has the day on which it stored the message.
        read_html: what makes text of HTML.
    """
    log = ProblemLog()
    message = _structure(mended(mime), log)
    top = read_part(message, log)
    body = body_of(top, log, read_html)
    fields = top.fields
    hint = body.charset
    sender = _sender(fields, log, hint)
    recipients = _recipients(fields, log, hint)
    people = {person.address for person in (sender, *(each.person for each in recipients)) if person is not None}
    message_id = _that_names(normalise_message_id(unfold(decode_words(_first(fields, "message-id")))), people)
    in_reply_to = _that_names(replied_to(decode_words(_first(fields, "in-reply-to"))), {*people, message_id})
    references = message_ids(decode_words(" ".join(fields.get("references", ()))))
    sent_at, zone = _sent(fields, delivered_at, log)
    return ParsedMessage(
        rfc822_message_id=message_id,
        in_reply_to=in_reply_to,
        references=tuple(one for each in references if (one := _that_names(each, {*people, message_id}))),
        subject=decode_header(_first(fields, "subject"), log, hint=hint, where="subject"),
        sent_at=sent_at,
        zone_minutes=zone,
        sender=sender,
        recipients=recipients,
        list_id=_list_id(fields, log),
        labels=_labels(fields, log, hint),
        body_text=body.text,
        attachments=tuple(body.attachments),
        size_bytes=len(mime),
        problems=log.problems(),
        thread=_gmail_thread(fields),
    )


def labels_in_header(mime: bytes) -> tuple[str, ...]:
    """The labels of a message alone, which differ between copies of it; the body is not looked at."""
    header = header_alone(mime)
    return parse_message(header).labels if _LABEL_FIELD.search(header) else ()


def header_alone(mime: bytes) -> bytes:
    """A message without its body."""
    return _HEADER_END.split(mime[:HEADER_LIMIT], maxsplit=1)[0] + b"\n\n"


def _structure(mime: bytes, log: ProblemLog) -> Message:
    if len(mime) > _LONGEST_PLAIN and not _HAS_PARTS.search(mime, 0, 100_000):
        # `email` takes twenty times the size of a text with 8-bit bytes: 2 GB for 100 MB.
        log.add("body-cut", f"a text of {len(mime):,} bytes, the first {_LONGEST_PLAIN:,} read")
        mime = mime[:_LONGEST_PLAIN]
    try:
        return message_from_bytes(mime, policy=policy.compat32)
    except Exception as error:  # deep nesting is a RecursionError, odd boundaries raise others
        log.add("unreadable-structure", f"read as plain text: {type(error).__name__}")
    end = re.search(rb"\r?\n\r?\n", mime)
    header = mime[: end.end()] if end else b""
    plain = re.sub(rb"(?im)^content-[^\n]*\n(?:[ \t][^\n]*\n)*", b"", header[:100_000])
    try:
        return message_from_bytes(plain + mime[len(header) :], policy=policy.compat32)
    except Exception:
        message = Message(policy.compat32)
        message.set_payload(mime.decode("ascii", "surrogateescape"))
        return message


def _first(fields: Fields, name: str) -> str:
    for value in fields.get(name, ()):
        if value.strip():
            return value
    return ""


def _that_names(message_id: str | None, others: Collection[str | None]) -> str | None:
    """The id, if it can be that of a message: "null" and "noreply" stand in the mail of many people, and some programs
    put the address of the one who is answered into In-Reply-To."""
    if message_id is None or "@" not in message_id or message_id in others or message_id.lower() in others:
        return None
    return clean(message_id)


def _sent(fields: Fields, delivered_at: int | None, log: ProblemLog) -> tuple[int | None, int | None]:
    now = time.time()
    for name in ("date", "resent-date", "delivery-date"):
        value = decode_header(_first(fields, name), ProblemLog())
        parsed = parse_date(value) if value else None
        if parsed is not None and is_plausible(parsed[0], now):
            return parsed
        if value and name == "date":
            log.add("bad-date", value)
    stamps = (parse_date(unfold(value).rpartition(";")[2]) for value in fields.get("received", ()))
    times = [stamp[0] for stamp in stamps if stamp is not None and is_plausible(stamp[0], now)]
    return (min(times) if times else delivered_at), None


def _sender(fields: Fields, log: ProblemLog, hint: str | None) -> Person | None:
    for name in ("from", "sender", "reply-to", "return-path"):
        people = addresses(_first(fields, name)[:20_000], log, hint)
        if people:
            return people[0]
    return None


def _recipients(fields: Fields, log: ProblemLog, hint: str | None) -> tuple[Recipient, ...]:
    found: dict[tuple[str, str], Recipient] = {}
    for name, kind in _KINDS:
        for value in fields.get(name, ()):
            for person in addresses(value, log, hint):
                found.setdefault((kind, person.address), Recipient(kind, person))
    return tuple(found.values())


def _gmail_thread(fields: Fields) -> Thread | None:
    """The conversation as Gmail's export names it: also of messages that name each other by no id."""
    number = _first(fields, "x-gm-thrid").strip()
    return Thread(f"X-GM-THRID:{number}", "", is_chat=False) if re.fullmatch("[0-9]{1,20}", number) else None


def _list_id(fields: Fields, log: ProblemLog) -> str | None:
    value = decode_header(_first(fields, "list-id"), log, where="list-id")
    if value:
        inside = re.search(r"<([^<>]+)>", value)
        return (inside[1] if inside else value).strip().lower() or None
    for name in ("x-mailing-list", "mailing-list", "x-beenthere", "list-post"):
        address = re.search(r"[\w.+-]+@[\w.-]+", _first(fields, name)[:2_000])
        if address:
            return address[0].lower().replace("@", ".")
    return None


# As Thunderbird shows them; of its other keywords those that people do not see.
_TAGS: Final = {
    "$label1": "Important",
    "$label2": "Work",
    "$label3": "Personal",
    "$label4": "To Do",
    "$label5": "Later",
}
_NO_TAGS: Final = frozenset(["junk", "nonjunk", "notjunk", "$junk", "$notjunk", "$forwarded", "$mdnsent", "$submitted"])
_GMAIL_LABEL: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')


def _labels(fields: Fields, log: ProblemLog, hint: str | None) -> tuple[str, ...]:
    labels: dict[str, None] = {}
    for name in ("x-gmail-labels", "x-keywords", "keywords", "x-mozilla-keys"):
        for value in fields.get(name, ()):
            text = decode_header(value, log, hint=hint, where=name)
            # Dovecot separates X-Keywords by spaces, and so does Thunderbird its tags; everybody else by commas.
            if name == "x-mozilla-keys":
                text = ",".join(_TAGS.get(tag, tag) for tag in text.split() if tag.lower() not in _NO_TAGS)
            elif name == "x-keywords" and "," not in text and '"' not in text:
                text = ",".join(text.split())
            for match in _GMAIL_LABEL.finditer(text):
                label = (match[1] if match[1] is not None else match[2]).strip()
                if label and len(labels) < _MOST_LABELS:
                    labels[label[:200]] = None
    return tuple(labels)
