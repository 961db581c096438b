"""Conditions of style sheets, as a mail reader at a desk meets them: 1280 × 800 pixels, light, with a mouse.

None stands for one of which that cannot be told.
"""

from __future__ import annotations

import re
from typing import Final

from vaultembed.text.html.lengths import HEIGHT, WIDTH
from vaultembed.text.html.shorthands import HIDES, is_wanted, longhands

_SCREEN: Final = {"width": float(WIDTH), "height": float(HEIGHT), "resolution": 1.0, "pixel-ratio": 1.0}
_UNITS: Final = {
    "": 1.0,
    "px": 1.0,
    "em": 16.0,
    "rem": 16.0,
    "pt": 4 / 3,
    "in": 96.0,
    "cm": 37.8,
    "mm": 3.78,
    "x": 1.0,
    "dppx": 1.0,
    "dpi": 1 / 96,
    "dpcm": 2.54 / 96,
}
_MEASURE: Final = re.compile(
    r"\((?:-webkit-)?(?:(min|max)-)?(?:device-)?(width|height|resolution|pixel-ratio):(\d+\.?\d*|\.\d+)([a-z]*)\)"
)
_KEYWORD: Final = re.compile(r"\(([a-z-]+)(?::([a-z-]+))?\)")
_KEYWORDS: Final = {
    "prefers-color-scheme": "light",
    "orientation": "landscape",
    **dict.fromkeys(("hover", "any-hover"), "hover"),
    **dict.fromkeys(("pointer", "any-pointer"), "fine"),
    **dict.fromkeys(("prefers-reduced-motion", "prefers-contrast"), "no-preference"),
    **dict.fromkeys(("forced-colors", "scripting"), "none"),
}
_OFF: Final = ("none", "no-preference")
_ELSEWHERE: Final = re.compile(r"-(?:moz|ms|o|apple)-|-webkit-(?:touch-callout|overflow-scrolling)|\(mso")
"""Of other browsers, of telephones and of Word."""
_DECLARATION: Final = re.compile(r"(not)?\s*\(\s*([a-z-]+)\s*:\s*([^()]+?)\s*\)")


def media_holds(queries: str) -> bool | None:
    """Of a list of media queries, in small letters."""
    held = [_query_holds(one.strip()) for part in queries.split(",") for one in part.split(" or ")]
    return True if True in held else None if None in held else False


def _query_holds(text: str) -> bool | None:
    parts = [part.replace(" ", "") for part in re.split(r"\band\b", re.sub("^(?:not|only) ", "", text))]
    held = [_feature_holds(part) if part.startswith("(") else part in ("", "all", "screen") for part in parts]
    holds = False if False in held else None if None in held else True
    return holds if holds is None else holds != text.startswith("not ")


def _feature_holds(text: str) -> bool | None:
    if measure := _MEASURE.fullmatch(text):
        bound, name, number, unit = measure.groups()
        if unit not in _UNITS:
            return None
        given, mine = float(number) * _UNITS[unit], _SCREEN[name]
        return mine >= given if bound == "min" else mine <= given if bound == "max" else mine == given
    keyword = _KEYWORD.fullmatch(text)
    if keyword and keyword[1] in _KEYWORDS:
        mine_ = _KEYWORDS[keyword[1]]
        return mine_ == keyword[2] if keyword[2] else mine_ not in _OFF
    return False if _ELSEWHERE.search(text) else None


def is_supported(condition: str) -> bool | None:
    """Of `@supports`, by a browser of today."""
    found = _DECLARATION.fullmatch(condition)
    if _ELSEWHERE.search(condition):
        known = False
    elif found is None or not is_wanted(found[2]):
        return None
    else:
        values = longhands(found[2], found[3], quirks=False).values()
        if HIDES in values or "" in values:
            return None
        known = bool(values)
    return known != condition.startswith("not")
