"""Text as it is compared where neither case nor accents count."""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

_GLYPHS: Final = (0x34F, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_NO_GLYPH: Final = dict.fromkeys(map(chr, _GLYPHS), "")
_NO_MARK: Final = dict(zip("øłđðħıŧĸ", "olddhitk", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"} | _NO_GLYPH
"""Letters that people type without the stroke, and that Unicode does not take apart; and what chooses a glyph."""


def folded(text: str) -> str:
    """`text` without case, accents and compatibility forms: "MÜLLER", "Muller" and "ｍüller" are one."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    for one in set(apart):
        if (plain := _without_accent(one)) != one:
            apart = apart.replace(one, plain)
    # composed again: in its parts, a Korean syllable would be found within another
    return unicodedata.normalize("NFC", apart)


@functools.lru_cache(maxsize=4096)
def _without_accent(one: str) -> str:
    """A letter itself; "" for an accent, or a point of Hebrew or Arabic (10 to 36). Marks of other classes make another
    letter: the vowels of Hindi and Thai, and what makes Japanese "ba" of "ha"."""
    kind = unicodedata.combining(one)
    is_accent = kind == 1 or 10 <= kind <= 36 or kind >= 200 or unicodedata.category(one) == "Cf"
    return "" if is_accent else _NO_MARK.get(one, one)
