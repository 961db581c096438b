"""Text below the lower edge of a box that shows no more than its height: `height:20px; overflow:hidden`.

Where a line ends is only known when it is drawn. So lines are taken to be as long, and as low, as they can be: what is
left out is not seen, and some of what is not seen stays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from resiliparse.parse.html import ElementNode, Node, NodeType

from vaultembed.text.html.bounds import TooMuchError
from vaultembed.text.html.boxes import positive_px
from vaultembed.text.html.lengths import WIDTH, words
from vaultembed.text.html.style import Seen

_NARROWEST: Final = 0.25
"""Of the size of the font: the mean width of letters is 0.45 to 0.5 in those of mail."""
_HALF: Final = 0.4
"""Of the height of letters: if no more is seen of them, nobody reads them."""
_LOWEST: Final = 0.8
"""Height of a line, likewise."""
_SPACE: Final = " \t\n\r\f"  # and not that which is to stand there
_NO_WIDTH: Final = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad\u034f]+")
_NOT_SHOWN: Final = words("style script title template select datalist head")
_MOST_LOOKED_AT: Final = 200_000
_CELLS: Final = ("td", "th")
_TALL: Final = ("height", "max-height")
_BLOCKS: Final = words(
    "address article aside blockquote center dd div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 header hr li main nav"
    " ol p pre section table tbody tfoot thead tr ul"
)


@dataclass(slots=True)
class _Pen:
    """Where the next letter goes, in pixels from the upper left corner."""

    x: float = 0.0
    y: float = 0.0
    line: float = 0.0
    """Height of the line so far; 0 where nothing is in it."""
    rows: list[list[float]] = field(default_factory=list)
    """Of each row of cells it is in: where it begins, and where the lowest cell ends."""

    def end_line(self) -> None:
        self.y += self.line
        self.x = self.line = 0.0

    def enter(self, tag: str | None, above_px: float, font_px: float) -> None:
        if tag == "br":
            self.line = max(self.line, _LOWEST * font_px)
            self.end_line()
        elif tag in _BLOCKS:
            self.end_line()
            self.y += above_px
        if tag == "tr":
            self.rows.append([self.y, self.y])
        elif tag in _CELLS and self.rows:
            self.x = self.line = 0.0
            self.y = self.rows[-1][0] + above_px

    def leave(self, tag: str | None) -> None:
        if tag in _BLOCKS or tag in _CELLS:
            self.end_line()
        if tag in _CELLS and self.rows:
            self.rows[-1][1] = max(self.rows[-1][1], self.y)
        elif tag == "tr" and self.rows:
            self.y = self.rows.pop()[1]


class Budget:
    """Of elements and texts looked at, for all boxes of a page together: they may stand in each other."""

    def __init__(self) -> None:
        self.left = _MOST_LOOKED_AT


def drop_below_edge(box: ElementNode, style_of: Callable[[ElementNode], Seen], budget: Budget) -> None:
    """Take out of `box` what is below its edge. `style_of`: of any element in it."""
    style, pen = style_of(box), _Pen()
    height = _height(style)
    if height is None or _lies_beside(style.values):
        return
    wide = max(positive_px(style.values, name, style.font_px) for name in ("width", "min-width")) or WIDTH
    stack: list[tuple[Node, Seen, bool]] = [(box, style, False)]
    while stack:
        node, around, leaves = stack.pop()
        budget.left -= 1
        if budget.left < 0:
            raise TooMuchError
        if not isinstance(node, ElementNode):
            if node.type == NodeType.TEXT:
                _write(pen, node, around, wide, height)
            continue
        if leaves:
            pen.leave(node.tag)
            continue
        if node.tag in _NOT_SHOWN or node.hasattr("hidden"):
            continue
        seen, above_px = style_of(node), 0.0
        if seen is not around:
            if _may_stand_elsewhere(seen.values):
                return
            above_px = sum(positive_px(seen.values, name, seen.font_px) for name in ("margin-top", "padding-top"))
        if node.tag in ("table", "img") and node.hasattr("align"):  # may float
            return
        pen.enter(node.tag, above_px, seen.font_px)
        stack.append((node, seen, True))
        child = node.last_child
        while child is not None:
            stack.append((child, seen, False))
            child = child.prev


def _height(style: Seen) -> float | None:
    """None where the box is as high as what is in it."""
    heights = [positive_px(style.values, name, style.font_px) for name in _TALL]
    heights.append(positive_px(style.values, "line-clamp", style.font_px) * (style.line_px or 1.5 * style.font_px))
    lowest = min((height for height in heights if height), default=None)
    return None if lowest is None else max(lowest, positive_px(style.values, "min-height", style.font_px))


def _lies_beside(values: Mapping[str, str]) -> bool:
    """Whether what is in an element lies side by side."""
    return "flex" in values.get("display", "") or "grid" in values.get("display", "")


def _may_stand_elsewhere(values: Mapping[str, str]) -> bool:
    """Whether an element, or what is in it, may stand elsewhere than below what comes before it."""
    return (
        _lies_beside(values)
        or values.get("display", "").startswith(("inline-", "table-"))
        or values.get("float", "none") != "none"
        or values.get("position") in ("absolute", "fixed")
        or values.get("margin-top", "").startswith("-")
        or any(name in values for name in _TALL)
    )


def _write(pen: _Pen, node: Node, seen: Seen, wide: float, height: float) -> None:
    value = node.value or ""
    shown = len(_NO_WIDTH.sub("", value).strip(_SPACE))
    letter = _NARROWEST * seen.font_px
    if not shown or not letter or seen.is_hidden:
        return
    line = _LOWEST * seen.font_px if seen.line_px is None else max(seen.line_px, 1.0)
    above = max(line - seen.font_px, 0.0) / 2  # letters stand in the middle of a line
    lines = math.ceil(max(height - pen.y - above - _HALF * seen.font_px, 0.0) / line)
    room = int(max(lines * wide - pen.x, 0.0) / letter)
    if room < shown:
        node.value = value[:room]
    pen.line = max(pen.line, line)
    pen.x += shown * letter
    pen.y += (pen.x // wide) * line
    pen.x %= wide
