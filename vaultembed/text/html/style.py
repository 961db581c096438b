"""The computed style of an element, from that of its parent, as far as it decides whether text in it is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from vaultembed.text.html import boxes
from vaultembed.text.html.bounds import TooMuchError
from vaultembed.text.html.colours import BLACK, CLEAR, WHITE, Colour, css_colour, is_faint
from vaultembed.text.html.lengths import LINE_PX, ROOT_PX, font_size, length, share, words
from vaultembed.text.html.shorthands import HIDES, longhands
from vaultembed.text.html.stylesheets import Declaration

_SMALLEST_PX: Final = 4.0
"""Text of less is no text to a reader. The small print of real mail begins at 8."""
_FAINTEST: Final = 0.1
_FLATTEST_LINE_PX: Final = 1.5
_DEEPEST_VARIABLE: Final = 10
_MOST_VALUE: Final = 2_000
_MOST_VARIABLES: Final = 500
_MOST_STOPS: Final = 16

_INLINE: Final = words(
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd label mark nobr q s samp small span strike strong"
    " sub sup tt u var"
)
_PARTS: Final = words("html body table caption thead tbody tfoot tr td th")
_VARIABLE: Final = re.compile(r"(?:var|env)\(\s*([^\s,()]+)\s*(?:,((?:[^()]|\([^()]*\))*))?\)")
_STOP: Final = re.compile(r"(#[0-9a-f]+|[a-z]+\([^()]*\)|[a-z]+)(?:\s+(-?[\d.]+(?:%|[a-z]+)?))?")


class Element(NamedTuple):
    """What an element brings with it."""

    tag: str
    colour: Colour | None = None
    """Where none is declared, as links have one; else that of the parent."""
    quirks: bool = False


@dataclass(frozen=True)
class Seen:
    gone: bool = False
    """With all that is in it, whatever that says: not displayed, placed outside the page, cut to nothing."""
    visible: bool = True
    opacity: float = 1.0
    font_px: float = ROOT_PX
    colour: Colour = BLACK
    fill: Colour | None = None
    """`-webkit-text-fill-color`, which takes the place of the colour."""
    behind: tuple[Colour, ...] = (WHITE,)
    """The colours, opaque, that text may stand on: several of a gradient."""
    block_behind: tuple[Colour, ...] = (WHITE,)
    """Likewise, for a block in it: an inline element has no background where a block breaks its lines."""
    indent_px: float = 0.0
    line_px: float | None = None
    """Height of a line; None where the font decides."""
    tight: bool = False
    """In a box that is as high as its lines, and shows nothing beyond."""
    cut: bool = False
    """Whether it shows nothing below its lower edge. This and the next are the element's own."""
    values: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def is_hidden(self) -> bool:
        """Whether text that stands in the element itself is not seen."""
        if self.gone or not self.visible or self.font_px < _SMALLEST_PX or self.indent_px <= -boxes.FAR_PX:
            return True
        if self.tight and self.line_px is not None and self.line_px < _FLATTEST_LINE_PX:
            return True
        return _is_faint((self.fill or self.colour).faded(self.opacity), self.behind)


def _is_faint(colour: Colour, behind: tuple[Colour, ...]) -> bool:
    return colour.alpha < _FAINTEST or all(is_faint(colour.over(below), below) for below in behind)


def compute(parent: Seen, declarations: Sequence[Declaration], element: Element) -> Seen:
    """The style of an element with these declarations, the strongest last.

    Raises:
        TooMuchError: it has more variables than anybody writes.
    """
    values: dict[str, str] = {}
    declared = {one.name: one.value[:_MOST_VALUE] for one in declarations if one.name.startswith("--")}
    variables = parent.variables
    if declared:
        variables = {**variables, **declared}
        if len(variables) > _MOST_VARIABLES:
            raise TooMuchError
    for one in declarations:
        value = one.value[:_MOST_VALUE]
        if "var(" in value or "env(" in value:
            put = " ".join(_substituted(value, variables).split())
            # without a value it counts as unset, whatever is declared before it
            values |= longhands(one.name, put, quirks=element.quirks) or longhands(one.name, "unset", quirks=False)
        else:
            values |= longhands(one.name, value, quirks=element.quirks)
    return _computed(parent, values, variables, element)


def _computed(parent: Seen, values: Mapping[str, str], variables: Mapping[str, str], element: Element) -> Seen:
    font_px = font_size(values["font-size"], parent.font_px) if "font-size" in values else parent.font_px
    visible = _visibility(values.get("visibility", ""), inherited=parent.visible)
    is_inline, may_cut = _kind(element.tag, values)
    colour, fill = _colours(parent, values, element.colour)
    opacity = share(values["opacity"]) if "opacity" in values else None
    behind = parent.behind if is_inline else parent.block_behind
    if visible:
        behind = _behind(behind, values, colour)
    if values.get("background-clip") == "text" and values.get("background-image", "none") != "none":
        # the picture is cut to the shape of the text, and is its colour; one that has to be loaded is none
        stops = _stops(values["background-image"])
        colour, fill, behind = stops[-1] if stops else CLEAR, None, parent.behind
    indent_px = _pixels(values.get("text-indent", ""), font_px, parent.indent_px)
    if indent_px >= LINE_PX and boxes.cuts(values, "x"):
        indent_px = -boxes.FAR_PX  # beyond the right edge, which shows nothing
    is_cut = may_cut and boxes.cuts(values, "y")
    return Seen(
        gone=parent.gone or HIDES in values.values() or boxes.is_unseen(values, font_px, may_cut=may_cut),
        visible=visible,
        opacity=parent.opacity if opacity is None else parent.opacity * opacity,
        font_px=font_px,
        colour=colour,
        fill=fill,
        behind=behind,
        block_behind=parent.block_behind if is_inline else behind,
        indent_px=indent_px,
        line_px=_line_px(values.get("line-height", "inherit"), font_px, parent.line_px),
        tight=parent.tight or (is_cut and "height" not in values and "min-height" not in values),
        cut=is_cut,
        values=values,
        variables=variables,
    )


