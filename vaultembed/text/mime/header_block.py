"""The lines of a header as they were written: what is a field, and the lines that have no place there.

Mail programs read on over a line that is no field, and so does this: `email` ends the header there, and all that
follows becomes text.
"""

from __future__ import annotations

import re
from typing import Final

BOM: Final = b"\xef\xbb\xbf"
HEADER_LIMIT: Final = 256 * 1024
"""Bytes of a message within which its header is looked for."""

_FIELD: Final = re.compile(rb"([!-9;-~]{1,1000})[ \t]*:(?!//)")
"""A field's name (RFC 5322 2.2, with the obsolete blank before the colon); "http://" is none."""
_SOUND: Final = re.compile(rb"(?:(?:[!-9;-~]+:|[ \t])[^\r\n\0]*\r?\n)+\r?\n")
"""What `email` reads whole."""
_AHEAD: Final = 8
"""Lines in which fields must go on behind one that is none."""

_USUAL_FIELDS: Final = frozenset(
    b"apparently-to bcc cc date delivered-to delivery-date envelope-to errors-to from importance in-reply-to "
    b"keywords lines mailing-list message-id mime-version newsgroups organization path precedence priority "
    b"received recieved references reply-to return-path sender sent status subject thread-topic to user-agent "
    b"xref".split()
)
_USUAL_PREFIXES: Final = (b"x-", b"content-", b"list-", b"resent-", b"arc-", b"dkim-", b"received-")
_TELLING_FIELDS: Final = frozenset(
    b"from date received return-path message-id delivered-to mime-version apparently-to".split()
)
_TRACES: Final = frozenset(b"received return-path message-id delivered-to mime-version".split())
"""What only programs write. Of these an odd header must have one: an HTTP answer and the quoted header of a forwarded
message have usual fields below a line that is none, too."""


def names_field(line: bytes) -> bool:
    """Whether a line begins like a header field, of any name."""
    return _FIELD.match(line) is not None


def names_usual_field(line: bytes) -> bool:
    """Whether a line begins with a header field that mail commonly has."""
    match = _FIELD.match(line)
    return match is not None and _is_usual(match[1].lower())


def is_header(text: bytes) -> bool:
    """Whether the header of a message stands there, odd lines or not."""
    names: set[bytes] = set()
    for line in mended(text).split(b"\n"):
        if match := _FIELD.match(line):
            names.add(match[1].lower())
        elif line[:1] not in (b" ", b"\t"):
            break  # a broken header is judged by what stands above the break
    return _is_telling(names)


def mended(mime: bytes) -> bytes:
    """The message with a header that `email` reads whole: without a byte order mark, NUL, stray CR and blanks before
    colons, and without lines that are no field (">From joe …", "X-Odd Name: x", a sentence, an empty line in front)
    where fields go on behind them. Unchanged where none of this is in it."""
    if _SOUND.match(mime):
        return mime
    text = mime.replace(b"\r\r\n", b"\r\n").removeprefix(BOM).lstrip(b"\r\n")
    is_odd = False
    lines = text[:HEADER_LIMIT].split(b"\n")
    header: list[bytes] = []
    names: set[bytes] = set()
    position = 0
    follows_field = False
    for number, line in enumerate(lines):
        cleaned = line.strip(b"\r").replace(b"\0", b"").replace(b"\r", b" ")
        if match := _FIELD.match(cleaned):
            names.add(match[1].lower())
            header.append(match[1] + b":" + cleaned[match.end() :])
            follows_field = True
        elif follows_field and cleaned[:1] in (b" ", b"\t"):
            header.append(cleaned)
        elif cleaned and _goes_on(lines[number + 1 : number + 1 + _AHEAD], names):
            is_odd, follows_field = True, False
        else:
            break
        position += len(line) + 1
    if not _is_telling(names) or (is_odd and names.isdisjoint(_TRACES)):
        return mime
    rest = text[position:]
    return b"\n".join([*header, b"" if rest[:1] in (b"\r", b"\n") else b"\n"]) + rest


def _goes_on(lines: list[bytes], names: set[bytes]) -> bool:
    """Whether two usual fields stand there that the header does not have yet: text that happens to have a colon does
    not make a header longer."""
    found: set[bytes] = set()
    for line in lines:
        if not line.strip(b"\r") or line.startswith(b"From "):
            break
        if (match := _FIELD.match(line.lstrip(b"\r"))) and _is_usual(name := match[1].lower()):
            found.add(name)
    return len(found - names) >= 2


def _is_telling(names: set[bytes]) -> bool:
    """Two usual fields, one of them a telling one: package metadata, vCards, HTTP dumps and prose with a "Note:" have
    header-like lines too."""
    usual = {name for name in names if _is_usual(name)}
    return len(usual) >= 2 and not usual.isdisjoint(_TELLING_FIELDS)


def _is_usual(name: bytes) -> bool:
    return name in _USUAL_FIELDS or name.startswith(_USUAL_PREFIXES)
