"""Lengths and numbers of CSS, in pixels."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

from vaultembed.text.html.stylesheets import HEIGHT, WIDTH

ROOT_PX: Final = 16.0

_MOST_PX: Final = 1e7
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
    **{kind + unit: WIDTH / 100 for kind in ("", "s", "l", "d") for unit in ("vw", "vi", "vmax")},
    **{kind + unit: HEIGHT / 100 for kind in ("", "s", "l", "d") for unit in ("vh", "vb", "vmin")},
}
_EM: Final = {"em": 1.0, "ex": 0.5, "ch": 0.5, "cap": 0.7, "ic": 1.0, "lh": 1.2, "rlh": 1.2}
_SIZES: Final = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": 16.0,
    "large": 18.0,
    "x-large": 24.0,
    "xx-large": 32.0,
    "xxx-large": 48.0,
    "initial": 16.0,
}


class Length(NamedTuple):
    pixels: float
    percent: float
    """Of whatever it is relative to; 0 where it is not."""


@lru_cache(maxsize=8192)
def length(text: str, font_px: float = ROOT_PX) -> Length | None:
    """None where it is none, or one that only the layout of the page tells."""
    if text.endswith(")"):
        found = _calculated(text, font_px)
        return None if found is None else Length(found, 0.0)
    return _plain(text, font_px)


def is_length(text: str) -> bool:
    """Or a number, or something that is one when it is calculated."""
    return _LENGTH.fullmatch(text) is not None or (text.endswith(")") and text.startswith(_FUNCTIONS))


def font_size(text: str, parent_px: float) -> float:
    """Of an element, in pixels; that of its parent where `text` says nothing."""
    if text in _SIZES:
        return _SIZES[text]
    if text in ("smaller", "larger"):
        return min(parent_px * (1.2 if text == "larger" else 1 / 1.2), _MOST_PX)
    found = length(text, parent_px)
    if found is None or found.pixels < 0 or found.percent < 0:
        return parent_px
    return min(found.pixels or found.percent / 100 * parent_px, _MOST_PX)


@lru_cache(maxsize=1024)
def share(text: str) -> float | None:
    """Of `opacity` and the like: a number or a percentage, as the part of 1."""
    found = length(text)
    if found is None:
        return None
    return min(max(found.percent / 100 if text.endswith("%") else found.pixels, 0.0), 1.0)


def _plain(text: str, font_px: float) -> Length | None:
    found = _LENGTH.fullmatch(text)
    if found is None:
        return None
    unit = found[2]
    number = _bounded(float(found[1]))
    if unit == "%":
        return Length(0.0, number)
    if unit in _EM:
        return Length(_bounded(number * _EM[unit] * font_px), 0.0)
    return Length(_bounded(number * _PX[unit]), 0.0) if unit in _PX else None


def _bounded(number: float) -> float:
    return min(max(number, -_MOST_PX), _MOST_PX)


_FUNCTIONS: Final = ("calc(", "min(", "max(", "clamp(", "env(")
_TOKEN: Final = re.compile(
    r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?(?:[a-z]+|%)?|(?:calc|min|max|clamp)\(|[-+*/(),])"
)
_MOST_TOKENS: Final = 60


class _UnknownError(Exception):
    """What the layout alone tells, or what is no calculation."""


def _calculated(text: str, font_px: float) -> float | None:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or len(tokens) > _MOST_TOKENS:
            return None
        tokens.append(found[1])
        at = found.end()
    try:
        calculation = _Calculation(tokens, font_px)
        result = calculation.sum()
    except (_UnknownError, IndexError, ZeroDivisionError):
        return None
    return _bounded(result) if calculation.is_at_end and math.isfinite(result) else None


class _Calculation:
    """calc(), min(), max() and clamp() of lengths: CSS Values and Units Level 4, section 10."""

    def __init__(self, tokens: list[str], font_px: float) -> None:
        self._tokens = tokens
        self._font_px = font_px
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._tokens)

    def sum(self) -> float:
        result = self._product()
        while self._next_is("+", "-"):
            result += self._product() if self._take() == "+" else -self._product()
        return result

    def _product(self) -> float:
        result = self._value()
        while self._next_is("*", "/"):
            result = result * self._value() if self._take() == "*" else result / self._value()
        return result

    def _value(self) -> float:
        token = self._take()
        match token:
            case "-":
                return -self._value()
            case "+":
                return self._value()
            case "calc(" | "(":
                return self._arguments()[0]
            case "min(":
                return min(self._arguments())
            case "max(":
                return max(self._arguments())
            case "clamp(":
                least, wanted, most = (*self._arguments(), 0.0, 0.0)[:3]
                return max(least, min(wanted, most))
        found = _plain(token, self._font_px)
        if found is None or found.percent:
            raise _UnknownError
        return found.pixels

    def _arguments(self) -> list[float]:
        found = [self.sum()]
        while self._next_is(","):
            self._take()
            found.append(self.sum())
        if self._take() != ")":
            raise _UnknownError
        return found

    def _next_is(self, *tokens: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] in tokens

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]
