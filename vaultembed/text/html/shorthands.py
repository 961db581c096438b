"""Declarations of CSS taken apart: shorthands into what they set, and those that no browser takes left out.

A declaration that is none must not take the place of one before it: `display:none; display:foo` hides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from vaultembed.text.html.boxes import OF_BOXES
from vaultembed.text.html.colours import css_colour
from vaultembed.text.html.lengths import is_length, length

_EVERYWHERE: Final = frozenset({"inherit", "initial", "unset", "revert", "revert-layer"})
_COLOURS: Final = frozenset({"color", "background-color", "-webkit-text-fill-color"})
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "display": frozenset(
        {
            *("none", "block", "inline", "inline-block", "list-item", "contents", "flow-root", "run-in", "-webkit-box"),
            *("flex", "inline-flex", "grid", "inline-grid", "table", "inline-table", "table-row", "table-cell"),
            *("table-row-group", "table-header-group", "table-footer-group", "table-column", "table-column-group"),
            *("table-caption", "ruby", "ruby-text", "-webkit-flex", "-webkit-inline-box", "-webkit-inline-flex"),
        }
    ),
    "visibility": frozenset({"visible", "hidden", "collapse"}),
    "position": frozenset({"static", "relative", "absolute", "fixed", "sticky"}),
    "overflow-x": frozenset({"visible", "hidden", "clip", "scroll", "auto", "overlay"}),
    "overflow-y": frozenset({"visible", "hidden", "clip", "scroll", "auto", "overlay"}),
    "float": frozenset({"none", "left", "right", "inline-start", "inline-end"}),
}
_LENGTHS: Final = frozenset(
    {
        *("left", "right", "top", "bottom", "margin-left", "margin-top", "padding-left", "padding-top", "text-indent"),
        *("letter-spacing", "font-size", "width", "height", "min-width", "min-height", "max-width", "max-height"),
    }
)
_NUMBERS: Final = frozenset({"opacity", "z-index", "line-height", "zoom"})
_NO_LENGTHS: Final = frozenset(
    {
        *("auto", "none", "normal", "min-content", "max-content", "fit-content", "-webkit-fill-available", "stretch"),
        *("xx-small", "x-small", "small", "medium", "large", "x-large", "xx-large", "xxx-large", "smaller", "larger"),
    }
)
_OTHER_NAMES: Final = {
    **{f"-webkit-{name}": name for name in ("transform", "filter", "opacity", "clip-path", "background-clip")},
    **{f"-ms-{name}": name for name in ("transform", "opacity")},
    "block-size": "height",
    "inline-size": "width",
    "min-block-size": "min-height",
    "min-inline-size": "min-width",
    "max-block-size": "max-height",
    "max-inline-size": "max-width",
    "margin-inline-start": "margin-left",
    "margin-block-start": "margin-top",
    "padding-inline-start": "padding-left",
    "padding-block-start": "padding-top",
    "inset-inline-start": "left",
    "inset-block-start": "top",
}
_DIRECT: Final = frozenset(
    {
        *("visibility", "opacity", "filter", "font", "font-size", "color", "background", "background-color"),
        *("background-image", "background-clip", "background-size", "-webkit-text-fill-color", "text-shadow"),
        *("text-indent", "letter-spacing", "line-height", "all"),
    }
)
_WANTED: Final = _DIRECT | OF_BOXES | _OTHER_NAMES.keys()
_SYSTEM_FONTS: Final = frozenset({"caption", "icon", "menu", "message-box", "small-caption", "status-bar"})
_OF_BACKGROUNDS: Final = frozenset(
    {
        *("none", "left", "right", "top", "bottom", "center", "repeat", "repeat-x", "repeat-y", "no-repeat", "space"),
        *("round", "scroll", "fixed", "local", "border-box", "padding-box", "content-box", "text", "cover", "contain"),
        *("auto", ""),
    }
)
_PART: Final = re.compile(r"[^\s(),]+(?:\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))?")


def is_wanted(name: str) -> bool:
    """Whether a property has to do with what is seen."""
    return name in _WANTED or name.startswith("--")


@lru_cache(maxsize=8192)
def longhands(name: str, value: str, *, quirks: bool) -> Mapping[str, str]:
    """What a declaration sets; nothing where a browser would not take it. `value`: in small letters, with one space
    between its parts."""
    name = _OTHER_NAMES.get(name, name)
    if value in _EVERYWHERE:
        return _everywhere(name, value)
    match name:
        case "background":
            return _background(value, quirks=quirks)
        case "font":
            return _font(value)
        case "overflow":
            parts = value.split()
            found = {"overflow-x": parts[0], "overflow-y": parts[-1]} if 0 < len(parts) <= 2 else {}
            return found if all(_is_valid(one, text, quirks=quirks) for one, text in found.items()) else {}
        case "margin" | "padding" | "inset":
            return _sides(name, value, quirks=quirks)
    return {name: value} if _is_valid(name, value, quirks=quirks) else {}


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
    return {name: value}


def _is_valid(name: str, value: str, *, quirks: bool) -> bool:
    if value in _EVERYWHERE:
        return True
    if name in _COLOURS:
        known = value in ("transparent", "currentcolor") or css_colour(value) is not None
        return known and (quirks or value.startswith("#") or re.fullmatch(r"[0-9a-f]{3}|[0-9a-f]{6}", value) is None)
    if name in _KEYWORDS:
        return value in _KEYWORDS[name]
    if name in _LENGTHS:
        if value in _NO_LENGTHS:
            return True
        bare = re.fullmatch(r"[+-]?[\d.]+", value) is not None and float(value.strip("+-.") or 0) != 0
        return is_length(value) and (quirks or not bare)
    return name not in _NUMBERS or value in ("auto", "normal") or is_length(value)


def _font(value: str) -> Mapping[str, str]:
    if value in _SYSTEM_FONTS:
        return {"font-size": "small", "line-height": "normal"}
    parts = value.replace(" /", "/").replace("/ ", "/").split()
    for number, part in enumerate(parts[:-1]):  # a family has to follow
        size, _, line = part.partition("/")
        # a bare number is the weight
        if size in _NO_LENGTHS - {"normal", "none"} or (length(size) and (not size.isdigit() or size == "0")):
            return {"font-size": size, "line-height": line or "normal"} if number + 1 < len(parts) else {}
    return {}


def _sides(name: str, value: str, *, quirks: bool) -> Mapping[str, str]:
    parts = value.split()
    if not 0 < len(parts) <= 4:
        return {}
    top = parts[0]
    right = parts[1] if len(parts) > 1 else top
    bottom = parts[2] if len(parts) > 2 else top
    left = parts[3] if len(parts) > 3 else right
    if name == "inset":
        found = {"top": top, "right": right, "bottom": bottom, "left": left}
    else:
        found = {f"{name}-top": top, f"{name}-left": left}
    return found if all(_is_valid(one, text, quirks=quirks) for one, text in found.items()) else {}


def _background(value: str, *, quirks: bool) -> Mapping[str, str]:
    """The shorthand sets colour and picture, also to nothing."""
    image, colour = "none", "transparent"
    for whole in _PART.findall(value):
        if whole.startswith(("url(", "image-set(", "-webkit-image-set(", "cross-fade(")) or _is_gradient(whole):
            image = whole if image == "none" else image
            continue
        for part in [whole] if "(" in whole else whole.split("/"):
            if _is_valid("background-color", part, quirks=quirks):
                colour = part
            elif part not in _OF_BACKGROUNDS and not is_length(part):
                return {}
    if re.search(r"/ ?0(?:px|%)?(?![\d.])", value):
        image = "none"  # of no size
    clip = {"background-clip": "text"} if re.search(r"\btext\b", value) else {}
    return {"background-image": image, "background-color": colour, **clip}


def _is_gradient(text: str) -> bool:
    return re.match(r"(?:-webkit-)?(?:repeating-)?(?:linear|radial|conic)-gradient\(", text) is not None
