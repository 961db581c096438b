"""Finds texts that were stored wrongly, and what they should be, by the best evidence there is.

In this order: the message as it was sent, read by today's decoder; what the bytes themselves say of their charset; the
undoing of a wrong reading (see `mojibake`); and U+FFFD, for what is no text at all.
"""

from __future__ import annotations

import base64
import codecs
import difflib
import itertools
import quopri
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from vaultembed.text.charsets import clean, codec_of, guess
from vaultembed.text.headers import decode_header
from vaultembed.text.mojibake import may_be_mojibake, undo
from vaultembed.text.problems import ProblemLog

Method = Literal["raw", "decoded", "detected", "reversed", "replaced"]
"""raw: read again from the message as it was sent. decoded: an encoding that was left in it is taken off. detected: its
bytes are in another charset. reversed: a wrong reading is undone. replaced: bytes that are no text give way to U+FFFD.
"""
Kind = Literal["header", "body"]


class Doubt(IntEnum):
    NONE = 0
    SOME = 1
    """It looks odd. That may be how it was meant."""
    CERTAIN = 2
    """Nobody writes so, or it is no text."""


@dataclass(frozen=True, slots=True)
class Repaired:
    text: str
    method: Method
    confidence: float
    """From 0 to 1."""


# A header that nobody decoded, or that was cut; in a body somebody may be talking about one.
_WORD: Final = re.compile(r"=\?[A-Za-z0-9_:.+'*-]{2,60}\?[bBqQ]\?[^?]*(?:\?=|$)")
_PARAMETER: Final = re.compile(
    r"^([A-Za-z0-9_.:-]{3,40})'[A-Za-z-]{0,20}'((?:[^%']|%[0-9A-Fa-f]{2})*%[0-9A-Fa-f]{2}.*)$"
)
# What a transfer encoding or a lost letter may have left; the message as it was sent tells.
_LEFT: Final = re.compile(
    r"=[89A-F][0-9A-F]|%[89A-Fa-f][0-9A-Fa-f]|~\{[!-~]|\$\)C|\$[@B]|\+A|&[A-Za-z0-9+,]{3,}-"
    r"|\b[A-Za-z]+\?[a-z]|(?<![^\s\"'(\[<])\?{3,}|\A(?:[A-Za-z0-9+/]{16,}=*\s*)+(?:[A-Za-z0-9+/]+=*)?\s*\Z"
)
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_MAILBOX_NAME: Final = re.compile(r"&([A-Za-z0-9+,]{3,400})-")
_ESCAPES: Final = re.compile("\x1b(?:\\$[@AB]|\\$\\([A-D]|\\$\\)[AC]|\\([BJI])|\x0e")
_ISO_2022: Final = ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext")
_LOST_ESCAPES: Final = re.compile(r"\$[@B]((?:[!-~]{2})+)\([BJ]")
_UTF_7: Final = re.compile(r"\+([A-Za-z0-9/]{3,400})(?:-|(?![A-Za-z0-9+/=]))")
_BROKEN: Final = re.compile("[\x00\x80-\x84\x86-\x9f\ufffe\uffff]")
_LETTER: Final = r"[^\W\d_]"
# Shapes that words do not have in any language, but in a charset that they were not written in.
_ODD: Final = re.compile(
    rf"\ufffd|(?<={_LETTER})[¡-©«-´¶¸»-¿×÷](?={_LETTER})"
    r"|[À-ÖØ-öø-ÿ¡-¿]{3,}"
    r"|[а-яёђ-џґ][А-ЯЁ]|[Ѐ-ӿ][A-Za-zÀ-ÿ]|[A-Za-zÀ-ÿ][Ѐ-ӿ]|[Ͱ-Ͽ][À-ÿ]|[֐-׿][À-ÿ]|[؀-ۿ][A-Za-zÀ-ÿ]|[A-Za-zÀ-ÿ][؀-ۿ]"
    r"|[\u2500-\u259f][^\s\u2500-\u259f]|[ЂЃѓЉЊЌЋЏђљњќћџҐ]"
    r"|[\ue000-\uf8ff]"
)
# Letters at which neighbouring charsets differ. Right in one language, they are wrong in most.
_RARE: Final = re.compile("[ðþýÞÝÐ¹³¿æêñøìèòùûõãåÿŕâîăĂşţąļķģė¤¦¨´¸¼½¾]")
_LEGACY: Final = ("gb2312", "big5", "shift_jis", "euc_kr")
_FAR_EASTERN: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def doubt_of(stored: bytes, kind: Kind) -> Doubt:
    """How much a stored text looks as if it had been stored wrongly. Cheap: it is asked of every text of an archive."""
    if stored.isascii() and b"\x1b" not in stored and b"\x0e" not in stored and b"\0" not in stored:
        text = stored.decode("ascii")
        if kind == "header" and (_WORD.search(text) or _PARAMETER.match(text)):
            return Doubt.CERTAIN
        return Doubt.SOME if _LEFT.search(text) else Doubt.NONE
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        return Doubt.CERTAIN
    if _BROKEN.search(text) or _ESCAPES.search(text) or (kind == "header" and _WORD.search(text)):
        return Doubt.CERTAIN
    is_odd = any(found.search(text) for found in (_ODD, _WRONG_IN_WORD, _RARE))
    return Doubt.SOME if is_odd or may_be_mojibake(text) or _is_in_no_legacy(text) else Doubt.NONE


