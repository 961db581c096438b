"""Boxes of CSS that show nothing of what is in them, or only the beginning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vaultembed.text.html.lengths import Length, length
from vaultembed.text.html.stylesheets import HEIGHT, WIDTH

FAR_PX: Final = 300.0
"""To the left of where it should stand, and a line of text is out of sight. The widest hanging indents have 200."""
_FLATTEST_PX: Final = 3.0
_ABOVE_PX: Final = 150.0
_AWAY_PX: Final = 500.0
_BEYOND_PX: Final = 3_000.0

OF_BOXES: Final = frozenset(
    {
        *("display", "content-visibility", "position", "left", "right", "top", "bottom", "inset", "z-index", "contain"),
        *("margin", "margin-left", "margin-top", "padding", "padding-left", "padding-top", "overflow", "overflow-x"),
        *("overflow-y", "height", "width", "min-height", "min-width", "max-height", "max-width", "flex", "content"),
        *("clip", "clip-path", "transform", "rotate", "scale", "translate", "zoom", "float", "columns", "column-count"),
    }
)


def is_unseen(values: Mapping[str, str], font_px: float, *, may_cut: bool) -> bool:
    """Whether nothing in the box is seen, whatever it says itself. `may_cut`: whether a box of its kind can hide what
    is larger than it; inline boxes and the parts of a table cannot."""
    if values.get("display") in ("none", "table-column", "table-column-group"):
        return True
    if values.get("content-visibility") == "hidden" or values.get("content", "").startswith("url("):
        return True
    return (
        (may_cut and _is_cut(values, font_px))
        or _is_clipped(values, font_px)
        or _is_away(values, font_px)
        or _is_turned(values)
    )


def is_behind(values: Mapping[str, str]) -> bool:
    layer = length(values.get("z-index", ""))
    return layer is not None and layer.pixels < 0 and values.get("position", "static") != "static"


def cuts(values: Mapping[str, str], side: str) -> bool:
    """Whether nothing outside the box is seen: to the side, "x", or below, "y"."""
    return values.get(f"overflow-{side}") in ("hidden", "clip") or values.get("contain") in (
        "paint",
        "strict",
        "content",
    )


def cut_height(values: Mapping[str, str], font_px: float) -> float | None:
    """Of a box that shows nothing below it and cannot be scrolled; None of any other."""
    if not cuts(values, "y"):
        return None
    heights = [_positive_px(values, name, font_px) for name in ("height", "max-height")]
    lowest = min((height for height in heights if height), default=None)
    return None if lowest is None else max(lowest, _positive_px(values, "min-height", font_px))


def width(values: Mapping[str, str], font_px: float) -> float | None:
    wide = _positive_px(values, "width", font_px)
    return max(wide, _positive_px(values, "min-width", font_px)) or None


def room_above(values: Mapping[str, str], font_px: float) -> float:
    return _positive_px(values, "margin-top", font_px) + _positive_px(values, "padding-top", font_px)


def may_stand_elsewhere(values: Mapping[str, str]) -> bool:
    """Whether an element, or what is in it, may stand elsewhere than below what comes before it."""
    return (
        lies_beside(values)
        or values.get("display", "").startswith(("inline-", "table-"))
        or values.get("float", "none") != "none"
        or values.get("position") in ("absolute", "fixed")
        or values.get("margin-top", "").startswith("-")
        or any(name in values for name in ("height", "max-height"))
    )


def lies_beside(values: Mapping[str, str]) -> bool:
    """Whether what is in an element lies side by side."""
    display = values.get("display", "")
    return "flex" in display or "grid" in display or "columns" in values or "column-count" in values


def _is_cut(values: Mapping[str, str], font_px: float) -> bool:
    """A box of no size that shows nothing outside it."""
    scrolls = ("hidden", "clip", "scroll", "auto", "overlay")
    if values.get("overflow-y") in scrolls or cuts(values, "y"):
        tall = any(_is_flat(values, name, font_px) for name in ("height", "max-height"))
        if tall and not _positive_px(values, "min-height", font_px):
            return True
    if values.get("overflow-x") in scrolls or cuts(values, "x"):
        wide = any(_is_flat(values, name, font_px) for name in ("width", "max-width"))
        return wide and "min-width" not in values and "flex" not in values
    return False


def _is_flat(values: Mapping[str, str], name: str, font_px: float) -> bool:
    """A percentage is of what is around it, whose height is mostly not known; 0 of anything is 0."""
    text = values.get(name, "")
    found = length(text, font_px) if text else None
    return found is not None and found.pixels <= _FLATTEST_PX and not found.percent and not text.endswith("%")


def _is_clipped(values: Mapping[str, str], font_px: float) -> bool:
    clip, path = values.get("clip", ""), values.get("clip-path", "")
    if clip.startswith("rect(") and values.get("position") in ("absolute", "fixed"):
        edges = [length(part, font_px) for part in re.split(r"[\s,]+", clip[5:].rstrip(") "))]
        if len(edges) == 4 and None not in edges:
            top, right, bottom, left = (edge.pixels for edge in edges if edge is not None)
            return bottom - top <= _FLATTEST_PX or right - left <= _FLATTEST_PX
    if path.startswith("inset("):
        given = path[6:].rstrip(") ").partition("round")[0].split()
        edges = [length(part, font_px) for part in given] or [None]
        sides = [edges[index if index < len(edges) else index % 2 if len(edges) > 1 else 0] for index in range(4)]
        return any(
            sum(side.percent for side in pair if side) >= 98 or sum(side.pixels for side in pair if side) >= 100
            for pair in (sides[::2], sides[1::2])
        )
    if path.startswith(("circle(", "ellipse(")):
        return re.match(r"[a-z]+\(\s*0*\.?0+(?:px|%|em)?(?![\d.])", path) is not None
    if path.startswith("polygon("):
        points = {" ".join(point.split()) for point in path[8:].rstrip(") ").split(",")}
        return len(points) <= 2
    return False


def _is_away(values: Mapping[str, str], font_px: float) -> bool:
    """Outside of the page, to its left or above, or so far off that nobody scrolls there."""

    def at(name: str) -> Length:
        return length(values.get(name, "0"), font_px) or Length(0.0, 0.0)

    # what centres a wide element takes as much away as another gives: left:50%; margin-left:-500px
    across = at("margin-left").pixels + at("padding-left").pixels
    position = values.get("position", "static")
    if position != "static":
        placed = position in ("absolute", "fixed")
        left, top = at("left"), at("top")
        if not left.percent > 0 and left.pixels + across <= -(FAR_PX if placed else _AWAY_PX):
            return True
        if top.pixels <= -(_ABOVE_PX if placed else _AWAY_PX) or max(left.pixels, top.pixels) >= _BEYOND_PX:
            return True
        if left.percent <= -100 or top.percent <= -100 or left.percent >= 300:
            return True
        if position == "fixed" and (left.pixels >= WIDTH or top.pixels >= HEIGHT):
            return True
        if placed and any(abs(at(name).pixels) >= WIDTH for name in ("right", "bottom")):
            return True
    elif across <= -_AWAY_PX or across >= _BEYOND_PX:
        return True
    if at("margin-top").pixels <= -_BEYOND_PX:
        return True
    return _moved(values, font_px)


def _moved(values: Mapping[str, str], font_px: float) -> bool:
    steps = values.get("translate", "").split()
    for part in re.findall(r"translate[xy3d]*\(([^)]*)\)", values.get("transform", "")):
        steps += re.split(r"[\s,]+", part.strip())
    found = [step for step in (length(step, font_px) for step in steps) if step is not None]
    gone = sum(step.pixels for step in found if step.pixels < 0)
    return gone <= -_AWAY_PX or any(step.pixels >= _BEYOND_PX or abs(step.percent) >= 300 for step in found)


def _is_turned(values: Mapping[str, str]) -> bool:
    """Seen from its edge, or drawn in no size, or elsewhere."""
    turned = values.get("transform", "")
    matrix = re.search(r"matrix\(([^)]*)\)", turned)
    numbers = [length(part) for part in re.split(r"[\s,]+", matrix[1].strip())] if matrix else []
    if len(numbers) == 6:
        a, b, c, d, right, down = (number.pixels if number else 0.0 for number in numbers)
        if abs(a * d - b * c) < 1e-4 or right <= -_AWAY_PX or down <= -_AWAY_PX:
            return True
    return "rotate" in turned and re.search(r"rotate[xy]\(\s*-?(?:90|270)deg", turned) is not None


def _positive_px(values: Mapping[str, str], name: str, font_px: float) -> float:
    text = values.get(name)
    found = length(text, font_px) if text else None
    return max(found.pixels, 0.0) if found else 0.0
