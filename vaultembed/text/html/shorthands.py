"""Declarations of CSS taken apart: shorthands into what they set, and those that no browser takes left out.

A declaration that is none must not take the place of one before it: `display:none; display:foo` hides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from vaultembed.text.html.colours import css_colour
from vaultembed.text.html.lengths import is_calculation, length, words

HIDES: Final = "\ufffd"
"""The value of a property that hides its element, or may: what it does is not computed."""

EVERYWHERE: Final = frozenset({"inherit", "initial", "unset", "revert", "revert-layer"})
_COLOURS: Final = frozenset({"color", "background-color", "-webkit-text-fill-color"})
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    name: words(text)
    for name, text in {
        "display": "none block inline inline-block list-item contents flow-root run-in flex inline-flex grid"
        " inline-grid table inline-table table-row table-cell table-row-group table-header-group table-footer-group"
        " table-column table-column-group table-caption ruby ruby-text"
        " -webkit-box -webkit-flex -webkit-inline-box -webkit-inline-flex",
        "visibility": "visible hidden collapse",
        "position": "static relative absolute fixed sticky",
        "overflow-x": "visible hidden clip scroll auto overlay",
        "overflow-y": "visible hidden clip scroll auto overlay",
        "float": "none left right inline-start inline-end",
    }.items()
}
_SIZES: Final = "auto min-content max-content fit-content -webkit-fill-available stretch"
_FONT_SIZES: Final = words("xx-small x-small small medium large x-large xx-large xxx-large smaller larger")
_LENGTHS: Final[Mapping[str, frozenset[str]]] = {
    name: words(text)
    for names, text in {
        "width height min-width min-height": _SIZES,
        "max-width max-height": _SIZES.replace("auto", "none"),
        "left right top bottom margin-left margin-right margin-top margin-bottom z-index": "auto",
        "padding-left padding-right padding-top padding-bottom text-indent opacity": "",
        "line-height": "normal",
        "line-clamp": "none",
    }.items()
    for name in words(names)
} | {"font-size": _FONT_SIZES}
"""And what else their values may be."""
_NEGATIVE: Final = words(
    "left right top bottom margin-left margin-right margin-top margin-bottom z-index text-indent opacity"
)
_UNITLESS: Final = words("z-index opacity line-height line-clamp")
_ZEROS: Final = r"(?:[-+]?0[0.]*+[a-z%]*+[\s,]*+)*+"
_ONES: Final = r"(?:1(?:\.0*+)?[\s,]*+)*+"
_NEAR: Final = r"(?:(?:auto|[-+]?(?:\d\d?(?:\.\d*+)?(?:px|pt|%)?|\d?(?:\.\d*+)?r?em))(?:\s|$))+"
_NOTHING: Final = {
    name: re.compile(rf"none|normal|auto|{pattern}")
    for names, pattern in {
        "clip": r"rect\((?:auto[\s,]*+)*+\)",
        "clip-path mask mask-image mask-border mask-border-source -webkit-mask-box-image animation animation-name": "",
        "-webkit-mask-box-image-source -webkit-text-security offset offset-path mix-blend-mode": "",
        "transform": rf"(?:(?:(?:translate|rotate|skew)(?:3d|[xyz])?\({_ZEROS}|scale(?:3d|[xyz])?\({_ONES}"
        r"|matrix\(1,\s*0,\s*0,\s*1,\s*0,\s*0)\)\s*+)++",
        "translate rotate": _ZEROS,
        "scale": _ONES,
        "filter": r"alpha\(\s*opacity\s*=\s*100\s*\)|progid:(?!.*(?:alpha\(|opacity|basicimage)).*"  # not of a browser
        r"|(?:opacity|brightness|contrast|saturate)\((?:1|100%)\)|(?:blur|grayscale|sepia|invert)\(0[a-z%]*\)",
        "zoom": r"0%?|[1-9]\d*(?:\.\d*)?|[1-9]\d\d+(?:\.\d*)?%",
        "content": r"[^()]*|(?:attr|counters?)\([^()]*\)",
        "content-visibility": "visible",
        "font-size-adjust": r"from-font|(?=.*[1-9])[\d.]+",
        "letter-spacing word-spacing": r"\+?[\d.]+[a-z]*|-(?:[0-4](?:\.\d*)?|\.\d*)(?:px|pt)?|-0?\.[0-4]\d*em",
        "contain": "size|layout|style|inline-size",
        "-webkit-text-stroke -webkit-text-stroke-width": r"(?:0|0?\.\d+|1)(?:px)?(?:\s.*)?",
        "block-size inline-size max-block-size max-inline-size": r"[1-9]\d+(?:\.\d*)?[a-z%]*|(?:min|max|fit)-content",
        "overflow-block overflow-inline": "visible",
        "margin-inline margin-inline-start margin-inline-end margin-block margin-block-start margin-block-end": _NEAR,
        "padding-inline padding-inline-start padding-inline-end padding-block padding-block-start": _NEAR,
        "inset-inline inset-inline-start inset-inline-end inset-block inset-block-start inset-block-end": _NEAR,
        "-webkit-margin-start -webkit-padding-start": _NEAR,
    }.items()
    for name in words(names)
}
"""Properties that can hide and are not computed, since a stranger picks what is ignored: each hides its element with
everything in it unless it has one of these values, which do nothing."""
_PREFIXED: Final = {
    f"-webkit-{name}": name
    for name in words(
        "transform filter opacity clip-path background-clip background-size mask mask-image animation animation-name"
        " flex line-clamp"
    )
}
_WANTED: Final = (
    words(
        "font font-size color background background-color background-image background-clip background-size opacity"
        " -webkit-text-fill-color text-indent all margin margin-bottom padding padding-bottom inset overflow flex"
    )
    | _KEYWORDS.keys()
    | _LENGTHS.keys()
    | _NOTHING.keys()
    | _PREFIXED.keys()
)
_SYSTEM_FONTS: Final = frozenset({"caption", "icon", "menu", "message-box", "small-caption", "status-bar"})
_OF_BACKGROUNDS: Final = words(
    "none left right top bottom center repeat repeat-x repeat-y no-repeat space round scroll fixed local border-box"
    " padding-box content-box text cover contain auto"
) | {""}
_PICTURES: Final = ("url(", "image-set(", "-webkit-image-set(", "cross-fade(")
_GRADIENT: Final = re.compile(r"(?:-webkit-)?(?:repeating-)?(?:linear|radial|conic)-gradient\(")
_PART: Final = re.compile(r"[^\s(),]+(?:\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))?")
_UNCOMPUTED: Final = re.compile(
    r"(?:^|[^\w-])(?:attr|if|env|inherit|anchor|anchor-size|calc-size|round|mod|rem|a?sin|a?cos|a?tan|atan2|pow|sqrt"
    r"|hypot|log|exp|abs|sign|progress|random|sibling-index|sibling-count|color-mix|contrast-color|light-dark|alpha"
    r"|--[\w-]+)\(|\(\s*from\s"
)
"""Functions that browsers know."""


def is_wanted(name: str) -> bool:
    """Whether a property has to do with what is seen."""
    return name in _WANTED or name.startswith("--")


@lru_cache(maxsize=8192)
def longhands(name: str, value: str, *, quirks: bool) -> Mapping[str, str]:
    """What a declaration sets; nothing where a browser would not take it. `value`: in small letters, with one space
    between its parts."""
    name = _PREFIXED.get(name, name)
    if value in EVERYWHERE:
        return _everywhere(name, value)
    if name in _NOTHING:
        return {name: "" if _NOTHING[name].fullmatch(value) else HIDES}
    if _UNCOMPUTED.search(value) or (is_calculation(value) and length(value) is None):
        return {name: HIDES}
    found: Mapping[str, str]
    match name:
        case "background":
            return _background(value, quirks=quirks)
        case "font":
            return _font(value)
        case "overflow":
            parts = value.split()
            found = {"overflow-x": parts[0], "overflow-y": parts[-1]} if 0 < len(parts) <= 2 else {}
        case "margin" | "padding" | "inset":
            found = _sides(name, value)
        case _:
            found = {name: value}
    return found if all(_is_valid(one, text, quirks=quirks) for one, text in found.items()) else {}


def _everywhere(name: str, value: str) -> Mapping[str, str]:
    match name:
        case "background":
            return {"background-color": "transparent" if value != "inherit" else value, "background-image": "none"}
        case "font":
            return {"font-size": value, "line-height": value}
        case "overflow":
            return {"overflow-x": "visible", "overflow-y": "visible"}
        case "all":
            return dict.fromkeys(("color", "font-size", "line-height", "visibility", "text-indent"), value)
    return {name: "" if name in _NOTHING else value}


def _is_valid(name: str, value: str, *, quirks: bool) -> bool:
    if value in EVERYWHERE:
        return True
    if name in _COLOURS:
        known = value in ("transparent", "currentcolor") or css_colour(value) is not None
        return known and (quirks or value.startswith("#") or re.fullmatch(r"[0-9a-f]{3}|[0-9a-f]{6}", value) is None)
    if name in _KEYWORDS:
        return value in _KEYWORDS[name]
    if name not in _LENGTHS or value in _LENGTHS[name]:
        return True
    if (found := length(value)) is None or (value.startswith("-") and name not in _NEGATIVE):
        return False
    return quirks or name in _UNITLESS or found.pixels == 0 or re.fullmatch(r"[+-]?[\d.]+", value) is None


def _font(value: str) -> Mapping[str, str]:
    if value in _SYSTEM_FONTS:
        return {"font-size": "small", "line-height": "normal"}
    parts = value.replace(" /", "/").replace("/ ", "/").split()
    for part in parts[:-1]:  # a family has to follow
        size, _, line = part.partition("/")
        # a bare number is the weight
        if size in _FONT_SIZES or (length(size) and (not size.isdigit() or size == "0")):
            return {"font-size": size, "line-height": line or "normal"}
    return {}


def _sides(name: str, value: str) -> Mapping[str, str]:
    parts = value.split()
    if not 0 < len(parts) <= 4:
        return {}
    top, right = parts[0], parts[min(1, len(parts) - 1)]
    bottom, left = parts[2] if len(parts) > 2 else top, parts[3] if len(parts) > 3 else right
    if name == "inset":
        return {"top": top, "right": right, "bottom": bottom, "left": left}
    return {f"{name}-top": top, f"{name}-right": right, f"{name}-left": left}


def _background(value: str, *, quirks: bool) -> Mapping[str, str]:
    """The shorthand sets colour and picture, also to nothing."""
    image, colour = "none", "transparent"
    for whole in _PART.findall(value):
        if whole.startswith(_PICTURES) or _GRADIENT.match(whole):
            image = whole if image == "none" else image
            continue
        for part in [whole] if "(" in whole else whole.split("/"):
            if _is_valid("background-color", part, quirks=quirks):
                colour = part
            elif part not in _OF_BACKGROUNDS and length(part) is None:
                return {}
    if re.search(r"/ ?0(?:px|%)?(?![\d.])", value):
        image = "none"  # of no size
    clip = {"background-clip": "text"} if re.search(r"\btext\b", value) else {}
    return {"background-image": image, "background-color": colour, **clip}
