"""Declarations that hide nothing, or only where their colour meets another: most of those of mail."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from vaultembed.text.html.colours import BLACK, WHITE, Colour, css_colour, is_faint
from vaultembed.text.html.lengths import font_size, length, words
from vaultembed.text.html.shorthands import EVERYWHERE, longhands
from vaultembed.text.html.stylesheets import Declaration

_MOST_PAIRS: Final = 400
_SMALLEST_PX: Final = 6.0
_SIZED: Final = words("width height min-width min-height max-width max-height line-height float background-size")
"""Hides only what another declaration cuts, which is not harmless."""
_PLACED: Final = words(
    "left right top bottom margin-left margin-right margin-top margin-bottom padding-left padding-right padding-top"
    " padding-bottom text-indent"
)
_PLAIN: Final = {
    "display": words("block inline inline-block list-item table table-row table-cell"),
    "visibility": words("visible"),
    "position": words("static relative"),
    "overflow-x": words("visible"),
    "overflow-y": words("visible"),
    "background-image": words("none"),
    "opacity": words("1"),
}


class Paint(NamedTuple):
    texts: frozenset[Colour]
    behind: frozenset[Colour]

    def meets(self, other: Paint) -> bool:
        return not (self.texts.isdisjoint(other.texts) and self.behind.isdisjoint(other.behind))


@lru_cache(maxsize=4096)
def paint_of(declaration: Declaration, *, quirks: bool) -> Paint | None:
    """The colours of a declaration. None if it may hide something by anything else."""
    if "var(" in declaration.value:
        return None
    texts: set[Colour] = set()
    behind: set[Colour] = set()
    for name, value in longhands(declaration.name, declaration.value, quirks=quirks).items():
        if name in ("color", "-webkit-text-fill-color", "background-color"):
            colour = css_colour(value)
            if colour is not None and colour.alpha == 1:
                (behind if name == "background-color" else texts).add(colour)
            elif (name, value) != ("background-color", "transparent"):
                return None
        elif name == "font-size":
            if value in EVERYWHERE or font_size(value, 0.0) < _SMALLEST_PX:
                return None
        elif name in _PLACED:
            found = length(value)
            if value != "auto" and (found is None or not (-50 <= found.pixels <= 500 and 0 <= found.percent < 100)):
                return None
        elif value and name not in _SIZED and value not in _PLAIN.get(name, ()):
            return None
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
