"""The computed style of an element, from that of its parent, as far as it decides whether text in it is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, NamedTuple

from vaultembed.text.html.boxes import (
    FAR_PX,
    OF_BOXES,
    cut_height,
    cuts,
    is_behind,
    is_unseen,
    lies_beside,
    may_stand_elsewhere,
    room_above,
    width,
)
from vaultembed.text.html.colours import BLACK, CLEAR, WHITE, Colour, css_colour, is_faint
from vaultembed.text.html.lengths import ROOT_PX, font_size, length, share
from vaultembed.text.html.shorthands import longhands
from vaultembed.text.html.stylesheets import Declaration, TooMuchError

SMALLEST_PX: Final = 4.0
"""Text of less is no text to a reader. The small print of real mail begins at 8."""
_FAINTEST: Final = 0.1
_FLATTEST_LINE_PX: Final = 1.5
_BLURRED_PX: Final = 4.0
_LINE_PX: Final = 600.0
"""What a percentage of the width is taken of: the width of most newsletters."""
_DEEPEST_VARIABLE: Final = 10
_MOST_VALUE: Final = 2_000
_MOST_VARIABLES: Final = 500
_MOST_STOPS: Final = 16

_INLINE: Final = frozenset(
    {
        *(
            "a",
            "abbr",
            "acronym",
            "b",
            "bdi",
            "bdo",
            "big",
            "cite",
            "code",
            "del",
            "dfn",
            "em",
            "font",
            "i",
            "ins",
            "kbd",
        ),
        *(
            "label",
            "mark",
            "nobr",
            "q",
            "s",
            "samp",
            "small",
            "span",
            "strike",
            "strong",
            "sub",
            "sup",
            "tt",
            "u",
            "var",
        ),
    }
)
_PARTS: Final = frozenset({"html", "body", "table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"})


class Element(NamedTuple):
    """What an element brings with it."""

    tag: str
    colour: Colour | None = None
    """Where none is declared, as links have one; else that of the parent."""
    quirks: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    gone: bool = False
    """With all that is in it, whatever that says: not displayed, placed outside the page, cut to nothing."""
    visible: bool = True
    opacity: float = 1.0
    font_px: float = ROOT_PX
    zoom: float = 1.0
    colour: Colour = BLACK
    fill: Colour | None = None
    """`-webkit-text-fill-color`, which takes the place of the colour."""
    shadow: Colour | None = None
    behind: tuple[Colour, ...] = (WHITE,)
    """The colours, opaque, that text may stand on: several of a gradient."""
    block_behind: tuple[Colour, ...] = (WHITE,)
    """Likewise, for a block in it: an inline element has no background where a block breaks its lines."""
    indent_px: float = 0.0
    spacing_px: float = 0.0
    line_px: float | None = None
    line_factor: float | None = None
    tight: bool = False
    """In a box that is as high as its lines, and shows nothing beyond."""
    painted: bool = False
    """Whether an element around it hides what is behind the page's own layer."""
    cut_px: float | None = None
    """The height of the element, if it shows no more of what is in it. This and the next four are its own."""
    above_px: float = 0.0
    """Empty room above its text."""
    wide_px: float | None = None
    beside: bool = False
    """Whether what is in it lies side by side."""
    alone: bool = False
    """Whether it does not stand below what is before it."""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def line_height(self) -> float | None:
        """In pixels; None where the font decides."""
        return self.line_px if self.line_factor is None else self.line_factor * self.font_px

    @property
    def is_hidden(self) -> bool:
        """Whether text that stands in the element itself is not seen."""
        if self.gone or not self.visible:
            return True
        if self.font_px * self.zoom < SMALLEST_PX or self.indent_px <= -FAR_PX:
            return True
        if self.spacing_px < -self.font_px * 0.7:
            return True
        line = self.line_height
        if self.tight and line is not None and line < _FLATTEST_LINE_PX:
            return True
        colours = [self.fill or self.colour] + ([self.shadow] if self.shadow else [])
        return all(_is_faint(colour.faded(self.opacity), self.behind) for colour in colours)


