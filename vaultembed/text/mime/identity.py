"""What makes two copies of a message the same message."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_FIELDS: Final = (
    b"message-id",
    b"date",
    b"from",
    b"to",
    b"cc",
    b"subject",
    # they decide what the bytes of the body mean
    b"content-type",
    b"content-transfer-encoding",
)
_WHITE: Final = b" \t\n\r\x0b\x0c"
_LINE_ENDS: Final = re.compile(rb"\r\n?")
_QUOTED_FROM: Final = re.compile(rb"^>+From ", re.MULTILINE)
_HEADER: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\n]*(?:\n|\Z)(?:[ \t]+[^ \t\n][^\n]*(?:\n|\Z))*)*")
_BLANK_LINE: Final = re.compile(rb"[ \t]*\n")


def content_hash(mime: bytes) -> bytes:
    """16 bytes (BLAKE2b) that name a message's content. **Canonical form 1 is frozen for good.**

    Archives keep this hash for decades and compare it with what a later version computes, so it depends on
    raw bytes only, never on how we decode, and no rule below may ever change; a new rule is a new function.

    Canonical form 1:

    1. CRLF and lone CR become LF. Leading empty lines and one leading mbox line ("From " or ">From ") go.
    2. The header is the longest run of lines from there that are fields (printable ASCII but space and colon,
       white space or none, ":") or continuations (begin with space or tab). An empty line behind it (or one of
       spaces and tabs) is no part of the body; any other line is the body's first. Folded lines are joined.
    3. Of Message-ID, Date, From, To, Cc, Subject, Content-Type, Content-Transfer-Encoding, in this order, every
       occurrence in order: lower-case name, ":", the value with runs of white space collapsed to one space and
       stripped, LF.
    4. LF, then the body: of ">From ", ">>From ", … at the start of a line all ">" removed; spaces and tabs
       at line ends removed; white space at the end of the body removed.

    Other fields take no part (Received, Status, X-…), so that the copies of one mail in an inbox, an mbox
    and a Maildir agree.
    """
    text = (_LINE_ENDS.sub(b"\n", mime) if b"\r" in mime else mime).lstrip(b"\n")
    if text.startswith((b"From ", b">From ")):
        text = text.partition(b"\n")[2]
    end = _header_end(text)
    header = text[:end]
    blank = _BLANK_LINE.match(text, end)
    body = text[blank.end() if blank else end :]
    found: dict[bytes, list[bytes]] = {}
    for line in re.sub(rb"\n[ \t]", b" ", header).split(b"\n"):
        name, colon, value = line.partition(b":")
        name = name.strip(_WHITE).lower()
        if colon and name in _FIELDS:
            found.setdefault(name, []).append(b" ".join(value.split()))
    digest = hashlib.blake2b(digest_size=16)
    for name in _FIELDS:
        for value in found.get(name, ()):
            digest.update(name + b":" + value + b"\n")
    # looked for first: the patterns cost ten times what the hash does, and most mail has nothing for them
    if b">From " in body:
        body = _QUOTED_FROM.sub(b"From ", body)
    if b" \n" in body or b"\t\n" in body:
        body = b"\n".join([line.rstrip(b" \t") for line in body.split(b"\n")])
    body = body.rstrip(_WHITE)
    digest.update(b"\n")
    digest.update(body)
    return digest.digest()


def _header_end(text: bytes) -> int:
    found = _HEADER.match(text)
    return found.end() if found else 0


_NO_ID: Final = re.compile("[\\s\x00-\x1f\x7f]+")


def normalise_message_id(raw: str) -> str | None:
    """A message id as it is kept and compared: no angle brackets, no white space (folding puts some inside).

    Case stands: ids differ by it. None where nothing is left.
    """
    text = raw.strip()
    opened, closed = text.find("<"), text.find(">")
    if opened != -1 and closed > opened:
        text = text[opened + 1 : closed]
    text = _NO_ID.sub("", text).strip("<>")
    text = text.encode("utf-8", "replace").decode("utf-8")[:998]
    return text or None
