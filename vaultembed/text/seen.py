"""What of a style decides whether text is seen: the computed style of an element, from that of its parent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from vaultembed.text.boxes import FAR_PX, OF_BOXES, cut_height, is_behind, is_gone, room_above, stands_alone, width
from vaultembed.text.colours import BLACK, CLEAR, WHITE, Colour, css_colour, is_faint
from vaultembed.text.css import Declaration
from vaultembed.text.lengths import ROOT_PX, font_size, length, share

SMALLEST_PX: Final = 4.0
"""Text of less is no text to a reader. The small print of real mail begins at 8."""
_FAINTEST: Final = 0.1
_LINE_PX: Final = 600.0
"""What a percentage of the width is taken of: the width of most newsletters."""
_DEEPEST_VARIABLE: Final = 4
_MOST_VALUE: Final = 2_000
_MOST_VARIABLES: Final = 500
_MOST_STOPS: Final = 16

_DIRECT: Final = frozenset(
    {
        *("visibility", "opacity", "filter", "font", "font-size", "color", "background", "background-color"),
        *("background-image", "background-clip", "-webkit-background-clip", "-webkit-text-fill-color", "text-shadow"),
        *("text-indent", "letter-spacing"),
    }
)
_WANTED: Final = _DIRECT | OF_BOXES


@dataclass(frozen=True, slots=True)
class Seen:
    """The computed style of an element, as far as it decides whether its own text is seen."""

    gone: bool = False
    """With all that is in it, whatever that says: not displayed, placed outside the page, cut to nothing."""
    visible: bool = True
    opacity: float = 1.0
    font_px: float = ROOT_PX
    zoom: float = 1.0
    colour: Colour = BLACK
    fill: Colour | None = None
    """`-webkit-text-fill-color`, which takes the place of the colour."""
    shadow: bool = False
    behind: tuple[Colour, ...] = (WHITE,)
    """The colours, opaque, that text may stand on: several of a gradient."""
    indent_px: float = 0.0
    spacing_px: float = 0.0
    painted: bool = False
    """Whether an element around it hides what is behind the page's own layer."""
    cut_px: float | None = None
    """The height of the element, if it shows no more of what is in it. This and the next three are its own."""
    above_px: float = 0.0
    """Empty room above its text."""
    wide_px: float | None = None
    alone: bool = False
    """Whether it does not stand below what is before it."""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_hidden(self) -> bool:
        """Whether text that stands in the element itself is not seen."""
        if self.gone or not self.visible or self.opacity < _FAINTEST:
            return True
        if self.font_px * self.zoom < SMALLEST_PX or self.indent_px <= -FAR_PX:
            return True
        if self.spacing_px < -self.font_px * 0.7:
            return True
        return not self.shadow and _is_faint(self.fill or self.colour, self.behind)


def is_wanted(name: str) -> bool:
    return name in _WANTED or name.startswith("--")


def _is_faint(colour: Colour, behind: tuple[Colour, ...]) -> bool:
    if colour.alpha < _FAINTEST:
        return True
    return all(is_faint(colour.over(below), below) for below in behind)


def compute(parent: Seen, declarations: Sequence[Declaration], own_colour: Colour | None = None) -> Seen:
    """The style of an element with these declarations, the strongest last.

    `own_colour`: what the element has where none is declared, as links do; else that of the parent.
    """
    values: dict[str, str] = {}
    declared = {one.name: one.value[:_MOST_VALUE] for one in declarations if one.name.startswith("--")}
    variables = parent.variables
    if declared:
        variables = {**variables, **declared} if len(variables) < _MOST_VARIABLES else variables
    for one in declarations:
        value = one.value[:_MOST_VALUE]
        values |= _longhands(one.name, value if "var(" not in value else _substituted(value, variables))
    return _computed(parent, values, variables, own_colour)


def _computed(parent: Seen, values: Mapping[str, str], variables: Mapping[str, str], own_colour: Colour | None) -> Seen:
    font_px = font_size(values["font-size"], parent.font_px) if "font-size" in values else parent.font_px
    colour, fill, behind = _coloured(parent, values, own_colour)
    boxed = not OF_BOXES.isdisjoint(values)
    return Seen(
        gone=parent.gone or (boxed and (is_gone(values, font_px) or (parent.painted and is_behind(values)))),
        visible=_visibility(values.get("visibility", ""), parent.visible),
        opacity=parent.opacity * _opacity(values),
        font_px=font_px,
        zoom=parent.zoom * _zoom(values) if boxed else parent.zoom,
        colour=colour,
        fill=fill,
        shadow=values["text-shadow"] not in ("none", "initial", "") if "text-shadow" in values else parent.shadow,
        behind=behind,
        indent_px=_pixels(values.get("text-indent", ""), font_px, parent.indent_px),
        spacing_px=_pixels(values.get("letter-spacing", ""), font_px, parent.spacing_px),
        painted=parent.painted or behind is not parent.behind,
        cut_px=cut_height(values, font_px) if boxed else None,
        above_px=room_above(values, font_px) if boxed else 0.0,
        wide_px=width(values, font_px) if boxed else None,
        alone=boxed and stands_alone(values),
        variables=variables,
    )