def _is_faint(colour: Colour, behind: tuple[Colour, ...]) -> bool:
    if colour.alpha < _FAINTEST:
        return True
    return all(is_faint(colour.over(below), below) for below in behind)


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
        if "var(" in value:
            value = " ".join(_substituted(value, variables).split())
        values |= longhands(one.name, value, quirks=element.quirks)
    return _computed(parent, values, variables, element)


def _computed(parent: Seen, values: Mapping[str, str], variables: Mapping[str, str], element: Element) -> Seen:
    font_px = font_size(values["font-size"], parent.font_px) if "font-size" in values else parent.font_px
    visible = _visibility(values.get("visibility", ""), inherited=parent.visible)
    boxed = not OF_BOXES.isdisjoint(values)
    is_inline, may_cut = _kind(element.tag, values)
    line_px, line_factor = _line(values.get("line-height", ""), font_px, parent)
    colour, fill = _colours(parent, values, element.colour)
    behind = _behind(parent.behind if is_inline else parent.block_behind, values, colour, visible=visible)
    if values.get("background-clip") == "text" and values.get("background-image", "none") != "none":
        # the picture is cut to the shape of the text, and is its colour; one that has to be loaded is none
        stops = _stops(values["background-image"])
        colour, fill = (stops[-1] if stops else CLEAR), None
        behind = parent.behind
    gone = parent.gone or (boxed and is_unseen(values, font_px, may_cut=may_cut))
    seen = replace(
        parent,
        gone=gone or (boxed and parent.painted and is_behind(values)),
        visible=visible,
        opacity=parent.opacity * _opacity(values),
        font_px=font_px,
        colour=colour,
        fill=fill,
        behind=behind,
        block_behind=parent.block_behind if is_inline else behind,
        line_px=line_px,
        line_factor=line_factor,
        painted=element.tag != "body" and (parent.painted or behind is not parent.behind),
        variables=variables,
        cut_px=None,
        above_px=0.0,
        wide_px=None,
        beside=False,
        alone=False,
    )
    if "text-shadow" in values:
        seen = replace(seen, shadow=_shadow(values["text-shadow"], colour))
    if "text-indent" in values or "letter-spacing" in values:
        seen = _spaced(parent, seen, values)
    if not boxed:
        return seen
    return replace(
        seen,
        zoom=parent.zoom * _zoom(values),
        tight=parent.tight or (may_cut and cuts(values, "y") and "height" not in values and "min-height" not in values),
        cut_px=cut_height(values, font_px) if may_cut else None,
        above_px=room_above(values, font_px),
        wide_px=width(values, font_px),
        painted=seen.painted and not (values.get("position", "static") != "static" and "z-index" in values),
        beside=lies_beside(values),
        alone=may_stand_elsewhere(values),
    )


def _kind(tag: str, values: Mapping[str, str]) -> tuple[bool, bool]:
    """(whether it is inline, whether it can hide what is larger than it)"""
    display = values.get("display", "")
    out_of_line = values.get("float", "none") != "none" or values.get("position") in ("absolute", "fixed")
    is_inline = tag in _INLINE if not display else display in ("inline", "contents")
    is_inline = is_inline and not out_of_line
    return is_inline, not is_inline and tag not in _PARTS and not display.startswith("table")


def _line(text: str, font_px: float, parent: Seen) -> tuple[float | None, float | None]:
    if not text or text in ("inherit", "unset"):
        return parent.line_px, parent.line_factor
    found = length(text, font_px)
    if found is None:
        return None, None
    if re.fullmatch(r"[\d.]+", text):
        return None, found.pixels
    return found.pixels or found.percent / 100 * font_px, None


def _spaced(parent: Seen, seen: Seen, values: Mapping[str, str]) -> Seen:
    indent = values.get("text-indent", "")
    indent_px = _pixels(indent, seen.font_px, parent.indent_px)
    if cuts(values, "x") and indent_px >= _LINE_PX:
        indent_px = -FAR_PX  # beyond the right edge, which shows nothing
    return replace(
        seen, indent_px=indent_px, spacing_px=_pixels(values.get("letter-spacing", ""), seen.font_px, parent.spacing_px)
    )


