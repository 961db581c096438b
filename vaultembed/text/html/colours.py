"""Colours of HTML and CSS, and whether text in one can be read on another."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

import tinycss2.color4


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
        return Colour(
            mine * self.red + rest * below.red,
            mine * self.green + rest * below.green,
            mine * self.blue + rest * below.blue,
        )

    def faded(self, opacity: float) -> Colour:
        return self._replace(alpha=self.alpha * opacity)


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
    **dict.fromkeys(("canvas", "window", "field", "background", "infobackground", "menu", "highlighttext"), "ffffff"),
    **dict.fromkeys(("canvastext", "windowtext", "fieldtext", "buttontext", "text", "infotext", "menutext"), "000000"),
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
        parts = [digits[at : at + 2] for at in (0, 2, 4)] if len(digits) == 6 else [2 * digit for digit in digits]
        red, green, blue = (int(part, 16) / 255 for part in parts)
        return Colour(red, green, blue)
    if text.count("(") > _DEEPEST:
        return None
    found = tinycss2.color4.parse_color(text)
    if found is None or isinstance(found, str):
        return None
    coordinates = [float(part or 0) for part in found.coordinates]
    if found.space in ("srgb", "hsl", "hwb"):
        red, green, blue = (float(part or 0) for part in found.to("srgb").coordinates)
    elif found.space in _CONVERTED:
        red, green, blue = _CONVERTED[found.space](*coordinates)
    else:
        return None
    red, green, blue, alpha = (_between(part) for part in (red, green, blue, float(found.alpha or 0)))
    return Colour(red, green, blue, alpha)


def _between(part: float) -> float:
    return min(max(part, 0.0), 1.0)


def _oklab(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """To sRGB: B. Ottosson, "A perceptual color space for image processing", 2020."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _oklch(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    return _oklab(lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue)))


def _lab(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """CIE Lab under D50, to sRGB: CSS Color 4, section 10."""
    f1 = (lightness + 16) / 116
    x, y, z = (
        white * (f**3 if f**3 > 216 / 24389 else (116 * f - 16) / (24389 / 27))
        for white, f in ((0.9642956764, a / 500 + f1), (1.0, f1), (0.8251046025, f1 - b / 200))
    )
    return (
        _gamma(3.1341359 * x - 1.6173864 * y - 0.4906620 * z),
        _gamma(-0.9787954 * x + 1.9162544 * y + 0.0334428 * z),
        _gamma(0.0719554 * x - 0.2289769 * y + 1.4053860 * z),
    )


def _lch(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    return _lab(lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue)))


def _display_p3(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """As sRGB: a little less of the colour, and what is white or black stays so."""
    return red, green, blue


def _gamma(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else 1.055 * float(part ** (1 / 2.4)) - 0.055


_CONVERTED: Final = {"oklab": _oklab, "oklch": _oklch, "lab": _lab, "lch": _lch, "display-p3": _display_p3}


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
    red, green, blue = (int(part[:2], 16) / 255 for part in parts)
    return Colour(red, green, blue)


def is_faint(colour: Colour, below: Colour) -> bool:
    """Whether text in `colour` on `below` is not seen. Both opaque."""
    difference = max(abs(colour.red - below.red), abs(colour.green - below.green), abs(colour.blue - below.blue))
    return difference < _ANOTHER and contrast(colour, below) < _READABLE


def contrast(one: Colour, other: Colour) -> float:
    """From 1, the same, to 21: WCAG 2.2, "contrast ratio"; of opaque colours."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    return 0.2126 * _linear(colour.red) + 0.7152 * _linear(colour.green) + 0.0722 * _linear(colour.blue)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
