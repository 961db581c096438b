"""Texts whose bytes are in another charset than they were taken for."""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from vaultembed.text.charsets import clean, decoded, guess
from vaultembed.text.garbled.suspicion import CASE, ODD, misspelt


@dataclass(frozen=True, slots=True)
class Read:
    text: str
    is_whole: bool
    """Nothing of it gave way to U+FFFD, nor was taken out."""
    confidence: float


def read_bytes(stored: bytes) -> Read:
    """Text of bytes that are not UTF-8: they are in another charset, all of them or those of some lines."""
    if (wide := _by_width(stored)) is not None:
        return Read(wide, True, 0.95)
    lines = stored.split(b"\n")
    bad = [number for number, line in enumerate(lines) if decoded(line, "utf-8") is None]
    together = b"\n".join(lines[number] for number in bad)
    text, charset = _most_likely(together)
    lost = text.count("\ufffd")
    if charset == "utf-8":  # a character cut in two, or a byte lost
        found = clean(stored.decode("utf-8", "replace")).removesuffix("\ufffd")
        return Read(found, False, 0.5 if "\ufffd" in found else 0.9)
    if text.count("\n") != len(bad) - 1:  # a charset that makes something else of line ends
        return Read(clean(stored.decode("utf-8", "replace")), False, 0.0)
    for number, line in zip(bad, text.split("\n"), strict=True):
        lines[number] = line.encode("utf-8", "replace")
    found = clean(b"\n".join(lines).decode("utf-8", "replace"))
    return Read(found, not lost, 0.5 if len(text) < 40 else 0.8)


_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _by_width(stored: bytes) -> str | None:
    """Text of two or four bytes a character, which begins with a byte order mark."""
    for mark, charset in _MARKS:
        if stored.startswith(mark) and (found := decoded(stored, charset)) is not None:
            return clean(found)
    return None


_RIVALS: Final = (
    "cp1252",
    "iso8859-2",
    "cp1250",
    "iso8859-15",
    "mac-roman",
    "cp437",
    "cp850",
    "cp852",
    "cp1251",
    "koi8-r",
    "koi8-u",
    "iso8859-5",
    "cp866",
    "iso8859-7",
    "cp1253",
    "cp1255",
    "cp1256",
    "iso8859-6",
    "cp1254",
    "cp1257",
    "iso8859-4",
)
"""Tried where the charset that was guessed makes words that nobody writes."""


def _most_likely(data: bytes) -> tuple[str, str]:
    """Text of bytes in a charset that is not known, and its name: the guess, or a rival whose words are less odd."""
    text, charset = guess(data, None)
    if charset == "utf-8":
        return text, charset
    best, least = (text, charset), misspelt(text)
    if least:
        for rival in _RIVALS:
            reading = decoded(data, rival)
            if reading is not None and (count := misspelt(reading)) < least:
                best, least = (reading, rival), count
    return best


_ACCENTED_WORD: Final = re.compile("[À-ÿ¡-¿×÷ŠšŽžŒœŸ€‚ƒ„…†‡ˆ‰‹‘’“”•–—˜™›\x80-\x9f]{3,}")
_FAR: Final = frozenset(
    [
        "cp1251",
        "koi8-r",
        "koi8-u",
        "iso8859-5",
        "cp1253",
        "iso8859-7",
        "cp1255",
        "iso8859-8",
        "cp1256",
        "gb18030",
        "cp950",
        "cp949",
        "cp932",
        "euc_jp",
        "cp874",
    ]
)
_CYRILLIC: Final = ("cp1251", "koi8-r", "iso8859-5", "cp866", "mac-cyrillic")


def read_again(text: str) -> str | None:
    """A text in another script that was read as Western, in words of nothing but accented letters: "Ïðèâåò"; or in one
    Cyrillic charset that was read in another: "оПХБЕР"."""
    if (cyrillic := _by_other_cyrillic(text)) is not None:
        return cyrillic
    foreign = [c for c in text if not c.isascii()]
    words = _ACCENTED_WORD.findall(text)
    if sum(map(len, words)) < 0.7 * len(foreign) or len(foreign) < 10:
        return None
    if sum(ord(b) - ord(a) == 1 for a, b in itertools.pairwise(foreign)) * 2 > len(foreign):
        return None  # no words: somebody lists the letters of an alphabet
    data = _as_western(text)
    if data is None:
        return None
    found, charset = guess(data, None)
    if charset not in _FAR or "\ufffd" in found:
        return None
    scripts = {unicodedata.name(c, "?").split()[0] for c in found if not c.isascii() and c.isalpha()}
    if (
        not scripts
        or scripts & {"LATIN", "?"}
        or len(scripts - {"CJK", "HIRAGANA", "KATAKANA"}) > 1
        or ODD.search(found)
    ):
        return None
    return clean(found)


def _by_other_cyrillic(text: str) -> str | None:
    words = re.findall("[\u0400-\u04ff]{3,}", text)
    # most of it: somebody who shows what a garbled word looks like writes the rest as it should be
    if len(words) < 3 or len(CASE.findall(text)) < len(words) / 2 or misspelt(text) < 3:
        return None
    for read in _CYRILLIC:
        for real in _CYRILLIC:
            try:
                found = text.encode(read).decode(real)
            except UnicodeError:
                continue
            if real != read and not misspelt(found):
                return found
    return None


def _as_western(text: str) -> bytes | None:
    out = bytearray()
    for character in text:
        encoded = character.encode("cp1252", "ignore") or (bytes([ord(character)]) if ord(character) < 256 else b"")
        if not encoded:
            return None
        out += encoded
    return bytes(out)
