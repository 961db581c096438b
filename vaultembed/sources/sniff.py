"""Telling mail from other files by their first few kilobytes."""

from __future__ import annotations

import re
from typing import Final

from vaultembed.sources.from_line import LONGEST, parse_from_line

HEAD_SIZE: Final = 8192
BOM: Final = b"\xef\xbb\xbf"

_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]*:(?!//)")
"""A header field's name (RFC 5322 2.2, with the obsolete blank before the colon); "http://" is none."""

_BLANK_LINES = re.compile(rb"(?:[ \t]*\r?\n)*")

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


def names_field(line: bytes) -> bool:
    """Whether a line begins like a header field, of any name."""
    return _FIELD.match(line) is not None


def names_usual_field(line: bytes) -> bool:
    """Whether a line begins with a header field that mail commonly has."""
    match = _FIELD.match(line)
    return match is not None and _is_usual(match[1].lower())


def looks_like_mbox(head: bytes) -> bool:
    """Whether a file that begins with `head` begins with a From_ line and a header."""
    text = skip_blank(head)
    line, _, rest = text.partition(b"\n")
    parsed = parse_from_line(line.rstrip(b"\r"))
    if parsed is None:
        return False
    if not rest:
        return parsed.dated
    usual = names_usual_field(rest) or rest.startswith(b">From ")
    return usual or (parsed.dated and parsed.plain_sender and names_field(rest))


def looks_like_message(head: bytes) -> bool:
    """Whether a file that begins with `head` begins with the header of an RFC 5322 message.

    Asks for two usual fields, one of them a telling one: package metadata, vCards, HTTP dumps and prose
    with a "Note:" have header-like lines too.
    """
    names: set[bytes] = set()
    lines = skip_blank(head).split(b"\n")
    whole = lines if len(head) < HEAD_SIZE else lines[:-1]
    for number, line in enumerate(whole):
        if line in (b"", b"\r"):
            break
        if line[:1] in b" \t" and number:
            continue
        if match := _FIELD.match(line):
            names.add(match[1].lower())
        elif not (number == 0 and line.startswith((b"From ", b">From ")) and len(line) <= LONGEST):
            break  # a broken header is judged by what stands above the break
    usual = {name for name in names if _is_usual(name)}
    return len(usual) >= 2 and not usual.isdisjoint(_TELLING_FIELDS)


def skip_blank(data: bytes) -> bytes:
    """`data` without a byte order mark and blank lines in front."""
    text = data.removeprefix(BOM)
    match = _BLANK_LINES.match(text)
    return text[match.end() :] if match else text


def _is_usual(name: bytes) -> bool:
    return name in _USUAL_FIELDS or name.startswith(_USUAL_PREFIXES)
