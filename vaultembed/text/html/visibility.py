"""Text of HTML that a reader does not see: it is no part of the message.

A sender can write one thing for people and another for machines. Styles are computed as a browser does (style sheets,
attributes, the cascade, inheritance), pictures not loaded, and text that would not be seen is taken out of the tree.
The page is not drawn: what only its layout hides stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from resiliparse.parse.html import DocumentNode, ElementNode, HTMLTree, Node, NodeType

from vaultembed.text.html.bounds import TooMuchError
from vaultembed.text.html.colours import LINK, attribute_colour
from vaultembed.text.html.harmless import faint_of, paint_of
from vaultembed.text.html.overflow import Budget, drop_below_edge
from vaultembed.text.html.shorthands import is_wanted
from vaultembed.text.html.style import Element, Seen, compute
from vaultembed.text.html.stylesheets import Declaration, Rule, parse_sheet, parse_style, sheet_applies

_STYLED: Final = re.compile(r"(?i)style|color\s*=|\b(?:text|link)\s*=|\bhidden\b")
_DOCTYPE: Final = re.compile(r"(?i)<!doctype\s+html(?:\s*>|\s+(?:system|public)[^>]{0,400}http)")
_BEFORE_DOCTYPE: Final = re.compile(r"(?s)[\s\ufeff]+|<!--.*?-->|<\?[^>]*>")
_FONT_SIZES: Final = ("10px", "13px", "16px", "18px", "24px", "32px", "48px")
_MOST_SHEETS: Final = 200
_MOST_MATCHED: Final = 200_000
"""Declarations times elements."""
_MOST_STEPS: Final = 100_000_000
"""Of all rules, from element to element, as many as a second or two allow: `p ~ q` takes the square of the siblings."""

_ALONG: Final = re.compile(r"[~+]|:has\(|:nth|-of-type|-child")
_UP_OR_DOWN: Final = re.compile(r"[\s>]|:has\(")

_WITH_STYLE: Final = (
    "[style], font[color], font[size], body[text], body[bgcolor], button, mark,"
    " table[bgcolor], tbody[bgcolor], tr[bgcolor], td[bgcolor], th[bgcolor]"
)
_OF_TAGS: Final = {
    "button": parse_style("color:#000000;background-color:#efefef;font-size:13px"),
    "mark": parse_style("color:#000000;background-color:#ffff00"),
}
_PAINTED: Final = frozenset(("body", "table", "tbody", "tr", "td", "th"))
"""By `bgcolor`."""
_Weight = tuple[int, int, int, int]
_ATTRIBUTES: Final[_Weight] = (-1, 0, 0, 0)
_INLINE: Final[_Weight] = (1 << 30, 0, 0, 0)


class _Said(NamedTuple):
    """Of one element. The greater is the stronger."""

    important: bool
    weight: _Weight
    declaration: Declaration
    is_sure: bool


def drop_hidden(tree: HTMLTree, body: ElementNode, html: str) -> None:
    """Take the text that is not seen out of `body`. `html`: what `tree` was made of.

    Raises:
        TooMuchError: its styles are more than anybody writes, and what is seen cannot be told in bearable time.
    """
    root = tree.document
    if root is not None and _STYLED.search(html):
        _Page(root, body, quirks=_has_quirks(html)).drop_hidden()


def _has_quirks(html: str) -> bool:
    """Whether a browser draws it in quirks mode: without a doctype, or with one of the nineties."""
    at = 0
    while (before := _BEFORE_DOCTYPE.match(html, at)) is not None:
        at = before.end()
    return _DOCTYPE.match(html, at) is None


class _Page:
    """What is said of style, and what comes of it."""

    def __init__(self, root: DocumentNode, body: ElementNode, *, quirks: bool) -> None:
        self._root = root
        self._body = body
        self._quirks = quirks
        self._link = attribute_colour(body.getattr("link") or "") or LINK
        self._said: dict[ElementNode, list[_Said]] = {}
        self._seen: dict[ElementNode, Seen] = {}
        self._made: dict[tuple[object, ...], Seen] = {}
        """By what it was made from: rows of a table are all the same."""
        # [:] because iterating over a collection of resiliparse itself is quadratic (100 s for 8,000 elements)
        for element in root.query_selector_all(_WITH_STYLE)[:]:
            self._say(element, _ATTRIBUTES, _of_attributes(element))
            style = parse_style(element.getattr("style") or "")
            self._say(element, _INLINE, (one for one in style if is_wanted(one.name)))
        self._read_sheets()

    def _say(
        self, element: ElementNode, weight: _Weight, declarations: Iterable[Declaration], *, is_sure: bool = True
    ) -> None:
        for one in declarations:
            self._said.setdefault(element, []).append(_Said(one.important, weight, one, is_sure))

    def _read_sheets(self) -> None:
        sheets = self._root.query_selector_all("style")[:]
        if len(sheets) > _MOST_SHEETS:
            raise TooMuchError
        if not sheets:
            return
        if self._quirks:
            for element in self._root.query_selector_all("[class], [id]")[:]:
                for name in ("class", "id"):
                    if element.hasattr(name):
                        element.setattr(name, (element.getattr(name) or "").lower())
        rules: list[tuple[int, Rule, bool]] = []
        for number, sheet in enumerate(sheets):
            applies = sheet_applies(sheet.getattr("media") or "", sheet.getattr("type") or "")
            if applies is not False:
                parsed = parse_sheet(sheet.text or "", quirks=self._quirks)
                rules += [(number, rule, rule.is_sure and applies is True) for rule in parsed]
        _check_cost(self._root, [rule.selector for _, rule, _ in rules])
        left = _MOST_MATCHED
        for number, rule, is_sure in rules:
            matched = self._root.query_selector_all(rule.selector)[:]
            left -= len(matched) * len(rule.declarations)
            if left < 0:
                raise TooMuchError
            weight = (*rule.weight[:3], (number << 20) + rule.weight[3])
            for element in matched:
                self._say(element, weight, rule.declarations, is_sure=is_sure)

    def drop_hidden(self) -> None:
        cutting: list[ElementNode] = []
        looked_at: set[ElementNode] = set()
        for element in self._suspects():
            seen = self.of(element)
            if seen.gone:
                element.setattr("hidden", "")
            elif seen.is_hidden and element not in looked_at:
                within = [element, *element.query_selector_all("*")[:]]
                looked_at.update(within)
                for each in within:
                    if self.of(each).is_hidden:
                        _blank_texts(each)
            elif seen.cut:
                cutting.append(element)
        if self.of(self._body).gone:
            while (child := self._body.first_child) is not None:
                self._body.remove_child(child)
        budget = Budget()
        for element in cutting:
            drop_below_edge(element, self.of, budget)

    def _suspects(self) -> Iterator[ElementNode]:
        """The elements whose own style may hide text in them."""
        body, left = self._body, _MOST_MATCHED
        yield body
        unique = {id(one.declaration): one.declaration for said in self._said.values() for one in said}
        paints = {key: paint_of(one, quirks=self._quirks) for key, one in unique.items()}
        faint = faint_of(paints.values(), self._link)
        if faint is not None and not faint.texts:
            return
        for element, said in self._said.items():
            if faint is None:
                yield element
            elif any((paint := paints[id(one.declaration)]) and paint.meets(faint) for one in said):
                yield element
                seen = self.of(element)
                if seen.behind != seen.block_behind:  # a block in it stands on something else
                    within = element.query_selector_all("*")[:left]
                    left -= len(within)
                    if left <= 0:
                        raise TooMuchError
                    yield from within
        if self._quirks and (faint is None or self.of(body).colour in faint.texts):
            yield from body.query_selector_all("table")[:]
        if faint is None or self._link in faint.texts:
            yield from body.query_selector_all("a[href]")[:]

    def of(self, element: ElementNode) -> Seen:
        """Not recursive: HTML may nest 100,000 deep."""
        chain: list[ElementNode] = []
        node: Node | None = element
        while isinstance(node, ElementNode) and node not in self._seen:
            chain.append(node)
            node = node.parent
        seen = self._seen[node] if isinstance(node, ElementNode) else Seen()
        for above in reversed(chain):
            seen = self._seen[above] = self._of(above, seen)
        return seen

    def _of(self, element: ElementNode, around: Seen) -> Seen:
        tag, own = element.tag or "", None
        if tag == "a" and element.hasattr("href"):
            own = self._link
        elif tag == "table" and self._quirks:
            # Quirks Mode Standard 3.5 and HTML 15.3.10: begins anew, as in the body
            body, above = self.of(self._body), around
            own = body.colour
            around = self._once(
                (id(above), id(body)),
                lambda: replace(above, font_px=body.font_px, indent_px=0.0, line_px=body.line_px),
            )
        elif tag in ("body", "html") and element.hasattr("hidden"):
            return replace(around, gone=True)
        said = self._said.get(element, [])
        if not said and own is None:
            return around
        said.sort(key=lambda one: (one.important, one.weight))
        kind = Element(tag, own, self._quirks)
        key = (id(around), kind, tuple(id(one.declaration) for one in said))  # of objects that live as long as this one
        return self._once(key, lambda: _computed(around, said, kind))

    def _once(self, key: tuple[object, ...], make: Callable[[], Seen]) -> Seen:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _computed(around: Seen, said: Sequence[_Said], kind: Element) -> Seen:
    all_said, sure = ([one.declaration for one in said if one.is_sure or unsure] for unsure in (True, False))
    # where it cannot be told what applies, whatever hides does
    for other in ([], *([one.declaration] for one in said if not one.is_sure)):
        seen = compute(around, sure + other, kind)
        if seen.is_hidden:
            return seen
    return compute(around, all_said, kind) if len(sure) < len(said) else seen


def _of_attributes(element: ElementNode) -> tuple[Declaration, ...]:
    get, tag = element.getattr, element.tag or ""
    colour = get("color") if tag == "font" else get("text") if tag == "body" else ""
    behind = get("bgcolor") if tag in _PAINTED else ""
    return _said_by(tag, colour or "", behind or "", (get("size") or "") if tag == "font" else "")


@lru_cache(maxsize=4096)
def _said_by(tag: str, colour: str, behind: str, size: str) -> tuple[Declaration, ...]:
    found = list(_OF_TAGS.get(tag, ()))
    for name, text in (("color", colour), ("background-color", behind)):
        value = attribute_colour(text)
        if value is not None:
            red, green, blue = (round(255 * part) for part in value[:3])
            found.append(Declaration(name, f"#{red:02x}{green:02x}{blue:02x}", important=False))
    if (size := size.strip()).isdigit() and len(size) < 3:
        found.append(Declaration("font-size", _FONT_SIZES[min(max(int(size), 1), 7) - 1], important=False))
    return tuple(found)


def _check_cost(root: DocumentNode, selectors: Sequence[str]) -> None:
    """
    Raises:
        TooMuchError: it takes too many steps from element to element to find what the selectors match.
    """
    up = sum(1 for selector in selectors if _UP_OR_DOWN.search(selector))
    along = sum(1 for selector in selectors if _ALONG.search(selector))
    depths: dict[Node | None, int] = {}
    within: Counter[Node | None] = Counter()
    elements = root.query_selector_all("*")[:]
    for element in elements if up or along else ():
        depths[element] = depths.get(element.parent, 0) + 1
        within[element.parent] += 1
    to_root, beside = sum(depths.values()), sum(number**2 for number in within.values())
    if up * to_root + along * beside + len(selectors) * len(elements) > _MOST_STEPS:
        raise TooMuchError


def _blank_texts(element: ElementNode) -> None:
    """A reader sees a gap where there was one: `V<s>x</s>iagra` reads as one word."""
    child = element.first_child
    while child is not None:
        value = child.value or "" if child.type == NodeType.TEXT else ""
        if value.strip():
            child.value = " " if value[0].isspace() or value[-1].isspace() else ""
        child = child.next
