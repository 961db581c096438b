"""Telling mail from other files by their first few kilobytes."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from vaultembed.sources.from_line import LONGEST, parse_from_line
from vaultembed.text.charsets import codec_of
from vaultembed.text.mime.header_block import BOM, HEADER_LIMIT, is_header, names_field, names_usual_field

HEAD_SIZE: Final = 8192

_CHARSET: Final = re.compile(r"""(?i)\bcharset\s*=\s*["']?([\w.:-]+)""")
_BLANK_LINES = re.compile(rb"(?:[ \t]*\r?\n)*")


def looks_like_mbox(head: bytes) -> bool:
    """Whether a file that begins with `head` begins with a From_ line and a header."""
    text = skip_blank(head)
    line, _, rest = text.partition(b"\n")
    parsed = parse_from_line(line.rstrip(b"\r"))
    if parsed is None:
        return False
    if not rest:
        return parsed.dated
    if names_usual_field(rest) or is_header(rest):
        return True
    return parsed.dated and parsed.plain_sender and names_field(rest)


def looks_like_message(head: bytes) -> bool:
    """Whether a file that begins with `head` begins with the header of an RFC 5322 message."""
    text = skip_blank(head)
    line, _, rest = text.partition(b"\n")
    return is_header(rest if line.startswith((b"From ", b">From ")) and len(line) <= LONGEST else text)


def without_utf_16(data: bytes) -> bytes:
    """Text that a program of Windows saved as "Unicode", UTF-16 behind a byte order mark, as it was before; anything
    else as it is."""
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return data
    text = data.decode("utf-16", "replace")
    declared = set(_CHARSET.findall(text[:HEADER_LIMIT]))
    codec = codec_of(declared.pop()) if len(declared) == 1 else None
    if codec is not None and not codec.startswith(("utf-16", "utf-32")):
        with suppress(UnicodeError):
            return text.encode(codec)
    return text.encode("utf-8", "replace")


def skip_blank(data: bytes) -> bytes:
    """`data` without a byte order mark and blank lines in front."""
    text = data.removeprefix(BOM)
    match = _BLANK_LINES.match(text)
    return text[match.end() :] if match else text
