"""Text of HTML that a reader does not see: it is no part of the message.

A sender can write one thing for people and another for machines. Styles are computed as a browser does (style sheets,
attributes, the cascade, inheritance), pictures not loaded, and text that would not be seen is taken out of the tree.
The page is not drawn: what only its layout hides stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from resiliparse.parse.html import DocumentNode, ElementNode, HTMLTree, Node, NodeType

from vaultembed.text.html.colours import LINK, attribute_colour
from vaultembed.text.html.harmless import Paint, faint_of, paint_of
from vaultembed.text.html.overflow import Budget, drop_below_edge
from vaultembed.text.html.shorthands import is_wanted
from vaultembed.text.html.style import Element, Seen, compute
from vaultembed.text.html.stylesheets import Declaration, Rule, TooMuchError, parse_sheet, parse_style, sheet_applies

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
    tag: parse_style(style)
    for tag, style in {
        "button": "color:#000000;background-color:#efefef;font-size:13px",
        "mark": "color:#000000;background-color:#ffff00",
    }.items()
}
_PAINTED: Final = frozenset(("body", "table", "tbody", "tr", "td", "th"))
"""By `bgcolor`."""
_Weight = tuple[int, int, int, int]
_ATTRIBUTES: Final[_Weight] = (-1, 0, 0, 0)
_INLINE: Final[_Weight] = (1 << 30, 0, 0, 0)
_Said = list[tuple[bool, _Weight, Declaration]]


def drop_hidden(tree: HTMLTree, body: ElementNode, html: str) -> None:
    """Take the text that is not seen out of `body`. `html`: what `tree` was made of.

    Raises:
        TooMuchError: its styles are more than anybody writes, and what is seen cannot be told in bearable time.
    """
    root = tree.document
    if root is None or not _STYLED.search(html):
        return
    page = _Page(root, body, quirks=_has_quirks(html))
    faint = page.faint()
    if faint is not None and not faint.texts:
        return
    styles = _Stylist(page)
    if styles.of(body).gone:
        while (child := body.first_child) is not None:
            body.remove_child(child)
        return
    budget = Budget()
    # The lowest element that changes anything decides for all text below it up to the next that does.
    for element in styles.suspects(faint):
        seen = styles.of(element)
        if seen.is_hidden:
            styles.drop_text(element)
        elif seen.cut_px is not None:
            drop_below_edge(element, seen, styles.own, budget)


def _has_quirks(html: str) -> bool:
    """Whether a browser draws it in quirks mode: without a doctype, or with one of the nineties."""
    at = 0
    while (before := _BEFORE_DOCTYPE.match(html, at)) is not None:
        at = before.end()
    return _DOCTYPE.match(html, at) is None


class _Page:
    """What is said of style, and where."""

    def __init__(self, root: DocumentNode, body: ElementNode, *, quirks: bool) -> None:
        self.root = root
        self.body = body
        self.quirks = quirks
        self.link = attribute_colour(body.getattr("link") or "") or LINK
        # [:] because iterating over a collection of resiliparse itself is quadratic (100 s for 8,000 elements)
        elements = root.query_selector_all(_WITH_STYLE)[:]
        self.own = [(element, _of_attributes(element), _of_style(element)) for element in elements]
        sheets = [
            text
            for sheet in root.query_selector_all("style")[:]
            if (text := sheet.text or "").strip()
            and sheet_applies(sheet.getattr("media") or "", sheet.getattr("type") or "")
        ]
        if len(sheets) > _MOST_SHEETS:
            raise TooMuchError
        if sheets and quirks:
            for element in root.query_selector_all("[class], [id]")[:]:
                for name in ("class", "id"):
                    if element.hasattr(name):
                        element.setattr(name, (element.getattr(name) or "").lower())
        names = _names(root) if sheets else set()
        self.rules = [
            (number, rule)
            for number, sheet in enumerate(sheets)
            for rule in parse_sheet(sheet, is_wanted, quirks=quirks)
            if rule.names <= names
        ]

    def faint(self) -> Paint | None:
        """As `faint_of`."""
        if any(isinstance(one, ElementNode) and one.hasattr("hidden") for one in (self.body, self.body.parent)):
            return None
        said = {id(one): one for _, *both in self.own for one in both}
        said |= {id(rule.declarations): rule.declarations for _, rule in self.rules}
        return self.faint_of(said.values())

    def faint_of(self, said: Iterable[tuple[Declaration, ...]]) -> Paint | None:
        return faint_of((paint_of(one, quirks=self.quirks) for one in said), self.link)


def _of_style(element: ElementNode) -> tuple[Declaration, ...]:
    style = element.getattr("style")
    return parse_style(style) if style else ()


def _of_attributes(element: ElementNode) -> tuple[Declaration, ...]:
    get, tag = element.getattr, element.tag or ""
    colour = get("color") if tag == "font" else get("text") if tag == "body" else ""
    return _said_by(tag, colour or "", get("bgcolor") or "", (get("size") or "") if tag == "font" else "")


@lru_cache(maxsize=4096)
def _said_by(tag: str, colour: str, behind: str, size: str) -> tuple[Declaration, ...]:
    found = list(_OF_TAGS.get(tag, ()))
    for name, text in (("color", colour), ("background-color", behind if tag in _PAINTED else "")):
        value = attribute_colour(text)
        if value is not None:
            red, green, blue = (round(255 * part) for part in value[:3])
            found.append(Declaration(name, f"#{red:02x}{green:02x}{blue:02x}", important=False))
    if (size := size.strip()).isdigit() and len(size) < 3:
        found.append(Declaration("font-size", _FONT_SIZES[min(max(int(size), 1), 7) - 1], important=False))
    return tuple(found)


class _Stylist:
    """Computes styles, each element's once."""

    def __init__(self, page: _Page) -> None:
        self._page = page
        self._said: dict[ElementNode, _Said] = {}
        """By element, of those with a style of their own."""
        self._computed: dict[ElementNode, Seen] = {}
        self._alike: dict[tuple[int, Element, tuple[int, ...]], Seen] = {}
        """By parent's style, element and declarations: rows of a table are all the same."""
        self._visited: set[ElementNode] = set()
        for element, attributes, style in page.own:
            self._say(element, _ATTRIBUTES, attributes)
            self._say(element, _INLINE, [one for one in style if is_wanted(one.name)])
        self._read_sheets()

    def _say(self, element: ElementNode, weight: _Weight, declarations: Sequence[Declaration]) -> None:
        if declarations:
            self._said.setdefault(element, []).extend((one.important, weight, one) for one in declarations)

    def suspects(self, faint: Paint | None) -> Iterator[ElementNode]:
        """The elements whose own style may hide text. `faint`: the colours of which one has to be in it, if any."""
        page, body, left = self._page, self._page.body, _MOST_MATCHED
        yield body
        for element, said in self._said.items():
            if faint is None:
                yield element
            elif self._meets(said, faint):
                yield element
                seen = self.of(element)
                if seen.behind != seen.block_behind:  # a block in it stands on something else
                    within = element.query_selector_all("*")[:left]
                    left -= len(within)
                    if left <= 0:
                        raise TooMuchError
                    yield from within
        if page.quirks and (faint is None or self.of(body).colour in faint.texts):
            yield from body.query_selector_all("table")[:]
        if faint is None or page.link in faint.texts:
            yield from body.query_selector_all("a[href]")[:]

    def _meets(self, said: _Said, faint: Paint) -> bool:
        paint = paint_of(tuple(one for _, _, one in said), quirks=self._page.quirks)
        return paint is None or paint.meets(faint)

    def of(self, element: ElementNode) -> Seen:
        """Not recursive: HTML may nest 100,000 deep."""
        chain: list[ElementNode] = []
        node: Node | None = element
        while isinstance(node, ElementNode) and node not in self._computed:
            chain.append(node)
            node = node.parent
        seen = self._computed[node] if isinstance(node, ElementNode) else Seen()
        for above in reversed(chain):
            seen = self._computed[above] = self._of_child(above, seen)
        return seen

    def own(self, element: ElementNode) -> Seen | None:
        """None where it has no style of its own."""
        return self.of(element) if element in self._said else None

    def _of_child(self, element: ElementNode, parent: Seen) -> Seen:
        tag, own = element.tag or "", None
        if tag == "a" and element.hasattr("href"):
            own = self._page.link
        elif tag == "table" and self._page.quirks:
            # Quirks Mode Standard 3.5 and HTML 15.3.10: begins anew, as in the body
            body = self.of(self._page.body)
            own, parent = body.colour, self._around_table(parent, body)
        elif tag in ("body", "html") and element.hasattr("hidden"):
            return replace(parent, gone=True)
        found = self._said.get(element, [])
        if not found and own is None:
            return parent
        if len(found) > 1:
            found.sort(key=lambda one: (one[0], one[1]))
        kind = Element(tag, own, self._page.quirks)
        key = (id(parent), kind, tuple(id(one) for _, _, one in found))  # of objects that live as long as this one
        seen = self._alike.get(key)
        if seen is None:
            seen = self._alike[key] = compute(parent, [one for _, _, one in found], kind)
        return seen

    def _around_table(self, parent: Seen, body: Seen) -> Seen:
        key = (id(parent), Element(""), (id(body),))
        if key not in self._alike:
            self._alike[key] = replace(
                parent, font_px=body.font_px, indent_px=0.0, line_px=body.line_px, line_factor=body.line_factor
            )
        return self._alike[key]

    def drop_text(self, top: ElementNode) -> None:
        """All that is not seen below `top`."""
        stack = [(top, self.of(top))]
        while stack:
            element, seen = stack.pop()
            if element in self._visited:
                continue
            self._visited.add(element)
            if seen.gone:
                element.setattr("hidden", "")
                continue
            child = element.first_child
            while child is not None:
                if isinstance(child, ElementNode):
                    found = self._computed.get(child)
                    if found is None:
                        found = self._computed[child] = self._of_child(child, seen)
                    stack.append((child, found))
                elif seen.is_hidden and child.type == NodeType.TEXT:
                    _blank(child)
                child = child.next

    def _read_sheets(self) -> None:
        page = self._page
        cost = _Cost(page.root)
        left = _MOST_MATCHED
        for number, rule in page.rules:
            said = rule.declarations
            if not rule.is_sure:
                said = tuple(one for one in said if page.faint_of([(one,)]) != Paint())
            if not said:
                continue
            cost.charge(rule.selector)
            matched = _matched(page.root, rule)
            left -= len(matched) * len(said)
            if left < 0:
                raise TooMuchError
            for element in matched:
                self._say(element, (*rule.weight[:3], (number << 20) + rule.weight[3]), said)