def _kind(tag: str, values: Mapping[str, str]) -> tuple[bool, bool]:
    """(whether it is inline, whether it can hide what is larger than it)"""
    display = values.get("display", "")
    out_of_line = values.get("float", "none") != "none" or values.get("position") in ("absolute", "fixed")
    is_inline = tag in _INLINE if not display else display in ("inline", "contents")
    is_inline = is_inline and not out_of_line
    return is_inline, not is_inline and tag not in _PARTS and not display.startswith("table")


def _line_px(text: str, font_px: float, inherited: float | None) -> float | None:
    if text in ("inherit", "unset"):
        return inherited
    found = length(text, font_px)
    if found is None or re.fullmatch(r"[\d.]*[1-9][\d.]*", text):  # a number is times the font of each element in it
        return None
    return found.pixels or found.percent / 100 * font_px


def _colours(parent: Seen, values: Mapping[str, str], own: Colour | None) -> tuple[Colour, Colour | None]:
    colour = _colour(values.get("color", ""), parent.colour, BLACK) or own or parent.colour
    fill = parent.fill
    if "-webkit-text-fill-color" in values:
        given = values["-webkit-text-fill-color"]
        fill = None if given in ("currentcolor", "initial") else _colour(given, colour, colour) or parent.fill
    return colour, fill


def _behind(below: tuple[Colour, ...], values: Mapping[str, str], colour: Colour) -> tuple[Colour, ...]:
    """What text in an element stands on; `below`: what the element stands on. Opacity leaves the two as alike."""
    flat = length(values.get("height", ""))
    if values.get("display") == "contents":
        return below
    if flat is not None and flat.pixels < _SMALLEST_PX and not flat.percent and "min-height" not in values:
        return below  # the text hangs out of it
    behind = below
    background = _colour(values.get("background-color", ""), colour, CLEAR)
    if background is not None and background.alpha and values["background-color"] != "inherit":
        behind = tuple(dict.fromkeys(background.over(one) for one in below))
    image = values.get("background-image", "none")
    if "gradient(" in image and not values.get("background-size", "").startswith("0"):
        found = dict.fromkeys(stop.over(under) for stop in _stops(image) for under in behind)
        behind = tuple(found)[:_MOST_STOPS] or behind
    return behind


def _colour(text: str, inherited: Colour, initial: Colour) -> Colour | None:
    """None where nothing is said."""
    match text:
        case "" | "unset" | "revert" | "revert-layer":
            return None
        case "inherit" | "currentcolor":
            return inherited
        case "initial":
            return initial
        case "transparent":
            return CLEAR
    return css_colour(text)


@lru_cache(maxsize=512)
def _stops(image: str) -> tuple[Colour, ...]:
    """The colours of the topmost gradient, as far as they are in what is seen of it."""
    found: list[Colour] = []
    for part, position in _STOP.findall(image.partition("gradient(")[2]):
        colour = css_colour(part)
        if colour is None:
            continue
        at = length(position) if position else None
        if at is not None and found and at.percent <= 0 and at.pixels <= 0:
            found.clear()
        found.append(colour)
        if at is not None and (at.percent >= 100 or at.pixels >= LINE_PX):
            break
    return tuple(found)[:_MOST_STOPS]


def _visibility(text: str, *, inherited: bool) -> bool:
    if text in ("hidden", "collapse"):
        return False
    return True if text in ("visible", "initial") else inherited


def _pixels(text: str, font_px: float, inherited: float) -> float:
    found = length(text, font_px)
    if found is not None:
        return found.pixels + found.percent / 100 * LINE_PX
    return 0.0 if text in ("initial", "normal") else inherited


def _substituted(value: str, variables: Mapping[str, str]) -> str:
    """With `var(--name)` and `var(--name, other)` replaced, nothing where they have no value; so env() of a desk."""
    for _ in range(_DEEPEST_VARIABLE):
        found = _VARIABLE.search(value)
        if found is None:
            break
        name, other = found[1], found[2]
        put = variables.get(name, "initial") if name.startswith("--") else "initial"
        if name.startswith("safe-area-inset-"):
            put = "0px"
        if put == "initial":
            if other is None:
                return ""
            put = other.strip()
        value = (value[: found.start()] + put + value[found.end() :])[:_MOST_VALUE]
    return value
