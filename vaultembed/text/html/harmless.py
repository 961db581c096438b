"""Where on a page text can be hidden at all, told without the cascade: on most of them nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from vaultembed.text.html.colours import BLACK, WHITE, Colour, css_colour, is_faint
from vaultembed.text.html.lengths import font_size, length
from vaultembed.text.html.shorthands import EVERYWHERE, HIDES, longhands
from vaultembed.text.html.style import SMALLEST_PX
from vaultembed.text.html.stylesheets import Declaration

_MOST_PAIRS: Final = 400
_NEAR: Final = {
    "text-indent": (-200.0, 500.0),
    "z-index": (0.0, 1e9),
    "opacity": (1.0, 1.0),
    **dict.fromkeys(("left", "top", "right", "bottom", "margin-left", "margin-right", "margin-top"), (-50.0, 500.0)),
    **dict.fromkeys(("padding-left", "padding-right", "padding-top"), (0.0, 500.0)),
}
"""Of each, from where to where it hides nothing, whatever else is said."""
_HIDING: Final = {
    "display": ("none", "table-column", "table-column-group"),
    "visibility": ("hidden", "collapse"),
    "background-clip": ("text",),
}
_PAINTS: Final = {
    "color": ("inherit", "unset", "revert", "revert-layer", "currentcolor"),
    "-webkit-text-fill-color": ("inherit", "unset", "revert", "revert-layer"),
    "background-color": ("inherit", "unset", "revert", "revert-layer", "initial", "transparent"),
}
"""Properties that paint, and their values that paint nothing of their own."""
_CUTTING: Final = ("overflow-x", "overflow-y", "line-clamp")


class Paint(NamedTuple):
    """The colours, opaque, of declarations that hide nothing whatever else is said, but by these."""

    texts: frozenset[Colour] = frozenset()
    behind: frozenset[Colour] = frozenset()

    def meets(self, other: Paint) -> bool:
        return not (self.texts.isdisjoint(other.texts) and self.behind.isdisjoint(other.behind))


@lru_cache(maxsize=4096)
def paint_of(declarations: tuple[Declaration, ...], *, quirks: bool) -> Paint | None:
    """None if one of them may hide something by itself."""
    texts: set[Colour] = set()
    behind: set[Colour] = set()
    for one in declarations:
        if one.name.startswith("--"):
            continue
        if "var(" in one.value:
            return None
        for name, value in longhands(one.name, one.value, quirks=quirks).items():
            if name not in _PAINTS or value in _PAINTS[name]:
                if name not in _PAINTS and not _is_harmless(name, value):
                    return None
                continue
            colour = BLACK if value == "initial" else css_colour(value)
            if colour is None or colour.alpha < 1:
                return None
            (behind if name == "background-color" else texts).add(colour)
    return Paint(frozenset(texts), frozenset(behind))


def faint_of(paints: Iterable[Paint | None], link: Colour) -> Paint | None:
    """The colours that are not seen where they meet another of these. `link`: the colour of links. None if more than
    colours may hide something."""
    texts, behind = {BLACK, link}, {WHITE}
    for paint in paints:
        if paint is None:
            return None
        texts |= paint.texts
        behind |= paint.behind
        if len(texts) * len(behind) > _MOST_PAIRS:
            return None
    faint = [pair for pair in product(texts, behind) if is_faint(*pair)]
    return Paint(frozenset(text for text, _ in faint), frozenset(below for _, below in faint))


def _is_harmless(name: str, value: str) -> bool:
    if value == HIDES:
        return False
    if value in EVERYWHERE:
        return True
    if name in _NEAR:
        found = length(value)
        least, most = _NEAR[name]
        return value == "auto" or (found is not None and least <= found.pixels <= most and 0 <= found.percent < 100)
    if name in _HIDING:
        return value not in _HIDING[name]
    if name in _CUTTING:
        return value in ("visible", "none", "")
    if name == "font-size":
        # once within another, and again
        return value != "smaller" and font_size(value, SMALLEST_PX) >= SMALLEST_PX
    return name != "background-image" or "gradient(" not in value