def _colours(parent: Seen, values: Mapping[str, str], own: Colour | None) -> tuple[Colour, Colour | None]:
    colour = _colour(values.get("color", ""), parent.colour, BLACK) or own or parent.colour
    fill = parent.fill
    if "-webkit-text-fill-color" in values:
        given = values["-webkit-text-fill-color"]
        fill = None if given in ("currentcolor", "initial") else _colour(given, colour, colour) or parent.fill
    return colour, fill


def _behind(
    below: tuple[Colour, ...], values: Mapping[str, str], colour: Colour, *, visible: bool
) -> tuple[Colour, ...]:
    """What text in an element stands on; `below`: what the element stands on."""
    flat = length(values.get("height", ""))
    if not visible or values.get("display") == "contents":
        return below
    if flat is not None and flat.pixels < SMALLEST_PX and not flat.percent and "min-height" not in values:
        return below  # the text hangs out of it
    behind = below
    background = _colour(values.get("background-color", ""), colour, CLEAR)
    if background is not None and background.alpha and values["background-color"] != "inherit":
        faded = background.faded(_opacity(values))
        behind = (faded,) if faded.alpha == 1 else tuple(dict.fromkeys(faded.over(one) for one in below))
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
    said = image.partition("gradient(")[2]
    found: list[Colour] = []
    for part, position in re.findall(r"(#[0-9a-f]+|[a-z]+\([^()]*\)|[a-z]+)(?:\s+(-?[\d.]+(?:%|[a-z]+)?))?", said):
        colour = css_colour(part)
        if colour is None:
            continue
        at = length(position) if position else None
        if at is not None and found and at.percent <= 0 and at.pixels <= 0:
            found.clear()
        found.append(colour)
        if at is not None and (at.percent >= 100 or at.pixels >= _LINE_PX):
            break
    return tuple(found)[:_MOST_STOPS]


def _shadow(text: str, colour: Colour) -> Colour | None:
    if text in ("none", "initial", "unset", ""):
        return None
    found = (css_colour(part) for part in re.findall(r"#[0-9a-f]+|[a-z]+\([^()]*\)|[a-z]+(?![\w(])", text))
    return next((one for one in found if one is not None), CLEAR if "transparent" in text else colour)


def _visibility(text: str, *, inherited: bool) -> bool:
    if text in ("hidden", "collapse"):
        return False
    return True if text in ("visible", "initial") else inherited


def _opacity(values: Mapping[str, str]) -> float:
    if "opacity" not in values and "filter" not in values:
        return 1.0
    found = share(values.get("opacity", "1"))
    filtered = values.get("filter", "")
    faded = re.search(r"\bopacity\(\s*([\d.]+%?|calc\([^()]*\))\s*\)", filtered)
    by_filter = share(faded[1]) if faded else 1.0
    blurred = re.search(r"\bblur\(\s*([\d.]+[a-z]*)\s*\)", filtered)
    radius = length(blurred[1]) if blurred else None
    if radius is not None and radius.pixels > _BLURRED_PX:
        return 0.0
    return (1.0 if found is None else found) * (1.0 if by_filter is None else by_filter)


def _zoom(values: Mapping[str, str]) -> float:
    zoom = share(values["zoom"]) if "zoom" in values else 1.0
    factor = 1.0 if zoom is None else zoom or 1.0  # 0 is no zoom
    scales = re.findall(r"scale(?:3d|[xy])?\(([^)]*)\)", values.get("transform", ""))
    for numbers in [*scales, values.get("scale", "")]:
        sizes = [share(part) for part in re.split(r"[\s,]+", numbers.strip())]
        factor *= min((size for size in sizes if size is not None), default=1.0)
    return factor


def _pixels(text: str, font_px: float, inherited: float) -> float:
    found = length(text, font_px)
    if found is not None:
        return found.pixels + found.percent / 100 * _LINE_PX
    return 0.0 if text in ("initial", "normal") else inherited


def _substituted(value: str, variables: Mapping[str, str]) -> str:
    """With `var(--name)` and `var(--name, other)` replaced."""
    for _ in range(_DEEPEST_VARIABLE):
        found = re.search(r"var\(\s*(--[^\s,()]+)\s*(?:,((?:[^()]|\([^()]*\))*))?\)", value)
        if found is None:
            break
        put = variables.get(found[1], (found[2] or "").strip())
        value = (value[: found.start()] + put + value[found.end() :])[:_MOST_VALUE]
    return value
