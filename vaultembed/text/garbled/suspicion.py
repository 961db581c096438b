"""Which texts look as if they had been stored wrongly. Cheap, because it is asked of every text of an archive."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final, Literal

from vaultembed.text.garbled.mojibake import may_be_mojibake

Kind = Literal["header", "body"]


class Doubt(IntEnum):
    NONE = 0
    SOME = 1
    """It looks odd. That may be how it was meant."""
    CERTAIN = 2
    """Nobody writes so, or it is no text."""


# A header that nobody decoded, or that was cut; in a body somebody may be talking about one.
ENCODED_WORD: Final = re.compile(r"=\?[A-Za-z0-9_:.+'*-]{2,60}\?[bBqQ]\?[^?]*(?:\?=|$)")
PARAMETER: Final = re.compile(
    r"^([A-Za-z0-9_.:-]{3,40})'[A-Za-z-]{0,20}'((?:[^%']|%[0-9A-Fa-f]{2})*%[0-9A-Fa-f]{2}.*)$"
)
# What a transfer encoding or a lost letter may have left; the message as it was sent tells.
_LEFT: Final = re.compile(
    r"=[89A-F][0-9A-F](?s:.*)=[89A-F][0-9A-F]|~\{[!-~]|\$\)C|\$[@B](?:[!-~]{2}){1,200}?\([BJ]|\+A[K-X]|&[A-Za-z0-9+,]{3,}-"
    r"|(?<![^\s\"'(\[<])(?:[A-Za-z]+\?[a-z]+(?![\w=&])|\?{3,})"
)
_PERCENT: Final = re.compile(r"%[89A-Fa-f][0-9A-Fa-f]")
ESCAPES: Final = re.compile("\x1b(?:\\$[@AB]|\\$\\([A-D]|\\$\\)[AC]|\\([BJI])|\x0e")
# with a limit: what begins a hundred thousand times and never ends would be read to its end each time
LOST_ESCAPES: Final = re.compile(r"\$[@B]((?:[!-~]{2}){1,200}?)\([BJ]")
BROKEN: Final = re.compile("[\x00\x80-\x84\x86-\x9f\ufffe\uffff]")
_LETTER: Final = r"[^\W\d_]"
# Shapes that words do not have in any language, but in a charset that they were not written in.
ODD: Final = re.compile(
    rf"\ufffd|(?<={_LETTER})[¡-©«-´¶¸»-¿×÷](?={_LETTER})"
    r"|[À-ÖØ-öø-ÿ¡-¿]{3,}"
    r"|[а-яёђ-џґ][А-ЯЁ]|[Ѐ-ӿ][A-Za-zÀ-ÿ]|[A-Za-zÀ-ÿ][Ѐ-ӿ]|[Ͱ-Ͽ][À-ÿ]|[֐-׿][À-ÿ]|[؀-ۿ][A-Za-zÀ-ÿ]|[A-Za-zÀ-ÿ][؀-ۿ]"
    r"|[\u2500-\u259f][^\s\u2500-\u259f]|[ЂЃѓЉЊЌЋЏђљњќћџҐ]"
    r"|[\ue000-\uf8ff]"
)
# Letters at which neighbouring charsets differ. Right in one language, they are wrong in most.
_RARE: Final = re.compile("[ðþýÞÝÐ¹³¿æêñøìèòùûõãåÿŕâîăĂşţąļķģė¤¦¨´¸¼½¾]")
_WRONG_IN_WORD: Final = re.compile(
    rf"(?<={_LETTER})[^\w\s\x00-\x7f’‘·\u00ad\u200b-\u200d\u0300-\u036f–—…](?={_LETTER})"
)
CASE: Final = re.compile("[a-zß-öø-ÿа-яёα-ω][À-ÖØ-ÞА-ЯЁΑ-Ω]")
_MARK_AT_START: Final = re.compile(rf"(?:^|(?<=\s))[^\w\s\x00-\x7f„“”«»‘’‚‹›¿¡–—…€£©§°•·](?={_LETTER})")
_LEGACY: Final = ("gb2312", "big5", "shift_jis", "euc_kr")
_FAR_EASTERN: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def doubt_of(stored: bytes, kind: Kind) -> Doubt:
    """How much a stored text looks as if it had been stored wrongly."""
    if stored.isascii() and b"\x1b" not in stored and b"\x0e" not in stored and b"\0" not in stored:
        text = stored.decode("ascii")
        if kind == "header" and (ENCODED_WORD.search(text) or PARAMETER.match(text)):
            return Doubt.CERTAIN
        is_left = _LEFT.search(text) or is_base64(text) or (kind == "header" and _PERCENT.search(text))
        return Doubt.SOME if is_left else Doubt.NONE
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        return Doubt.CERTAIN
    if BROKEN.search(text) or ESCAPES.search(text) or (kind == "header" and ENCODED_WORD.search(text)):
        return Doubt.CERTAIN
    is_odd = any(found.search(text) for found in (ODD, _WRONG_IN_WORD, _RARE))
    return Doubt.SOME if is_odd or may_be_mojibake(text) or _is_in_no_legacy(text) else Doubt.NONE


def is_base64(text: str) -> bool:
    """Nothing else: long lines of its alphabet, but for the last."""
    lines = text.split()
    whole = "".join(lines).rstrip("=")
    return len(whole) >= 16 and all(len(line) >= 16 for line in lines[:-1]) and _BASE64.fullmatch(whole) is not None


_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+")


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


def oddness(text: str) -> int:
    """How much of it no language has."""
    return len(ODD.findall(text)) + 3 * len(BROKEN.findall(text))


def misspelt(text: str) -> int:
    """How many of its words nobody writes so."""
    return 3 * oddness(text) + sum(len(found.findall(text)) for found in (_WRONG_IN_WORD, CASE, _MARK_AT_START))
