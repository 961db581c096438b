"""Text below the lower edge of a box that shows no more than its height: `height:20px; overflow:hidden`.

Where a line ends is only known when it is drawn. So lines are taken to be as long, and as low, as they can be: what is
left out is not seen, and some of what is not seen stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from resiliparse.parse.html import ElementNode, Node, NodeType

from vaultembed.text.css import WIDTH
from vaultembed.text.seen import Seen

_NARROWEST: Final = 0.3
"""Of the size of the font: the mean width of letters is 0.45 to 0.5 in those of mail."""
_LOWEST: Final = 0.8
"""Height of a line, likewise."""
_SPACE: Final = " \t\n\r\f"  # and not that which is to stand there
_BLOCKS: Final = frozenset(
    {
        *("address", "article", "aside", "blockquote", "center", "dd", "div", "dl", "dt", "fieldset", "footer", "form"),
        *(
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "li",
            "main",
            "nav",
            "ol",
            "p",
            "pre",
            "section",
            "table",
        ),
        *("tbody", "tfoot", "thead", "tr", "ul"),
    }
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


def drop_below_edge(box: ElementNode, style: Seen, style_of: Callable[[ElementNode], Seen | None]) -> None:
    """Take out of `box` what is below its edge. `style_of`: the style of an element that has one of its own."""
    height, pen = style.cut_px, _Pen()
    if height is None:
        return
    wide = style.wide_px or WIDTH
    stack: list[tuple[Node, float, bool]] = [(box, style.font_px, False)]
    while stack:
        node, font_px, leaves = stack.pop()
        if not isinstance(node, ElementNode):
            if node.type == NodeType.TEXT:
                _write(pen, node, font_px, wide, height)
            continue
        if leaves:
            _leave(pen, node.tag)
            continue
        own = style_of(node) if node is not box else None
        if own is not None:
            if own.gone:
                continue
            if own.alone:
                return
            font_px = own.font_px
        if node.tag == "table" and node.hasattr("align"):  # may float
            return
        _enter(pen, node.tag, own.above_px if own is not None else 0.0, font_px)
        stack.append((node, font_px, True))
        child = node.last_child
        while child is not None:
            stack.append((child, font_px, False))
            child = child.prev


def _write(pen: _Pen, node: Node, font_px: float, wide: float, height: float) -> None:
    value = node.value or ""
    if not value.strip(_SPACE):
        return
    letter, line = _NARROWEST * font_px, _LOWEST * font_px
    lines = -(-max(height - pen.y, 0.0) // line) if line else 0.0
    room = int((lines * wide - pen.x) / letter) if letter else len(value)
    if room < len(value):
        node.value = value[: max(room, 0)]
    pen.line = max(pen.line, line)
    pen.x += len(value.strip(_SPACE)) * letter
    pen.y += (pen.x // wide) * line
    pen.x %= wide


def _enter(pen: _Pen, tag: str | None, above_px: float, font_px: float) -> None:
    if tag == "br":
        pen.line = max(pen.line, _LOWEST * font_px)
        pen.end_line()
    elif tag in _BLOCKS:
        pen.end_line()
        pen.y += above_px
    if tag == "tr":
        pen.rows.append([pen.y, pen.y])
    elif tag in ("td", "th") and pen.rows:
        pen.x = pen.line = 0.0
        pen.y = pen.rows[-1][0] + above_px


def _leave(pen: _Pen, tag: str | None) -> None:
    if tag in _BLOCKS:
        pen.end_line()
    if tag in ("td", "th") and pen.rows:
        pen.end_line()
        pen.rows[-1][1] = max(pen.rows[-1][1], pen.y)
    elif tag == "tr" and pen.rows:
        pen.y = pen.rows.pop()[1]
