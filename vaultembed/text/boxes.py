"""Boxes of CSS that show nothing of what is in them, or only the beginning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vaultembed.text.lengths import length

FAR_PX: Final = 500.0
_FLATTEST_PX: Final = 3.0
_OUT_PX: Final = 100.0
"""How far an element that is placed freely must stand outside to be out of sight: hidden ones stand thousands."""
_BEYOND_PX: Final = 3_000.0

OF_BOXES: Final = frozenset(
    {
        *("display", "content-visibility", "mso-hide", "position", "left", "right", "top", "bottom", "inset"),
        *("z-index", "margin", "margin-left", "margin-top", "overflow", "overflow-x", "overflow-y", "line-height"),
        *("height", "width", "max-height", "max-width", "clip", "clip-path", "-webkit-clip-path"),
        *("float", "padding", "padding-top", "columns", "column-count"),
        *("transform", "-webkit-transform", "scale", "translate", "zoom"),
    }
)


def is_gone(values: Mapping[str, str], font_px: float) -> bool:
    if values.get("display") == "none" or values.get("content-visibility") == "hidden":
        return True
    # only Outlook hides by this, and what its readers do not see they should not be told
    if values.get("mso-hide") == "all":
        return True
    return (
        _is_cut(values, font_px)
        or _is_clipped(values.get("clip", ""), values.get("clip-path") or values.get("-webkit-clip-path", ""))
        or _is_away(values, font_px)
    )


def _is_cut(values: Mapping[str, str], font_px: float) -> bool:
    """A box of no size that shows nothing outside it."""
    cut_x = values.get("overflow-x") in ("hidden", "clip", "scroll", "auto")
    cut_y = values.get("overflow-y") in ("hidden", "clip", "scroll", "auto")
    tall, wide = ("height", "max-height"), ("width", "max-width")
    if cut_y and values.get("height", "auto") == "auto" and _is_flat(values, "line-height", font_px):
        return True
    return (cut_y and any(_is_flat(values, name, font_px) for name in tall)) or (
        cut_x and any(_is_flat(values, name, font_px) for name in wide)
    )


def _is_flat(values: Mapping[str, str], name: str, font_px: float) -> bool:
    text = values.get(name, "")
    if name == "line-height" and text.replace(".", "").isdigit():
        text += "em"
    found = length(text, font_px)
    return found is not None and found.pixels <= _FLATTEST_PX and found.percent <= 1


def _is_clipped(clip: str, path: str) -> bool:
    if clip.startswith("rect("):
        edges = [length(part) for part in re.split(r"[\s,]+", clip[5:].rstrip(") "))]
        if len(edges) == 4 and None not in edges:
            top, right, bottom, left = (edge.pixels for edge in edges if edge is not None)
            return bottom - top <= _FLATTEST_PX or right - left <= _FLATTEST_PX
    if path.startswith("inset("):
        edges = [length(part) for part in path[6:].rstrip(") ").partition("round")[0].split()]
        percents = [0.0 if edge is None else edge.percent for edge in edges]
        return bool(percents) and max(percents) + percents[2 % len(percents)] >= 98 and max(percents) >= 49
    if path.startswith(("circle(", "ellipse(")):
        return re.match(r"[a-z]+\(\s*0*\.?0+(?:px|%|em)?(?![\d.])", path) is not None
    if path.startswith("polygon("):
        points = {" ".join(point.split()) for point in path[8:].rstrip(") ").split(",")}
        return len(points) <= 2
    return False


def _is_away(values: Mapping[str, str], font_px: float) -> bool:
    """Outside of the page, to its left or above, or so far off that nobody scrolls there."""
    position = values.get("position", "static")
    if position != "static":
        out = _OUT_PX if position in ("absolute", "fixed") else FAR_PX
        if any(_is_out(values.get(name, ""), font_px, out) for name in ("left", "right", "top", "bottom")):
            return True
    if any(_is_out(values.get(name, ""), font_px, FAR_PX) for name in ("margin-left", "margin-top")):
        return True
    moved = [values.get("translate", "")]
    for name, text in values.items():
        if name.endswith("transform"):
            moved += [" ".join(re.split(r"[\s,]+", part)) for part in re.findall(r"translate[xy3d]*\(([^)]*)\)", text)]
    return any(_is_out(part, font_px, FAR_PX) for text in moved for part in text.split())


def is_behind(values: Mapping[str, str]) -> bool:
    layer = length(values.get("z-index", ""))
    return layer is not None and layer.pixels < 0 and values.get("position", "static") != "static"


def _is_out(text: str, font_px: float, out: float) -> bool:
    found = length(text, font_px) if text else None
    if found is None:
        return False
    return found.pixels <= -out or found.pixels >= _BEYOND_PX or found.percent <= -100 or found.percent >= 300


def cut_height(values: Mapping[str, str], font_px: float) -> float | None:
    """Of a box that shows nothing below it and cannot be scrolled; None of any other."""
    if values.get("overflow-y") not in ("hidden", "clip"):
        return None
    heights = [_positive_px(values.get(name, ""), font_px) for name in ("height", "max-height")]
    return min((height for height in heights if height), default=None)


def width(values: Mapping[str, str], font_px: float) -> float | None:
    return _positive_px(values.get("width", ""), font_px) or None


def room_above(values: Mapping[str, str], font_px: float) -> float:
    return _positive_px(values.get("margin-top", ""), font_px) + _positive_px(values.get("padding-top", ""), font_px)


def stands_alone(values: Mapping[str, str]) -> bool:
    """Whether an element, or what is in it, may stand beside what comes before it."""
    return (
        values.get("display", "block") not in ("block", "inline", "list-item", "table", "table-row", "initial")
        or values.get("float", "none") != "none"
        or values.get("position") in ("absolute", "fixed")
        or any(name in values for name in ("columns", "column-count"))
    )


def _positive_px(text: str, font_px: float) -> float:
    found = length(text, font_px) if text else None
    return max(found.pixels, 0.0) if found else 0.0
