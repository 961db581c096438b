"""What a document would cost to parse, counted before it is: the same on every machine.

A parser of HTML makes more of some documents than stands there. Formatting elements that are not closed are made anew
in each block that follows (HTML 13.2.4.3, 13.2.6.1), so that 24 KB of `<p><font color=…>` give half a million elements;
and each attribute of an element is compared with all before it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final


class TooMuchError(Exception):
    """A page that nobody writes who wants to be read."""


_MOST_MADE_ANEW: Final = 20_000
"""Elements, about. In 1,203 HTML parts of real mail it was 3,346 at most."""
_MOST_ATTRIBUTES: Final = 1_000
_LONG_TAG: Final = 4 * _MOST_ATTRIBUTES
_HARMLESS_TAGS: Final = 200
_HARMLESS_LENGTH: Final = 20_000
"""Too little to come near the bounds: half the square of the tags is made anew at most."""

_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)((?>[^>\"']+|\"[^\"]*\"|'[^']*'|[\"'])*+)")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_FORMATTING: Final = frozenset(
    ("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u")
)
_ALONE: Final = ("a", "nobr")
"""Another one closes the one before."""
_CELLS: Final = frozenset(("td", "th", "caption"))
_ROWS: Final = frozenset(("tr", "tbody", "thead", "tfoot", "table"))


def check_bounds(html: str) -> None:
    """
    Raises:
        TooMuchError: parsing it would take more than anybody's mail does.
    """
    if len(html) < _HARMLESS_LENGTH and html.count("<") < _HARMLESS_TAGS:
        return
    unclosed: list[tuple[str, str]] = []  # name and attributes, as in the list of active formatting elements
    alike: Counter[tuple[str, str]] = Counter()
    cells: list[int] = []  # how many were unclosed where each open cell of a table begins: those end with it
    made = 0
    for closes, name, attributes in _TAG.findall(html):
        tag = name.lower()
        if len(attributes) > _LONG_TAG and len(_QUOTED.sub("", attributes).split()) > _MOST_ATTRIBUTES:
            raise TooMuchError
        if tag in _FORMATTING:
            if closes or tag in _ALONE:
                for at in range(len(unclosed) - 1, (cells[-1] if cells else 0) - 1, -1):
                    if unclosed[at][0] == tag:
                        alike[unclosed.pop(at)] -= 1
                        break
            if not closes and alike[tag, attributes] < 3:  # of more, the first is forgotten
                unclosed.append((tag, attributes))
                alike[tag, attributes] += 1
            continue
        if cells and (tag in _ROWS or tag in _CELLS):
            for gone in unclosed[cells[-1] :]:
                alike[gone] -= 1
            del unclosed[cells.pop() :]
        if tag in _CELLS and not closes:
            cells.append(len(unclosed))
        made += len(unclosed) - (cells[-1] if cells else 0)
        if made > _MOST_MADE_ANEW:
            raise TooMuchError
