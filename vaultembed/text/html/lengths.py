"""Lengths and numbers of CSS, in pixels."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

WIDTH: Final = 1280
HEIGHT: Final = 800
"""Of the screen that mail is read on."""
ROOT_PX: Final = 16.0
LINE_PX: Final = 600.0
"""What a percentage of the width is taken of: the width of most newsletters."""

_MOST_PX: Final = 1e7
_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?"
_LENGTH: Final = re.compile(rf"({_NUMBER})([a-z]*|%)")
_PX: Final = (
    {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 9.6 / 2.54, "q": 2.4 / 2.54}
    | {"rem": ROOT_PX, "rlh": 1.2 * ROOT_PX}
    | {kind + unit: WIDTH / 100 for kind in ("", "s", "l", "d") for unit in ("vw", "vi", "vmax")}
    | {kind + unit: HEIGHT / 100 for kind in ("", "s", "l", "d") for unit in ("vh", "vb", "vmin")}
)
"""Without a unit in quirks mode, for anything but 0."""
_EM: Final = {"em": 1.0, "ex": 0.5, "ch": 0.5, "cap": 0.7, "ic": 1.0, "lh": 1.2}
_SIZES: Final = dict(
    zip(
        ("xx-small", "x-small", "small", "medium", "initial", "large", "x-large", "xx-large", "xxx-large"),
        (9.0, 10.0, 13.0, 16.0, 16.0, 18.0, 24.0, 32.0, 48.0),
        strict=True,
    )
)
_CALCULATION: Final = re.compile(r"(?:calc|min|max|clamp)\(")
_INNERMOST: Final = re.compile(r"(calc|min|max|clamp|)\(([^()]*)\)")
_TERM: Final = re.compile(rf"\s*(?:([-+])\s+|([*/])\s*)?({_NUMBER}(?:[a-z]+|%)?)\s*")


def words(text: str) -> frozenset[str]:
    """A long table of names, on few lines."""
    return frozenset(text.split())


class Length(NamedTuple):
    pixels: float
    percent: float
    """Of whatever it is relative to; 0 where it is not."""


@lru_cache(maxsize=8192)
def length(text: str, font_px: float = ROOT_PX, whole_px: float = LINE_PX) -> Length | None:
    """None where it is none. `whole_px`: what a percentage in a calculation is taken of."""
    if text.endswith(")"):
        found = _calculated(text, font_px, whole_px) if is_calculation(text) else None
        return None if found is None else Length(found, 0.0)
    parts = _LENGTH.fullmatch(text)
    if parts is None:
        return None
    number, unit = _bounded(float(parts[1])), parts[2]
    if unit == "%":
        return Length(0.0, number)
    factor = _PX.get(unit) or _EM.get(unit, 0.0) * font_px
    return Length(_bounded(number * factor), 0.0) if unit in _PX or unit in _EM else None


def is_calculation(text: str) -> bool:
    return _CALCULATION.match(text) is not None


def font_size(text: str, parent_px: float) -> float:
    """Of an element, in pixels; that of its parent where `text` says nothing."""
    if text in _SIZES:
        return _SIZES[text]
    if text in ("smaller", "larger"):
        return min(parent_px * (1.2 if text == "larger" else 1 / 1.2), _MOST_PX)
    found = length(text, parent_px, parent_px)
    if found is None or ((found.pixels < 0 or found.percent < 0) and not is_calculation(text)):
        return parent_px
    return min(max(found.pixels or found.percent / 100 * parent_px, 0.0), _MOST_PX)


def share(text: str) -> float | None:
    """Of `opacity` and the like: a number or a percentage, as the part of 1."""
    found = length(text, ROOT_PX, 1.0)
    return None if found is None else min(max(found.pixels or found.percent / 100, 0.0), 1.0)


def _bounded(number: float) -> float:
    return min(max(number, -_MOST_PX), _MOST_PX)


def _calculated(text: str, font_px: float, whole_px: float) -> float | None:
    """calc(), min(), max() and clamp(), the innermost first."""
    try:
        while inner := _INNERMOST.search(text):
            numbers = [_sum(part, font_px, whole_px) for part in inner[2].split(",")]
            if inner[1] == "clamp":
                least, wanted, most = numbers
                numbers = [max(least, min(wanted, most))]
            result = min(numbers) if inner[1] == "min" else max(numbers)
            if len(numbers) > 1 and inner[1] in ("calc", ""):
                return None
            text = f"{text[: inner.start()]}{_bounded(result):f}px{text[inner.end() :]}"
        result = _sum(text, font_px, whole_px)
    except (ValueError, ZeroDivisionError):
        return None
    return _bounded(result) if math.isfinite(result) else None


def _sum(text: str, font_px: float, whole_px: float) -> float:
    """
    Raises:
        ValueError: it is none, or has units that are not known.
    """
    total = product = 0.0
    at = 0
    while at < len(text) or not at:
        found = _TERM.match(text, at)
        number = length(found[3], font_px) if found else None
        if found is None or number is None or (at > 0) != bool(found[1] or found[2]):
            raise ValueError
        value = number.pixels or number.percent / 100 * whole_px
        if found[2]:
            product = product * value if found[2] == "*" else product / value
        else:
            total, product = total + product, -value if found[1] == "-" else value
        at = found.end()
    return total + product