def _is_in_no_legacy(text: str) -> bool:
    """True of Chinese, Japanese or Korean that none of the old charsets has, as when one was read as another."""
    if not _FAR_EASTERN.search(text):
        return False
    letters = "".join(_FAR_EASTERN.findall(text))
    return not any(_has(charset, letters) for charset in _LEGACY)


def _has(charset: str, text: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def repair(stored: bytes, kind: Kind, sent: Callable[[], str | None]) -> Repaired | None:
    """What a stored text should be; None where it is to be left as it is.

    Args:
        stored: the text as bytes, valid UTF-8 or not.
        kind: "header" for one line of a header, as subject, name or file name.
        sent: reads the same text from the message as it was sent; None where that is not there. Called for suspects.
    """
    doubt = doubt_of(stored, kind)
    if doubt is Doubt.NONE:
        return None
    shown = _lenient(stored)
    told = sent()
    if told is not None:
        found = _by_raw(stored, shown, told, kind, doubt)
        if found is not None:
            return found if found.text.encode() != stored else None
    for attempt in (_by_decoding, _by_charset, _by_reversal):
        found = attempt(stored, kind)
        if found is not None and found.text.encode() != stored:
            return found
    return None


def _lenient(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


# From the message as it was sent -----------------------------------------------------------------------------------


def _by_raw(stored: bytes, shown: str, told: str, kind: Kind, doubt: Doubt) -> Repaired | None:
    told_bytes = told.encode("utf-8", "replace")
    undone = undo(told)
    if undone is not None:  # it was sent like that
        told, told_bytes = undone.text, undone.text.encode()
    if told_bytes == stored and doubt is Doubt.SOME:
        # as it was sent; only a charset that the sender declared wrongly, or not at all, may be the matter
        return _by_wrong_charset(told) or Repaired(told, "raw", 1.0)
    if told_bytes == stored:
        return None
    if not told.strip() or doubt_of(told_bytes, kind) > min(doubt, Doubt.SOME):
        return None
    if told.count("\ufffd") > shown.count("\ufffd"):
        return None
    likeness = _likeness(shown, told)
    if likeness < (0.9 if doubt is Doubt.SOME else 0.5):
        return None  # it differs for other reasons than its charset
    if doubt is Doubt.SOME and _oddness(told) > _oddness(shown):
        return None
    return Repaired(told, "reversed" if undone is not None else "raw", round(likeness, 2))


def _skeleton(text: str) -> str:
    """What every charset has in common."""
    text = _ESCAPES.sub("", text)
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _likeness(shown: str, told: str) -> float:
    """Of what both say in ASCII, from 0 to 1."""
    one, other = _skeleton(shown), _skeleton(told)
    if shown.isascii() and "?" in shown:  # each letter that was lost
        if re.sub(r"[^\x00-\x7f]+", "?", told) == re.sub(r"\?+", "?", shown):
            return 1.0
    elif one == other and len(one) * 5 >= len(told):
        return 1.0
    if _cannot_be_meant(shown):
        return 0.95  # nothing of it can be compared
    if one == other:
        return _likeness_of_marks(shown, told)
    if (unwrapped := _unwrapped(shown)) is not None:
        return 1.0 if _skeleton(unwrapped) == other else 0.0
    if not one or not other:
        # of a text wholly in another script a stray letter or two may show
        return 0.9 if max(len(one), len(other)) * 5 <= max(len(shown), len(told)) else 0.0
    return difflib.SequenceMatcher(None, one[:5_000], other[:5_000], autojunk=False).ratio()


def _likeness_of_marks(shown: str, told: str) -> float:
    """Of texts in another script, which have no letters in common: of spaces, stops and line ends."""
    one, other = (re.sub(r"[^\x00-\x7f]+", "x", " ".join(text.split())) for text in (shown, told))
    if one != other:
        return difflib.SequenceMatcher(None, one[:5_000], other[:5_000], autojunk=False).ratio() * 0.9
    if "\ufffd" in shown:
        return 1.0
    # a charset makes each word longer by about as much
    factors = [len(a) / len(b) for a, b in zip(_FOREIGN.findall(shown), _FOREIGN.findall(told), strict=False)]
    if not factors or max(factors) > 1.7 * min(factors):
        return 0.0
    # of one word there is nothing to compare but how odd it is
    return 1.0 if len(factors) > 1 or _oddness(told) < _oddness(shown) else 0.0


_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


def _cannot_be_meant(shown: str) -> bool:
    if shown.count("\ufffd") * 5 > len(shown) or "\0" in shown:
        return True
    signs = (_WORD, _PARAMETER, _ESCAPES, _LOST_ESCAPES, _GB_SHIFT, _KR_SHIFT)
    return any(found.search(shown) for found in signs)


_GB_SHIFT: Final = re.compile(r"~\{[!-~]+~\}")
_KR_SHIFT: Final = re.compile(r"^\$\)C")


def _unwrapped(shown: str) -> str | None:
    """What a body is whose transfer encoding was left on, as far as it is ASCII; None of any other."""
    if not shown.isascii():
        return None
    if re.search("=[89A-F][0-9A-F]", shown):
        return quopri.decodestring(shown.encode()).decode("latin-1")
    if re.fullmatch(r"[A-Za-z0-9+/\s]{16,}=*\s*", shown):
        try:
            return base64.b64decode(shown, validate=False).decode("latin-1")
        except ValueError:
            return None
    return unquote_to_bytes(shown).decode("latin-1") if _PERCENT.search(shown) else None


def _oddness(text: str) -> int:
    return len(_ODD.findall(text)) + 3 * len(_BROKEN.findall(text))


# From the text itself ----------------------------------------------------------------------------------------------


def _by_decoding(stored: bytes, kind: Kind) -> Repaired | None:
    """Takes off an encoding that was left on."""
    shown = _lenient(stored)
    text = shown
    if kind == "header":
        for _ in range(3):  # some have been encoded twice
            if _WORD.search(text):
                text = decode_header(text, ProblemLog())
        text = _MAILBOX_NAME.sub(_decode_mailbox_name, text)
        parameter = _PARAMETER.match(text)
        if parameter is not None and codec_of(parameter[1]) is not None:
            text = _decoded(unquote_to_bytes(parameter[2]), codec_of(parameter[1]) or "utf-8") or text
    if _ESCAPES.search(text):
        text = _decode_escapes(text)
    elif _LOST_ESCAPES.search(text):
        text = _LOST_ESCAPES.sub(_restore_escapes, text)
    text = _UTF_7.sub(_decode_utf_7, text) if "+" in text else text
    if text == shown or "\ufffd" in text:
        return None
    undone = undo(text)
    return Repaired(text if undone is None else undone.text, "decoded", 0.95)


def _decoded(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except (UnicodeError, ValueError):
        return None


def _decode_escapes(text: str) -> str:
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        return text
    charsets = ("iso2022_kr",) if "\x1b$)C" in text else _ISO_2022
    return next((clean(found) for charset in charsets if (found := _decoded(data, charset)) is not None), text)


def _restore_escapes(match: re.Match[str]) -> str:
    found = _decoded(f"\x1b$B{match[1]}\x1b(B".encode(), "iso2022_jp")
    # "$B" stands in many a script of a shell; that it is Japanese shows in its syllables
    return found if found is not None and re.search("[\u3040-\u30ff].*[\u3040-\u30ff]", found) else match[0]


def _decode_mailbox_name(match: re.Match[str]) -> str:
    """IMAP's own UTF-7, in which "&" and "," stand for "+" and "/"."""
    found = _written_in_utf_7(f"+{match[1].replace(',', '/')}-")
    return match[0] if found is None else found


def _decode_utf_7(match: re.Match[str]) -> str:
    found = _written_in_utf_7(match[0])
    return match[0] if found is None else found


def _written_in_utf_7(encoded: str) -> str | None:
    found = _decoded(encoded.encode(), "utf-7")
    if not found or found.isascii():
        return None
    letters = [c for c in found if not c.isascii()]
    if not all(c.isalpha() or c in "«»„“”‘’–—…€ " for c in letters):
        return None
    is_latin = all("\u00c0" <= c <= "\u017f" for c in letters) and not any(c.isascii() for c in found)
    one_script = {unicodedata.name(c, "?").split()[0] for c in letters if c.isalpha()}
    # "+foo-" is a Chinese character in UTF-7, and is not meant so
    return found if is_latin or (len(letters) >= 3 and len(one_script) <= 2) else None


def _by_charset(stored: bytes, _kind: Kind) -> Repaired | None:
    """Bytes that are not UTF-8 are in another charset, all of them or those of some lines."""
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return _by_wrong_charset(text)
    if (wide := _by_width(stored)) is not None:
        return Repaired(wide, "detected", 0.95)
    lines = stored.split(b"\n")
    bad = [number for number, line in enumerate(lines) if _decoded(line, "utf-8") is None]
    together = b"\n".join(lines[number] for number in bad)
    text, charset = _most_likely(together)
    lost = text.count("\ufffd")
    if charset == "utf-8":  # a character cut in two, or a byte lost
        found = clean(_lenient(stored)).removesuffix("\ufffd")
        undone = undo(found)
        return Repaired(found if undone is None else undone.text, "replaced", 0.5 if "\ufffd" in found else 0.9)
    if text.count("\n") != len(bad) - 1:  # a charset that makes something else of line ends
        return Repaired(clean(_lenient(stored)), "replaced", 0.0)
    for number, line in zip(bad, text.split("\n"), strict=True):
        lines[number] = line.encode("utf-8", "replace")
    found = clean(b"\n".join(lines).decode("utf-8", "replace"))
    undone = undo(found)
    confidence = 0.5 if len(text) < 40 else 0.8
    return Repaired(found if undone is None else undone.text, "replaced" if lost else "detected", confidence)


_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _by_width(stored: bytes) -> str | None:
    """Text of two or four bytes a character, which begins with a byte order mark."""
    for mark, charset in _MARKS:
        if stored.startswith(mark) and (found := _decoded(stored, charset)) is not None:
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
_WRONG_IN_WORD: Final = re.compile(
    rf"(?<={_LETTER})[^\w\s\x00-\x7f’‘·\u00ad\u200b-\u200d\u0300-\u036f–—…](?={_LETTER})"
)
_CASE: Final = re.compile("[a-zß-öø-ÿа-яёα-ω][À-ÖØ-ÞА-ЯЁΑ-Ω]")
_MARK_AT_START: Final = re.compile(rf"(?:^|(?<=\s))[^\w\s\x00-\x7f„“”«»‘’‚‹›¿¡–—…€£©§°•·](?={_LETTER})")


def _most_likely(data: bytes) -> tuple[str, str]:
    """Text of bytes in a charset that is not known, and its name: the guess, or a rival whose words are less odd."""
    text, charset = guess(data, None)
    if charset == "utf-8":
        return text, charset
    best, least = (text, charset), _misspelt(text)
    if least:
        for rival in _RIVALS:
            reading = _decoded(data, rival)
            if reading is not None and (count := _misspelt(reading)) < least:
                best, least = (reading, rival), count
    return best


def _misspelt(text: str) -> int:
    return 3 * _oddness(text) + sum(len(found.findall(text)) for found in (_WRONG_IN_WORD, _CASE, _MARK_AT_START))


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


def _by_wrong_charset(text: str) -> Repaired | None:
    """A text in another script that was read as Western, in words of nothing but accented letters: "Ïðèâåò"; or in one
    Cyrillic charset that was read in another: "оПХБЕР"."""
    if (cyrillic := _by_other_cyrillic(text)) is not None:
        return Repaired(cyrillic, "detected", 0.7)
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
        or _ODD.search(found)
    ):
        return None
    return Repaired(clean(found), "detected", 0.7)


def _by_other_cyrillic(text: str) -> str | None:
    words = re.findall("[\u0400-\u04ff]{3,}", text)
    # most of it: somebody who shows what a garbled word looks like writes the rest as it should be
    if len(words) < 3 or len(_CASE.findall(text)) < len(words) / 2 or _misspelt(text) < 3:
        return None
    for read in _CYRILLIC:
        for real in _CYRILLIC:
            try:
                found = text.encode(read).decode(real)
            except UnicodeError:
                continue
            if real != read and not _misspelt(found):
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


# Nobody writes these controls; Windows has its quotation marks and dashes there.
_WINDOWS_MARK: Final = re.compile("[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")


def _by_reversal(stored: bytes, _kind: Kind) -> Repaired | None:
    text = _decoded(stored, "utf-8")
    if text is None:
        return None
    undone = undo(text)
    if undone is not None:
        return Repaired(undone.text, "reversed", round(1 - 0.5 ** min(undone.sequences + 1, 6), 2))
    if _WINDOWS_MARK.search(text):
        found = _WINDOWS_MARK.sub(lambda match: bytes([ord(match[0])]).decode("cp1252", "replace"), text)
        return Repaired(clean(found), "reversed", 0.9) if not _BROKEN.search(found) else None
    if "\x00" in text:
        return Repaired(clean(text), "replaced", 0.9)
    return None
