"""Text as it is compared where neither case nor accents count."""

from __future__ import annotations

import unicodedata
from typing import Final

_NO_MARK: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i", "ŧ": "t", "ĸ": "k"}
)
"""Letters that people type without the stroke, and that Unicode does not take apart."""


def folded(text: str) -> str:
    """`text` without case, accents and compatibility forms: "MÜLLER", "Muller" and "ｍüller" are one."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in apart if not unicodedata.combining(c)).translate(_NO_MARK)
