"""Lengths and numbers of CSS, in pixels."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from vaultembed.text.css import HEIGHT, WIDTH

ROOT_PX: Final = 16.0

_LENGTH: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)([a-z]*|%)")
_PX: Final = {
    "": 1.0,  # none is quirks mode, for anything but 0
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 9.6 / 2.54,
    "q": 2.4 / 2.54,
    "rem": ROOT_PX,
    "vw": WIDTH / 100,
    "vh": HEIGHT / 100,
    "vmin": HEIGHT / 100,
    "vmax": WIDTH / 100,
}
_EM: Final = {"em": 1.0, "ex": 0.5, "ch": 0.5, "lh": 1.2}
_SIZES: Final = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": 16.0,
    "large": 18.0,
    "x-large": 24.0,
    "xx-large": 32.0,
    "initial": 16.0,
}
_NOTHING: Final = re.compile(r"[a-z-]+\(\s*[+-]?0*\.?0+[a-z%]*\s*\)")


class Length(NamedTuple):
    pixels: float
    percent: float
    """Of whatever it is relative to; 0 where it is not."""


@lru_cache(maxsize=8192)
def length(text: str, font_px: float = ROOT_PX) -> Length | None:
    """None where it is no number, or one that has to be calculated."""
    if _NOTHING.fullmatch(text):
        return Length(0.0, 0.0)
    found = _LENGTH.fullmatch(text)
    if found is None:
        return None
    number, unit = float(found[1]), found[2]
    if unit == "%":
        return Length(0.0, number)
    if unit in _EM:
        return Length(number * _EM[unit] * font_px, 0.0)
    return Length(number * _PX[unit], 0.0) if unit in _PX else None


def font_size(text: str, parent_px: float) -> float:
    """Of an element, in pixels; that of its parent where `text` says nothing."""
    if text in _SIZES:
        return _SIZES[text]
    if text in ("smaller", "larger"):
        return parent_px * (1.2 if text == "larger" else 1 / 1.2)
    found = length(text, parent_px)
    if found is None or found.pixels < 0 or found.percent < 0:
        return parent_px
    return found.pixels or found.percent / 100 * parent_px


@lru_cache(maxsize=1024)
def share(text: str) -> float | None:
    """Of `opacity` and the like: a number or a percentage, as the part of 1."""
    found = length(text)
    if found is None:
        return None
    return min(max(found.percent / 100 if text.endswith("%") else found.pixels, 0.0), 1.0)
