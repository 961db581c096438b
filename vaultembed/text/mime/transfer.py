"""Content-Transfer-Encoding as it was meant, however it is spelt and whatever was put behind it."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import Final

from vaultembed.text.problems import ProblemLog

_ENCODINGS: Final = {
    "base64": re.compile(r"(?i)(?:x-)?base[-_ ]?64\b"),
    "quoted-printable": re.compile(r"(?i)(?:x-)?quoted[-_ ]?printable\b"),
    "uuencode": re.compile(r"(?i)(?:x-)?uue(?:ncoded?)?\b"),
    "": re.compile(r"(?i)(?:[78][-_ ]?bits?|binary|none|us-ascii|utf-8)?(?:\W|$)"),
}
_UU_BEGIN: Final = re.compile(rb"^begin [0-7]{3,4} [^\n]*\n", re.MULTILINE)
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]+={0,3}|=+")
_DAMAGED_LINE: Final = re.compile(rb"[^\s:.@]{60,}")
_LONG_LINE: Final = 40
"""Characters: encoders write 60 to 76, and no word of a footer is as long."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def decode_transfer(raw: bytes, declared: Sequence[str], *, log: ProblemLog, where: str) -> tuple[bytes, bytes]:
    """The bytes that were encoded, and plain text that stands behind them: list servers and virus scanners append
    their lines without looking at the encoding.

    `declared`: the values of the field, in order; the first that names an encoding counts. Text for which none is
    declared and that is base64 from its first line on is decoded too: list archives drop the field.
    """
    found = [_encoding_of(value) for value in declared]
    if found and None in found and not any(found):
        log.add("unknown-encoding", f"{where}: {declared[found.index(None)]!r}")
    encoding = next(filter(None, found), "")
    if encoding == "base64":
        return _decode_base64_part(raw, log, where)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw), b""
    if encoding == "uuencode":
        return uudecode(raw, log, where), b""
    if where.startswith("text/"):
        return _decode_undeclared(raw)
    return raw, b""


def _encoding_of(declared: str) -> str | None:
    """None for one that is unknown."""
    text = declared.strip(" \t\r\n\"'")
    return next((name for name, pattern in _ENCODINGS.items() if pattern.match(text)), None)


def decode_base64(raw: bytes, log: ProblemLog, where: str) -> bytes:
    """What can be read of base64: junk skipped, padding mended, data after padding ignored or joined."""
    whole = _strict(raw)
    if whole is not None:
        return whole
    compact = raw.translate(None, b"\r\n\t \x00")
    letters = _NOT_BASE64.sub(b"", compact)
    # "=" inside: several encodings put one after the other, each padded for itself.
    if b"=" in compact.rstrip(b"="):
        pieces = [_NOT_BASE64.sub(b"", piece) for piece in re.split(rb"=+", compact)]
    else:
        pieces = [letters]
    if len(letters) % 4 == 1 or len(pieces) > 1 or len(letters) < len(compact.rstrip(b"=")):
        log.add("broken-base64", where)
    out = bytearray()
    for piece in pieces:
        length = len(piece) - (len(piece) % 4 == 1)
        out += binascii.a2b_base64(piece[:length] + b"=" * (-length % 4))
    return bytes(out)


def _strict(raw: bytes) -> bytes | None:
    for text in (raw, raw.translate(None, b"\r\n\t \x00")):
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except (binascii.Error, ValueError):
            continue
    return None


def _decode_base64_part(raw: bytes, log: ProblemLog, where: str) -> tuple[bytes, bytes]:
    whole = _strict(raw)
    if whole is not None:
        return whole, b""
    encoded, behind = _split(raw)
    if not encoded and where.startswith("text/"):
        log.add("broken-base64", f"{where}: it is none, and is read as it stands")
        return raw, b""
    return decode_base64(encoded or raw, log, where), behind


def _decode_undeclared(raw: bytes) -> tuple[bytes, bytes]:
    first = raw.lstrip()[:200].split(b"\n", 1)[0].strip()
    if len(first) < 24 or not _BASE64_LINE.fullmatch(first):
        return raw, b""
    encoded, behind = _split(raw)
    text = _strict(encoded)
    # a key, a hash or a file that somebody pasted is no text when it is decoded; and nobody writes text that is
    is_text = bool(text) and not _CONTROL.search(text or b"") and _is_utf8_or_long(text or b"")
    return (text or b"", behind) if is_text else (raw, b"")


def _is_utf8_or_long(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return len(text) > 100
    return True


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """The base64 that `raw` begins with, and the text behind it; all of it is base64 where lines of it go on behind a
    line that is none. A footer of single words ("unsubscribe") looks like base64, too."""
    lines = raw.splitlines(keepends=True)
    texts = [line.strip() for line in lines]
    end = next((n for n, text in enumerate(texts) if text and not _is_base64(text)), len(lines))
    pause = _first_pause(texts[:end])
    if pause < end and not _goes_on(texts[pause:end]):
        end = pause
    rest = [text for text in texts[end:] if text]
    if 2 * sum(len(text) >= _LONG_LINE and _is_base64(text) for text in rest) > len(rest):
        return b"".join(line for line, text in zip(lines, texts, strict=True) if not re.search(rb"\s", text)), b""
    return b"".join(lines[:end]), b"".join(lines[end:]).lstrip(b"\r\n")


def _is_base64(text: bytes) -> bool:
    if _BASE64_LINE.fullmatch(text):
        return True
    return _DAMAGED_LINE.fullmatch(text) is not None and len(text) - len(_NOT_BASE64.sub(b"", text)) <= 2


def _first_pause(texts: list[bytes]) -> int:
    """Behind the first padding or, without any, at the first empty line: there, base64 usually ends."""
    padding = next((number + 1 for number, text in enumerate(texts) if text.endswith(b"=")), None)
    if padding is not None:
        return padding
    begin = next((number for number, text in enumerate(texts) if text), len(texts))
    return next((begin + number for number, text in enumerate(texts[begin:]) if not text), len(texts))


def _goes_on(texts: list[bytes]) -> bool:
    return any(len(text) >= _LONG_LINE for text in texts) or len(b"".join(texts)) % 4 == 0


def uudecode(raw: bytes, log: ProblemLog, where: str) -> bytes:
    """The file between "begin" and "end"; lines that do not decode are left out."""
    begin = _UU_BEGIN.search(raw)
    if begin is None:
        log.add("broken-uuencode", where)
        return raw
    out = bytearray()
    for line in raw[begin.end() :].split(b"\n"):
        line = line.rstrip(b"\r")
        if line == b"end":
            return bytes(out)
        if not line:
            continue
        try:
            out += binascii.a2b_uu(line)
        except binascii.Error:
            # Workaround for encoders that pad beyond the line's own length (CPython issue 1435487).
            wanted = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                out += binascii.a2b_uu(line[:wanted])
            except binascii.Error:
                log.add("broken-uuencode", where)
    return bytes(out)
