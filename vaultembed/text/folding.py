"""Text as it is compared where neither case nor accents count."""

from __future__ import annotations

import unicodedata
from typing import Final

_NO_MARK: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i", "ŧ": "t", "ĸ": "k"}
)
"""Letters that people type without the stroke, and that Unicode does not take apart."""
_LETTERS: Final = "\u3099\u309a"
"""Marks that make another letter: Japanese "ba" is no accented "ha"."""


def folded(text: str) -> str:
    """`text` without case, accents and compatibility forms: "MÜLLER", "Muller" and "ｍüller" are one."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = (c for c in apart if c in _LETTERS or unicodedata.category(c) not in ("Mn", "Cf"))
    # composed again: in its parts, a Korean syllable would be found within another
    return unicodedata.normalize("NFC", "".join(kept)).translate(_NO_MARK)