def _coloured(
    parent: Seen, values: Mapping[str, str], own_colour: Colour | None
) -> tuple[Colour, Colour | None, tuple[Colour, ...]]:
    """Colour, fill and what is behind."""
    colour = _colour(values.get("color", ""), parent.colour)
    if colour is None:
        colour = own_colour or parent.colour
    fill = parent.fill
    if "-webkit-text-fill-color" in values:
        given = values["-webkit-text-fill-color"]
        fill = None if given in ("currentcolor", "initial") else _colour(given, colour) or parent.fill
    behind = parent.behind
    background = _colour(values.get("background-color", ""), colour)
    if background is not None and values["background-color"] != "inherit":
        faded = background.faded(_opacity(values))
        behind = tuple(dict.fromkeys(faded.over(below) for below in parent.behind))
        if faded.alpha == 1:
            behind = (faded,)
    image = values.get("background-image", "none")
    if "gradient(" in image:
        behind = _gradient(image, behind)
    if "text" in (values.get("background-clip"), values.get("-webkit-background-clip")) and image != "none":
        # the picture is cut to the shape of the text: it is the colour, and the text has none
        return BLACK, None, parent.behind
    return colour, fill, behind


def _colour(text: str, inherited: Colour) -> Colour | None:
    """None where nothing is said."""
    match text:
        case "":
            return None
        case "inherit" | "currentcolor":
            return inherited
        case "transparent":
            return CLEAR
    return css_colour(text)


@lru_cache(maxsize=512)
def _gradient(image: str, below: tuple[Colour, ...]) -> tuple[Colour, ...]:
    said = image.partition("gradient(")[2]
    stops = [css_colour(part) for part in re.findall(r"#[0-9a-f]+|[a-z]+\([^()]*\)|[a-z]+", said)]
    found = dict.fromkeys(stop.over(under) for stop in stops if stop is not None for under in below)
    return tuple(found)[:_MOST_STOPS] or below


def _visibility(text: str, inherited: bool) -> bool:
    if text in ("hidden", "collapse"):
        return False
    return True if text in ("visible", "initial") else inherited


def _opacity(values: Mapping[str, str]) -> float:
    if "opacity" not in values and "filter" not in values:
        return 1.0
    found = share(values.get("opacity", "1"))
    faded = re.search(r"\bopacity\(\s*([\d.]+%?)\s*\)", values.get("filter", ""))
    by_filter = share(faded[1]) if faded else 1.0
    return (1.0 if found is None else found) * (1.0 if by_filter is None else by_filter)


def _zoom(values: Mapping[str, str]) -> float:
    zoom = share(values["zoom"]) if "zoom" in values else 1.0
    factor = 1.0 if zoom is None else zoom or 1.0  # 0 is no zoom
    for name, text in values.items():
        if name == "scale" or name.endswith("transform"):
            for numbers in re.findall(r"scale[xy]?\(([^)]*)\)", text) if name != "scale" else [text]:
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
        found = re.search(r"var\(\s*(--[^\s,()]+)\s*(?:,((?:[^()]|\([^()]*\))*))?\)", value[:_MOST_VALUE])
        if found is None:
            break
        put = variables.get(found[1], (found[2] or "").strip())
        value = value[: found.start()] + put + value[found.end() :]
    return value


@lru_cache(maxsize=8192)
def _longhands(name: str, value: str) -> Mapping[str, str]:
    match name:
        case "background":
            return _background(value)
        case "font":
            size = next((part.partition("/")[0] for part in value.split() if _is_size(part)), None)
            return {} if size is None else {"font-size": size}
        case "overflow":
            parts = value.split()
            return {"overflow-x": parts[0], "overflow-y": parts[-1]} if parts else {}
        case "margin" | "padding" | "inset":
            top, right, bottom, left = _four_sides(value)
            if name != "inset":
                return {f"{name}-top": top, f"{name}-left": left}
            return {"top": top, "right": right, "bottom": bottom, "left": left}
    return {name: value}


def _is_size(text: str) -> bool:
    size = text.partition("/")[0]
    found = length(size)
    # a bare number is the weight
    return found is not None and (not size.isdigit() or size == "0")


def _four_sides(value: str) -> tuple[str, str, str, str]:
    parts = value.split() or [""]
    top = parts[0]
    right = parts[1] if len(parts) > 1 else top
    bottom = parts[2] if len(parts) > 2 else top
    left = parts[3] if len(parts) > 3 else right
    return top, right, bottom, left


def _background(value: str) -> Mapping[str, str]:
    """The shorthand sets colour and picture, also to nothing."""
    image, colour = "none", "transparent"
    for part in re.findall(r"[^\s(),]+(?:\((?:[^()]|\([^()]*\))*\))?", value):
        if part.startswith(("url(", "image(")) or "gradient(" in part:
            image = part if image == "none" else image
        elif css_colour(part) is not None or part == "currentcolor":
            colour = part
    clip = {"background-clip": "text"} if re.search(r"\btext\b", value) else {}
    return {"background-image": image, "background-color": colour, **clip}
