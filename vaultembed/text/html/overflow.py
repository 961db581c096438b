"""Text below the lower edge of a box that shows no more than its height: `height:20px; overflow:hidden`.

Where a line ends is only known when it is drawn. So lines are taken to be as long, and as low, as they can be: what is
left out is not seen, and some of what is not seen stays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from resiliparse.parse.html import ElementNode, Node, NodeType

from vaultembed.text.html.style import Seen
from vaultembed.text.html.stylesheets import WIDTH, TooMuchError, words

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


def drop_below_edge(
    box: ElementNode, style: Seen, style_of: Callable[[ElementNode], Seen | None], budget: Budget
) -> None:
    """Take out of `box` what is below its edge. `style_of`: the style of an element that has one of its own."""
    height, pen = style.cut_px, _Pen()
    if height is None or style.beside:
        return
    wide = style.wide_px or WIDTH
    stack: list[tuple[Node, Seen, bool]] = [(box, style, False)]
    while stack:
        node, seen, leaves = stack.pop()
        budget.left -= 1
        if budget.left < 0:
            raise TooMuchError
        if not isinstance(node, ElementNode):
            if node.type == NodeType.TEXT:
                _write(pen, node, seen, wide, height)
            continue
        if leaves:
            pen.leave(node.tag)
            continue
        if node.tag in _NOT_SHOWN or node.hasattr("hidden"):
            continue
        own = style_of(node) if node is not box else None
        if own is not None:
            if own.alone:
                return
            seen = own
        if node.tag in ("table", "img") and node.hasattr("align"):  # may float
            return
        pen.enter(node.tag, own.above_px if own is not None else 0.0, seen.font_px)
        stack.append((node, seen, True))
        child = node.last_child
        while child is not None:
            stack.append((child, seen, False))
            child = child.prev


def _write(pen: _Pen, node: Node, seen: Seen, wide: float, height: float) -> None:
    value = node.value or ""
    shown = len(_NO_WIDTH.sub("", value).strip(_SPACE))
    letter = _NARROWEST * seen.font_px
    if not shown or not letter or seen.is_hidden:
        return
    said = seen.line_height
    line = _LOWEST * seen.font_px if said is None else max(said, 1.0)
    above = max(line - seen.font_px, 0.0) / 2  # letters stand in the middle of a line
    lines = math.ceil(max(height - pen.y - above - _HALF * seen.font_px, 0.0) / line)
    room = int(max(lines * wide - pen.x, 0.0) / letter)
    if room < shown:
        node.value = value[:room]
    pen.line = max(pen.line, line)
    pen.x += shown * letter
    pen.y += (pen.x // wide) * line
    pen.x %= wide
