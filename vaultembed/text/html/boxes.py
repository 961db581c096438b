"""Boxes of CSS that show nothing of what is in them, or only the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vaultembed.text.html.lengths import Length, length
from vaultembed.text.html.stylesheets import HEIGHT, WIDTH, words

FAR_PX: Final = 300.0
"""To the left of where it should stand, and a line of text is out of sight. The widest hanging indents have 200."""
_FLATTEST_PX: Final = 3.0
_ABOVE_PX: Final = 150.0
_AWAY_PX: Final = 500.0
_BEYOND_PX: Final = 3_000.0

OF_BOXES: Final = words(
    "display position left right top bottom inset z-index margin margin-left margin-top padding padding-left"
    " padding-top overflow overflow-x overflow-y height width min-height min-width max-height max-width flex float"
    " columns column-count line-clamp margin-right padding-right"
)
_NO_BOX: Final = frozenset(("none", "table-column", "table-column-group"))
_SCROLLS: Final = ("hidden", "clip", "scroll", "auto", "overlay")
_TALL: Final = ("height", "max-height")
_WIDE: Final = ("width", "max-width")


def is_unseen(values: Mapping[str, str], font_px: float, *, may_cut: bool) -> bool:
    """Whether nothing in the box is seen, whatever it says itself. `may_cut`: whether a box of its kind can hide what
    is larger than it; inline boxes and the parts of a table cannot."""
    return values.get("display") in _NO_BOX or (may_cut and _is_cut(values, font_px)) or _is_away(values, font_px)


def is_behind(values: Mapping[str, str]) -> bool:
    layer = length(values.get("z-index", ""))
    return layer is not None and layer.pixels < 0 and values.get("position", "static") != "static"


def cuts(values: Mapping[str, str], side: str) -> bool:
    """Whether nothing outside the box is seen: to the side, "x", or below, "y"."""
    contains = values.get("contain", "").split()
    return values.get(f"overflow-{side}") in ("hidden", "clip") or not {"paint", "strict", "content"}.isdisjoint(
        contains
    )


def cut_height(values: Mapping[str, str], font_px: float, line_px: float) -> float | None:
    """Of a box that cuts what is below it; None where it is as high as what is in it."""
    heights = [positive_px(values, name, font_px) for name in _TALL]
    heights.append(positive_px(values, "line-clamp", font_px) * line_px)
    lowest = min((height for height in heights if height), default=None)
    return None if lowest is None else max(lowest, positive_px(values, "min-height", font_px))


def width(values: Mapping[str, str], font_px: float) -> float | None:
    return max(positive_px(values, "width", font_px), positive_px(values, "min-width", font_px)) or None


def may_stand_elsewhere(values: Mapping[str, str]) -> bool:
    """Whether an element, or what is in it, may stand elsewhere than below what comes before it."""
    return (
        lies_beside(values)
        or values.get("display", "").startswith(("inline-", "table-"))
        or values.get("float", "none") != "none"
        or values.get("position") in ("absolute", "fixed")
        or values.get("margin-top", "").startswith("-")
        or any(name in values for name in _TALL)
    )


def lies_beside(values: Mapping[str, str]) -> bool:
    """Whether what is in an element lies side by side."""
    display = values.get("display", "")
    return "flex" in display or "grid" in display or "columns" in values or "column-count" in values


def _is_cut(values: Mapping[str, str], font_px: float) -> bool:
    """A box of no size that shows nothing outside it."""
    if values.get("overflow-y") in _SCROLLS:
        tall = any(_is_flat(values, name, font_px) for name in _TALL)
        if tall and not positive_px(values, "min-height", font_px):
            return True
    if values.get("overflow-x") in _SCROLLS:
        wide = any(_is_flat(values, name, font_px) for name in _WIDE)
        return wide and "min-width" not in values and "flex" not in values
    return False


def _is_flat(values: Mapping[str, str], name: str, font_px: float) -> bool:
    """A percentage is of what is around it, whose height is mostly not known; 0 of anything is 0."""
    text = values.get(name, "")
    found = length(text, font_px) if text else None
    return found is not None and found.pixels <= _FLATTEST_PX and not text.endswith("%")


def _is_away(values: Mapping[str, str], font_px: float) -> bool:
    """Outside of the page, to its left or above, or so far off that nobody scrolls there."""

    def at(name: str) -> Length:
        return length(values.get(name, "0"), font_px) or Length(0.0, 0.0)

    # what centres a wide element takes as much away as another gives: left:50%; margin-left:-500px
    across = at("margin-left").pixels + at("padding-left").pixels
    if at("margin-top").pixels <= -_BEYOND_PX or at("margin-right").pixels + at("padding-right").pixels <= -_BEYOND_PX:
        return True
    position = values.get("position", "static")
    if position == "static":
        return across <= -_AWAY_PX or across >= _BEYOND_PX
    placed = position in ("absolute", "fixed")
    left, top = at("left"), at("top")
    return (
        (not left.percent > 0 and left.pixels + across <= -(FAR_PX if placed else _AWAY_PX))
        or top.pixels <= -(_ABOVE_PX if placed else _AWAY_PX)
        or max(left.pixels, top.pixels) >= _BEYOND_PX
        or min(left.percent, top.percent) <= -100
        or left.percent >= 300
        or (position == "fixed" and (left.pixels >= WIDTH or top.pixels >= HEIGHT))
        or (placed and any(abs(at(name).pixels) >= WIDTH for name in ("right", "bottom")))
    )


def positive_px(values: Mapping[str, str], name: str, font_px: float) -> float:
    text = values.get(name)
    found = length(text, font_px) if text else None
    return max(found.pixels, 0.0) if found else 0.0