class _Cost:
    """How many steps from element to element it takes to find what selectors match."""

    def __init__(self, root: DocumentNode) -> None:
        self._root = root
        self._left = _MOST_STEPS
        self._size = len(root.query_selector_all("*"))
        # steps from every element to the root, as many as down to everything in it; and to each of its siblings
        self._up = self._along = self._size**2
        self._is_exact = False

    def charge(self, selector: str) -> None:
        """
        Raises:
            TooMuchError: it would take too long.
        """
        self._left -= self._steps(selector)
        if self._left < 0 and not self._is_exact:
            self._measure()
            self._left = _MOST_STEPS // 2 - self._steps(selector)
        if self._left < 0:
            raise TooMuchError

    def _steps(self, selector: str) -> int:
        along = self._along if _ALONG.search(selector) else 0
        return self._size + along + (self._up if _UP_OR_DOWN.search(selector) else 0)

    def _measure(self) -> None:
        self._is_exact = True
        self._up = self._along = 0
        level: list[ElementNode] = list(self._root.query_selector_all("html")[:])
        depth = 1
        while level:
            self._up += depth * len(level)
            depth += 1
            below: list[ElementNode] = []
            for element in level:
                before = len(below)
                child = element.first_element_child
                while child is not None:
                    below.append(child)
                    child = child.next_element_sibling
                self._along += (len(below) - before) ** 2
            level = below


def _blank(text: Node) -> None:
    """A reader sees a gap where there was one: `V<s>x</s>iagra` reads as one word."""
    value = text.value or ""
    if value.strip():
        text.value = " " if value[0].isspace() or value[-1].isspace() else ""


def _matched(root: DocumentNode, rule: Rule) -> list[ElementNode]:
    try:
        return list(root.query_selector_all(rule.selector)[:])
    except ValueError:  # a selector of another kind of program's
        return []


def _names(root: DocumentNode) -> set[str]:
    """`.class` and `#id` of all elements."""
    found = {"#" + (element.getattr("id") or "") for element in root.query_selector_all("[id]")[:]}
    for classes in {element.getattr("class") or "" for element in root.query_selector_all("[class]")[:]}:
        found.update("." + name for name in classes.split())
    return found
