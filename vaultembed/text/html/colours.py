"""Colours of HTML and CSS, and whether text in one can be read on another."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

import tinycss2.color4

from vaultembed.text.html.lengths import words


class Colour(NamedTuple):
    """sRGB, each from 0 to 1."""

    red: float
    green: float
    blue: float
    alpha: float = 1.0

    def over(self, below: Colour) -> Colour:
        """This one painted on an opaque one."""
        mine, rest = self.alpha, 1 - self.alpha
        if not rest:
            return self
        return Colour(*(mine * one + rest * other for one, other in zip(self[:3], below[:3], strict=True)))

    def faded(self, opacity: float) -> Colour:
        return self if opacity == 1 else self._replace(alpha=self.alpha * opacity)


WHITE: Final = Colour(1, 1, 1)
BLACK: Final = Colour(0, 0, 0)
LINK: Final = Colour(0, 0, 0.933)
CLEAR: Final = Colour(0, 0, 0, 0)

_READABLE: Final = 1.25
"""Contrast ratio below which text is not seen by somebody who does not look for it: #e5e5e5 on white, #181818 on black.
The grey #cccccc of footers has 1.6, and is meant to be found."""
_ANOTHER: Final = 0.2
"""A difference in red, green or blue that is seen whatever the contrast: yellow on white has 1.07."""

_DEEPEST: Final = 8
_HEX: Final = re.compile(r"[0-9a-f]{6}|[0-9a-f]{3}")
_SYSTEM: Final = {
    **dict.fromkeys(words("canvas window field background infobackground menu highlighttext"), "ffffff"),
    **dict.fromkeys(words("canvastext windowtext fieldtext buttontext text infotext menutext"), "000000"),
    **dict.fromkeys(("linktext", "activetext", "visitedtext"), "0000ee"),
    **dict.fromkeys(("buttonface", "threedface"), "efefef"),
}
"""CSS Color 4, section 6.2 and appendix A, in the light: Word writes windowtext."""


@lru_cache(maxsize=4096)
def css_colour(text: str) -> Colour | None:
    """None where `text` is no colour that is known here."""
    text = _SYSTEM.get(text, text)
    digits = text.removeprefix("#")
    if _HEX.fullmatch(digits):  # in quirks mode also without #
        size = len(digits) // 3
        return _of_hex([digits[at : at + size] * (3 - size) for at in (0, size, 2 * size)])
    if text.count("(") > _DEEPEST:
        return None
    found = tinycss2.color4.parse_color(text)
    if found is None or isinstance(found, str):
        return None
    if found.space in ("hsl", "hwb"):
        found = found.to("srgb")
    parts = [float(part or 0) for part in found.coordinates]
    if found.space.endswith(("lab", "lch")):
        parts = 3 * [parts[0] if found.space.startswith("ok") else parts[0] / 100]  # the grey that is as light
    # of other spaces, as display-p3: a little less of the colour, and what is white or black stays so
    red, green, blue, alpha = (min(max(part, 0.0), 1.0) for part in (*parts, float(found.alpha or 0)))
    return Colour(red, green, blue, alpha)


def _of_hex(parts: list[str]) -> Colour:
    red, green, blue = (int(part[:2], 16) / 255 for part in parts)
    return Colour(red, green, blue)


@lru_cache(maxsize=4096)
def attribute_colour(text: str) -> Colour | None:
    """Of `color`, `bgcolor`, `text`: names, and anything else by the rules for a legacy colour value of the HTML
    standard, section 2.3.6, by which even `ffffff` and `#fffffe0` are colours."""
    text = text.strip().lower()
    if not text or text == "transparent":
        return None
    named = css_colour(text) if text.isalpha() or re.fullmatch("#[0-9a-f]{3}", text) else None
    if named is not None:
        return named
    digits = re.sub("[^0-9a-f]", "0", text[:128].removeprefix("#"))
    digits = digits.ljust(-(-max(len(digits), 1) // 3) * 3, "0")
    size = len(digits) // 3
    parts = [digits[start : start + size][-8:] for start in range(0, 3 * size, size)]
    while len(parts[0]) > 2 and all(part.startswith("0") for part in parts):
        parts = [part[1:] for part in parts]
    return _of_hex(parts)


@lru_cache(maxsize=8192)
def is_faint(colour: Colour, below: Colour) -> bool:
    """Whether text in `colour` on `below` is not seen. Both opaque."""
    difference = max(abs(one - other) for one, other in zip(colour[:3], below[:3], strict=True))
    return difference < _ANOTHER and contrast(colour, below) < _READABLE


def contrast(one: Colour, other: Colour) -> float:
    """From 1, the same, to 21: WCAG 2.2, "contrast ratio"; of opaque colours."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    return 0.2126 * _linear(colour.red) + 0.7152 * _linear(colour.green) + 0.0722 * _linear(colour.blue)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
