"""Undoes the reading of UTF-8 in another charset, once or several times; leaves alone what merely looks odd.

A text is taken back only where the characters that come out are such as people write, and where what goes cannot well
have been meant: "SÃ£o" is undone, "MAÇÔ is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from ftfy import fix_encoding

_SINGLE: Final = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1257",
    "cp1258",
    "iso8859-2",
    "iso8859-5",
    "iso8859-7",
    "iso8859-15",
    "koi8-r",
    "koi8-u",
    "mac-roman",
    "cp437",
    "cp850",
    "cp852",
    "cp866",
    "cp1255",
    "cp1256",
    "iso8859-4",
    "iso8859-10",
    "iso8859-13",
    "iso8859-14",
    "iso8859-16",
    "mac-cyrillic",
)
"""Most likely first: where two explain a text alike, the first is taken."""
_DOUBLE: Final = ("gb18030", "cp932", "cp950", "cp949")
_MOST_ROUNDS: Final = 4
"""Of undoing one after the other; more than three readings were never seen."""
_MOST_CHARACTERS: Final = 4_000
"""Of one piece; mail has lines of a megabyte."""

# What may well stand behind a capital that is meant: "MAÇÔ is not "MAÇÔ, nor is "PÅ…" "PŅ".
_CLOSING: Final = frozenset("“”‘’„‚‹›«»…–—·¡¿°ªº®™©\u00a0")
_MATHS: Final = frozenset("√π∑∞∫Ω∏∂∆≈≤≥≠µ")
_TALK: Final = re.compile(
    r"(?i)\b(?:utf-?8|latin-?1|iso[- ]?8859|windows-125\d|cp-?\d{3,4}|mojibake|charsets?|encod(?:ing|ed|e)"
    r"|decod(?:ing|ed|e)|unicode|code ?page|zeichensatz|kodierung|encodage|codificaci[oó]n|кодировк\w+)\b"
)
_TYPOGRAPHY: Final = frozenset(
    "‐‑‒–—―‘’‚‛“”„‟†‡•‣…‰′″‹›‼⁄€₤₽₴₹₪™№ℓ→←↑↓⇒⇐↔✓✔✗✘★☆♥♡■□▪▫●○◆◇−≈≠≤≥×÷∞√∑∆≡\u00a0\u200b\u200d\u2028\u202f\u2009\ufe0f\ufffd"
    "¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿"
)


@dataclass(frozen=True, slots=True)
class Undone:
    text: str
    sequences: int
    """Characters that came out of several."""


def undo(text: str) -> Undone | None:
    """What `text` was before it was read in the wrong charset; None where it is to be left as it is."""
    if text.isascii() or not may_be_mojibake(text):
        return None
    if text.startswith("ï»¿"):
        text = text.removeprefix("ï»¿")
    talk = _shown_in(text) if _TALK.search(text) else frozenset()
    budget = _Budget()
    pieces = _pieces(text)
    sequences = 0
    for number, piece in enumerate(pieces):
        if piece.isascii() or _DRAWN.search(piece):
            continue
        undone = _undo_piece(piece, talk, budget)
        if undone is not None:
            pieces[number] = undone.text
            sequences += undone.sequences
    whole = "".join(pieces)
    # where a part of a garbled text cannot be undone, the rest has come out of it by chance
    return Undone(whole, sequences) if sequences and not _TORN.search(whole) else None


_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")


def _pieces(text: str) -> list[str]:
    """Lines with their ends, long ones cut at a space: what is garbled may be a part of a text."""
    pieces = []
    for line in _LINE.findall(text):
        while len(line) > _MOST_CHARACTERS:
            cut = line.rfind(" ", 0, _MOST_CHARACTERS) + 1 or _MOST_CHARACTERS
            pieces.append(line[:cut])
            line = line[cut:]
        pieces.append(line)
    return pieces


@dataclass(slots=True)
class _Budget:
    """A long text is not tried with every charset to its end: those that explained its beginning explain the rest."""

    left: int = 20_000
    """Characters to be tried with all of them."""
    found: set[str] = field(default_factory=set)
    """Charsets that explained something."""

    def charsets(self, characters: int) -> Container[str]:
        if self.left <= 0:
            return self.found
        self.left -= characters
        return _ALL


def may_be_mojibake(text: str) -> bool:
    """True if some charset explains a part of it as UTF-8. Cheap, and often true of what is right."""
    return any(_explains(charset, text) for charset in _SINGLE) or any(
        _decode_doubles(text, charset) != text for charset in _DOUBLE
    )


def _explains(charset: str, text: str) -> bool:
    found = _table(charset).sequence.finditer(text)
    if charset not in _CYRILLIC:
        return next(found, None) is not None
    # its letters alone are UTF-8 often enough: "раб" in cp866, "пі" in koi8-u
    return any(not match[0].isalpha() or _LOWER_UPPER.search(match[0]) or _NO_WORD.search(match[0]) for match in found)


_CYRILLIC: Final = frozenset(["cp1251", "cp866", "iso8859-5", "koi8-r", "koi8-u", "mac-cyrillic"])
_NO_WORD: Final = re.compile("[РС][^А-Яа-яЁё][^\x00-\x7f]?[РС][^А-Яа-яЁё]")
_LOWER_UPPER: Final = re.compile("[а-яё][А-ЯЁ]")


def _undo_piece(piece: str, talk: frozenset[str], budget: _Budget) -> Undone | None:
    """`talk`: what the text shows elsewhere, if it is about charsets."""
    present = piece
    charsets = budget.charsets(len(piece))
    undone_from = []
    for _ in range(_MOST_ROUNDS):
        readings = _readings(present, charsets)
        charset, best = min(readings, key=lambda reading: _penalty(reading[1]), default=("", present))
        if _penalty(best) >= _penalty(present):
            break
        undone_from.append(charset)
        present = best
    if present == piece or not _is_better(piece, present, talk):
        return None
    budget.found.update(undone_from)
    return Undone(present, max(1, _count_foreign(piece) - _count_foreign(present)))


def _readings(piece: str, charsets: Container[str]) -> Iterator[tuple[str, str]]:
    """What it may have been, one reading back, and by which charset."""
    for charset in _SINGLE:
        if charset in charsets and _explains(charset, piece):
            table = _table(charset)
            yield charset, table.sequence.sub(table.decode, piece)
    for charset in _DOUBLE:
        if charset in charsets:
            yield charset, _decode_doubles(piece, charset)
    if _LOSSY in charsets:  # what got lost on the way: "Ã " for "à", "â€" with its last byte gone
        yield _LOSSY, fix_encoding(piece)


_LOSSY: Final = "lossy"
_ALL: Final = frozenset([*_SINGLE, *_DOUBLE, _LOSSY])


# One charset -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    bytes_of: dict[str, int]
    sequence: re.Pattern[str]
    """One or more characters of UTF-8, each two to four here."""

    def decode(self, match: re.Match[str]) -> str:
        data = bytes(self.bytes_of[character] for character in match[0])
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return match[0]


@cache
def _table(charset: str) -> _Table:
    bytes_of: dict[str, int] = {}
    for byte in range(0x80, 0x100):
        # what a charset leaves open is read as if it were latin-1
        bytes_of.setdefault(bytes([byte]).decode(charset, "ignore") or chr(byte), byte)
        if charset == "cp1252":
            bytes_of.setdefault(chr(byte), byte)

    def of(first: int, last: int) -> str:
        return "[" + "".join(re.escape(c) for c, byte in bytes_of.items() if first <= byte <= last) + "]"

    more = of(0x80, 0xBF)
    two, three, four = of(0xC2, 0xDF), of(0xE1, 0xEF), of(0xF0, 0xF4)
    three_low = f"{of(0xE0, 0xE0)}{of(0xA0, 0xBF)}{more}"
    return _Table(bytes_of, re.compile(f"(?:{two}{more}|{three}{more}{{2}}|{three_low}|{four}{more}{{3}})+"))


_FOREIGN_RUN: Final = re.compile("[^\x00-\x7f]{2,400}")


def _decode_doubles(text: str, charset: str) -> str:
    return _FOREIGN_RUN.sub(lambda match: _decode_double(match[0], charset), text)


def _decode_double(run: str, charset: str) -> str:
    try:
        text = run.encode(charset).decode("utf-8")
    except UnicodeError:
        return run
    # two Chinese characters that are meant may be two letters of UTF-8; never three of three bytes each
    return text if len(text) >= 2 and all(_is_far_eastern(c) or c in _TYPOGRAPHY for c in text) else run


def _is_far_eastern(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af" or "\uff00" <= character <= "\uffef"


# Whether it is better so -------------------------------------------------------------------------------------------


def _penalty(text: str) -> int:
    """How little it is as people write: the smaller, the better."""
    penalty = 0
    before, before_script = " ", None
    for character in text:
        script = _script(character)
        if not character.isascii():
            penalty += 1 if _is_written(character) else 6
            if script == "latin" and not _COMMON_LATIN.match(character):
                penalty += 2
            elif _BOXES.match(character):
                penalty += 1
        if character.isalpha() and before.isalpha():
            if script != before_script:
                penalty += 2
            if character.islower() and before.isupper() and not before.isascii():
                penalty += 1  # but for the first letter of a word, which costs each reading the same
        before, before_script = character, script
    return penalty


def _is_better(before: str, after: str, talk: frozenset[str]) -> bool:
    if _ascii(before) != _ascii(after):
        return False
    gone, come = _exchanged(before, after)
    if not gone or not all(_is_written(c) for c in come) or _MATHS.issuperset(gone):
        return False
    if not _is_one_script(come, after) or _STRAY_MARK.search(after) or _STILL_ODD.search(after):
        return False
    return not _is_explained(before, after, talk) and not _may_be_meant(before, gone)


def _is_explained(before: str, after: str, talk: frozenset[str]) -> bool:
    """Somebody says what went wrong: what would come out is there already, beside what it came out as. A mark proves
    that only where the talk is of charsets; "it’s" may well stand in one line with "donâ€™t"."""
    words = _words(before)
    if any(not word.isascii() and word in words for word in _words(after) - words):
        return True
    return any(part in talk for part in _shown_in(after) if _is_new(part, before, after))


def _shown_in(text: str) -> frozenset[str]:
    """Its words, and its marks but for those of "Â£"."""
    return frozenset(_words(text)) | frozenset(_MARK.findall(_TWOFOLD.sub("", text)))


_WORD: Final = re.compile(r"[^\W\d_]+")
_MARK: Final = re.compile(r"[^\w\s\x00-\x7f]")
_TWOFOLD: Final = re.compile(r"Â[^\w\s]")


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text))


def _is_new(part: str, before: str, after: str) -> bool:
    return not part.isascii() and (_TWOFOLD.sub("", before)).count(part) < after.count(part)


def _ascii(text: str) -> str:
    return "".join(c for c in text if c.isascii() and not c.isspace())


def _exchanged(before: str, after: str) -> tuple[list[str], list[str]]:
    """Characters beyond ASCII that are in one and not, or less often, in the other."""
    gone, come = list(_foreign(before)), []
    for character in _foreign(after):
        if character in gone:
            gone.remove(character)
        else:
            come.append(character)
    return gone, come


def _foreign(text: str) -> Iterator[str]:
    return (c for c in text if not c.isascii())


def _count_foreign(text: str) -> int:
    return sum(1 for _ in _foreign(text))


@cache
def _is_written(character: str) -> bool:
    if character in _TYPOGRAPHY:
        return True
    category = unicodedata.category(character)
    if category in ("Cn", "Co", "Cs", "Cc"):
        return False
    if category == "So" or "\U0001f000" <= character <= "\U0001faff":
        return True
    return category[0] in "LMNP" and _script(character) is not None


_SCRIPTS: Final = (
    ("latin", "\u00c0", "\u017f"),
    ("latin", "\u0180", "\u024f"),
    ("latin", "\u02b9", "\u02dd"),
    ("latin", "\u0300", "\u036f"),
    ("latin", "\u1e00", "\u1eff"),
    ("greek", "\u0384", "\u03ff"),
    ("greek", "\u1f00", "\u1fff"),
    ("cyrillic", "\u0400", "\u045f"),
    ("cyrillic", "\u048a", "\u04ff"),
    ("armenian", "\u0531", "\u058a"),
    ("hebrew", "\u05b0", "\u05f4"),
    ("arabic", "\u060c", "\u06f9"),
    ("indic", "\u0900", "\u0dff"),
    ("thai", "\u0e01", "\u0e5b"),
    ("georgian", "\u10a0", "\u10ff"),
    ("hangul", "\u1100", "\u11ff"),
    ("han", "\u3000", "\u9fff"),
    ("hangul", "\uac00", "\ud7af"),
    ("han", "\uff00", "\uffef"),
)


@cache
def _script(character: str) -> str | None:
    if character.isascii():
        return "latin"
    return next((name for name, first, last in _SCRIPTS if first <= character <= last), None)


# Of a text that was read wrongly in another way, a pair here and there is UTF-8 by chance.
_STILL_ODD: Final = re.compile("[À-ÿ]?[¡-¿][À-ÿ¡-¿]{2,}|[À-ÿ]{4,}|[\u2500-\u259f]")
_TORN: Final = re.compile("[ÂÃÄÅ][+_=#|]")
_STRAY_MARK: Final = re.compile("(?<![^\\W\\d_])[\u0300-\u036f]")
_DRAWN: Final = re.compile("([\u2500-\u259f])\\1")
_BOXES: Final = re.compile("[\u2500-\u259f\u2320\u2321]")
_COMMON_LATIN: Final = re.compile(
    "[\u00c0-\u0137\u0139-\u013e\u0141-\u0148\u014a-\u0153\u0158-\u017e\u0218-\u021b\u01a0\u01a1\u01af\u01b0\u1ea0-\u1ef9\u0300-\u030c\u031b\u0323-\u0328\u02bb\u02bc]"
)


def _is_one_script(come: list[str], after: str) -> bool:
    """Two letters at least of a script other than Latin, unless the text is written in it; of Latin, those of today."""
    if any(_script(c) == "latin" and not _COMMON_LATIN.match(c) for c in come):
        return False
    foreign = {script for c in come if (script := _script(c)) not in (None, "latin")}
    if len(foreign) > 2:
        return False
    return all(
        sum(_script(c) == script and unicodedata.category(c)[0] in "LM" for c in after) >= 2 for script in foreign
    )


def _may_be_meant(before: str, gone: list[str]) -> bool:
    """All that goes is a capital letter and a closing mark behind it."""
    if any(c not in _CLOSING and not c.isupper() and c != "ß" for c in gone):
        return False
    return all(_is_meant(before, match) for match in _CAPITAL_AND_MARK.finditer(before))


_CAPITAL_AND_MARK: Final = re.compile(f"[À-ÖØ-ßĂĄ-ž][{''.join(_CLOSING)}]")


def _is_meant(text: str, match: re.Match[str]) -> bool:
    pair = match[0]
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    if after.isalnum():
        return False  # "MÃ–LLER"
    return before.isupper() or pair[0] in _ENDS_A_WORD or (not before.isalpha() and pair[0] in _IS_A_WORD)


_ENDS_A_WORD: Final = "ß"
_IS_A_WORD: Final = "ÀÁÄÅÇÈÉÊËÌÍÎÏÒÓÔÕÖØÙÚÛÜÝ"
