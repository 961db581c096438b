"""Boxes of CSS that show nothing of what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vaultembed.text.html.lengths import HEIGHT, WIDTH, Length, length, words

FAR_PX: Final = 300.0
"""To the left of where it should stand, and a line of text is out of sight. The widest hanging indents have 200."""
_FLATTEST_PX: Final = 3.0
_ABOVE_PX: Final = 150.0
_AWAY_PX: Final = 500.0
_BEYOND_PX: Final = 3_000.0

_NO_BOX: Final = frozenset(("none", "table-column", "table-column-group"))
_SCROLLS: Final = ("hidden", "clip", "scroll", "auto", "overlay")
_TALL: Final = ("height", "max-height")
_WIDE: Final = ("width", "max-width")
_PLACES: Final = words("left right top bottom margin-left margin-right margin-top padding-left padding-right")


def is_unseen(values: Mapping[str, str], font_px: float, *, may_cut: bool) -> bool:
    """Whether nothing in the box is seen, whatever it says itself. `may_cut`: whether a box of its kind can hide what
    is larger than it; inline boxes and the parts of a table cannot."""
    behind = values.get("z-index", "").startswith("-") and values.get("position", "static") != "static"
    return (
        values.get("display") in _NO_BOX
        or behind
        or (may_cut and _is_cut(values, font_px))
        or _is_away(values, font_px)
    )


def cuts(values: Mapping[str, str], side: str) -> bool:
    """Whether nothing outside the box is seen: to the side, "x", or below, "y"."""
    return values.get(f"overflow-{side}") in ("hidden", "clip")


def positive_px(values: Mapping[str, str], name: str, font_px: float) -> float:
    text = values.get(name)
    found = length(text, font_px) if text else None
    return max(found.pixels, 0.0) if found else 0.0


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
    if _PLACES.isdisjoint(values):
        return False

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
