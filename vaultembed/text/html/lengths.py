"""Lengths and numbers of CSS, in pixels."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

from vaultembed.text.html.stylesheets import HEIGHT, WIDTH

ROOT_PX: Final = 16.0
LINE_PX: Final = 600.0
"""What a percentage of the width is taken of: the width of most newsletters."""

_MOST_PX: Final = 1e7
_LENGTH: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)([a-z]*|%)")
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
_PART: Final = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?(?:[a-z]+|%)?|(?:calc|min|max|clamp)?\(|[-+*/),])")
_MOST_PARTS: Final = 60


class Length(NamedTuple):
    pixels: float
    percent: float
    """Of whatever it is relative to; 0 where it is not."""


@lru_cache(maxsize=8192)
def length(text: str, font_px: float = ROOT_PX, whole_px: float = LINE_PX) -> Length | None:
    """None where it is none. `whole_px`: what a percentage in a calculation is taken of."""
    if text.endswith(")"):
        found = _calculated(text, font_px, whole_px) if _CALCULATION.match(text) else None
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
    if found is None:
        return None
    return min(max(found.percent / 100 if text.endswith("%") else found.pixels, 0.0), 1.0)


def _bounded(number: float) -> float:
    return min(max(number, -_MOST_PX), _MOST_PX)


def _calculated(text: str, font_px: float, whole_px: float) -> float | None:
    """calc(), min(), max() and clamp() of lengths: CSS Values and Units Level 4, section 10."""
    rest: list[str] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None or len(rest) > _MOST_PARTS:
            return None
        rest.append(found[1])
        at = found.end()
    rest.reverse()

    def sum_() -> float:
        result = product()
        while rest and rest[-1] in ("+", "-"):
            result += product() if rest.pop() == "+" else -product()
        return result

    def product() -> float:
        result = value()
        while rest and rest[-1] in ("*", "/"):
            result = result * value() if rest.pop() == "*" else result / value()
        return result

    def value() -> float:
        part = rest.pop()
        if part in ("+", "-"):
            return value() if part == "+" else -value()
        if not part.endswith("("):
            number = length(part, font_px)
            if number is None:
                raise ValueError
            return number.pixels or number.percent / 100 * whole_px
        numbers = [sum_()]
        while rest[-1] == ",":
            rest.pop()
            numbers.append(sum_())
        if rest.pop() != ")":
            raise ValueError
        if part == "clamp(":
            least, wanted, most = numbers
            return max(least, min(wanted, most))
        return {"min(": min, "max(": max}.get(part, max)(numbers)

    try:
        result = sum_()
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    return _bounded(result) if not rest and math.isfinite(result) else None
