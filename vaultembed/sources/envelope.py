"""What a mailbox wraps around a message: From_ line, ">From " quoting, status fields. Taking it off again."""

from __future__ import annotations

import re
from typing import Final

from vaultembed.message import Flag
from vaultembed.sources.from_line import LONGEST, parse_from_line
from vaultembed.text.mime.header_block import BOM, HEADER_LIMIT

_QUOTED_FROM = re.compile(rb"\n>(>*From )")
_CONTENT_LENGTH = re.compile(rb"(?i)^content-length:[ \t]*(\d{1,12})[ \t]*\r?$", re.MULTILINE)
_STATUS = re.compile(rb"(?i)^(status|x-status|x-mozilla-status):[ \t]*([0-9A-Za-z]*)[ \t]*\r?$", re.MULTILINE)

_STATUS_LETTERS: Final[dict[tuple[bytes, str], Flag]] = {
    (b"status", "R"): "seen",
    (b"x-status", "R"): "seen",
    (b"x-status", "A"): "answered",
    (b"x-status", "F"): "flagged",
    (b"x-status", "T"): "draft",
    (b"x-status", "D"): "trashed",
}
# nsMsgMessageFlags.h
_MOZILLA_BITS: Final[tuple[tuple[int, Flag], ...]] = (
    (0x0001, "seen"),
    (0x0002, "answered"),
    (0x0004, "flagged"),
    (0x0008, "trashed"),
    (0x1000, "passed"),
)


def unquote_from(mime: bytes) -> bytes:
    """Take one ">" off every ">From ", ">>From ", … at the start of a line (mboxrd; for mboxo, most often right).

    The first line is left alone: ">From joe …" there was put on by a mail system, not by a mailbox.
    """
    return _QUOTED_FROM.sub(rb"\n\1", mime) if b">From " in mime else mime


def strip_last_blank_line(text: bytes) -> bytes:
    """Without the empty line that an mbox has between a message and the next From_ line."""
    if text.endswith(b"\n\r\n"):
        return text[:-2]
    return text[:-1] if text.endswith(b"\n\n") else text


def open_envelope(raw: bytes) -> tuple[bytes, int | None]:
    """The message in a file of its own, and when its From_ line says it came (unix seconds).

    A message cut from an mbox gives the bytes that reading the mbox gives.
    """
    mime = raw.removeprefix(BOM)
    if not mime.startswith(b"From "):
        return mime, None
    line, end, _ = mime[: LONGEST + 1].partition(b"\n")
    if not end:
        return mime, None
    from_line = parse_from_line(line.rstrip(b"\r"))
    mime = strip_last_blank_line(unquote_from(mime[len(line) + 1 :]))
    return mime, from_line.delivered_at if from_line else None


def header_of(mime: bytes) -> tuple[bytes, int]:
    """The header block, and the offset of the body. Without an empty line in sight all of it is header."""
    end = mime.find(b"\n\n", 0, HEADER_LIMIT)
    crlf_end = mime.find(b"\n\r\n", 0, HEADER_LIMIT if end < 0 else end)
    if crlf_end >= 0:
        return mime[: crlf_end + 1], crlf_end + 3
    if end >= 0:
        return mime[: end + 1], end + 2
    return mime[:HEADER_LIMIT], len(mime)


def content_length(header: bytes) -> int | None:
    """Bytes of the body as the mailbox's writer counted them (mboxcl, mboxcl2)."""
    match = _CONTENT_LENGTH.search(header)
    return int(match[1]) if match else None


def status_flags(header: bytes) -> frozenset[Flag]:
    """Flags from the fields that mail programs keep in an mbox: Status, X-Status, X-Mozilla-Status."""
    if b"tatus:" not in header and b"TATUS:" not in header:
        return frozenset()
    flags: set[Flag] = set()
    for name, value in _STATUS.findall(header):
        field, text = name.lower(), value.decode("ascii")
        if field == b"x-mozilla-status":
            bits = int(text, 16) if re.fullmatch("[0-9A-Fa-f]{1,8}", text) else 0
            flags.update(flag for bit, flag in _MOZILLA_BITS if bits & bit)
        else:
            flags.update(_STATUS_LETTERS[field, letter] for letter in text if (field, letter) in _STATUS_LETTERS)
    return frozenset(flags)
