"""Text of HTML that a reader does not see: it is no part of the message.

A sender can write one thing for people and another for machines. Styles are computed as a browser does (style sheets,
attributes, the cascade, inheritance), pictures not loaded, and text that would not be seen is taken out of the tree.
The page is not drawn: what only its layout hides stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from resiliparse.parse.html import DocumentNode, ElementNode, HTMLTree, Node, NodeType

from vaultembed.text.html.colours import LINK, Colour, attribute_colour
from vaultembed.text.html.overflow import Budget, drop_below_edge
from vaultembed.text.html.shorthands import is_wanted
from vaultembed.text.html.style import Element, Seen, compute
from vaultembed.text.html.stylesheets import Declaration, Rule, TooMuchError, parse_sheet, parse_style, sheet_applies

_STYLED: Final = re.compile(r"(?i)style|color\s*=|\btext\s*=|\bhidden\b")
_DOCTYPE: Final = re.compile(r"(?i)<!doctype\s+html(?:\s*>|\s+(?:system|public)[^>]{0,400}http)")
_BEFORE_DOCTYPE: Final = re.compile(r"(?s)[\s\ufeff]+|<!--.*?-->|<\?[^>]*>")
_FONT_SIZES: Final = ("10px", "13px", "16px", "18px", "24px", "32px", "48px")
_MOST_SHEETS: Final = 200
_MOST_MATCHED: Final = 200_000
"""Declarations times elements."""
_MOST_STEPS: Final = 200_000_000
"""Of all rules, from element to element, as many as 2 s allow: `p ~ q` takes the square of the siblings."""

_ALONG: Final = re.compile(r"[~+]|:has\(|:nth|-of-type|-child")
_UP_OR_DOWN: Final = re.compile(r"[\s>]|:has\(")

_Weight = tuple[int, int, int, int]
_ATTRIBUTES: Final[_Weight] = (-1, 0, 0, 0)
_INLINE: Final[_Weight] = (1 << 30, 0, 0, 0)
_Styles = dict[ElementNode, list[tuple[bool, _Weight, Declaration]]]


def drop_hidden(tree: HTMLTree, body: ElementNode, html: str) -> None:
    """Take the text that is not seen out of `body`. `html`: what `tree` was made of.

    Raises:
        TooMuchError: its styles are more than anybody writes, and what is seen cannot be told in bearable time.
    """
    if not _STYLED.search(html):
        return
    styles = _Stylist(tree, body, quirks=_has_quirks(html))
    if styles.of(body).gone:
        while (child := body.first_child) is not None:
            body.remove_child(child)
        return
    budget = Budget()
    # The lowest element that changes anything decides for all text below it up to the next that does.
    for element in styles.styled():
        style = styles.of(element)
        if style.is_hidden:
            styles.drop_text(element)
        elif style.cut_px is not None and styles.own(element) is not None:
            drop_below_edge(element, style, styles.own, budget)


def _has_quirks(html: str) -> bool:
    """Whether a browser draws it in quirks mode: without a doctype, or with one of the nineties."""
    at = 0
    while (before := _BEFORE_DOCTYPE.match(html, at)) is not None:
        at = before.end()
    return _DOCTYPE.match(html, at) is None


class _Stylist:
    """Computes styles, each element's once."""

    def __init__(self, tree: HTMLTree, body: ElementNode, *, quirks: bool) -> None:
        self._body = body
        self._quirks = quirks
        self._link = attribute_colour(body.getattr("link") or "") or LINK
        self._inline: _Styles = {}
        self._rules: _Styles = {}
        self._computed: dict[ElementNode, Seen] = {}
        self._alike: dict[tuple[int, Element, tuple[int, ...]], Seen] = {}
        """By parent's style, element and declarations: rows of a table are all the same."""
        self._visited: set[ElementNode] = set()
        root = tree.document
        if root is not None:
            self._read(root)

    def styled(self) -> Iterator[ElementNode]:
        """The body, and whatever has a style of its own."""
        yield self._body
        yield from self._inline
        yield from (element for element in self._rules if element not in self._inline)
        if self._quirks:
            yield from self._body.query_selector_all("table")[:]

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
        return self.of(element) if element in self._inline or element in self._rules else None

    def _of_child(self, element: ElementNode, parent: Seen) -> Seen:
        tag = element.tag or ""
        own: Colour | None = None
        if tag == "a" and element.hasattr("href"):
            own = self._link
        elif tag == "table" and self._quirks:
            # Quirks Mode Standard 3.5 and HTML 15.3.10: begins anew, as in the body
            body = self.of(self._body)
            own, parent = body.colour, self._around_table(parent, body)
        elif tag in ("body", "html") and element.hasattr("hidden"):
            return replace(parent, gone=True)
        found = [*self._rules.get(element, ()), *self._inline.get(element, ())]
        if not found and own is None:
            return parent
        if len(found) > 1:
            found.sort(key=lambda one: (one[0], one[1]))
        return self._compute(parent, [declaration for _, _, declaration in found], Element(tag, own, self._quirks))

    def _around_table(self, parent: Seen, body: Seen) -> Seen:
        key = (id(parent), Element(""), (id(body),))
        if key not in self._alike:
            self._alike[key] = replace(
                parent, font_px=body.font_px, indent_px=0.0, line_px=body.line_px, line_factor=body.line_factor
            )
        return self._alike[key]

    def _compute(self, parent: Seen, declarations: list[Declaration], element: Element) -> Seen:
        key = (id(parent), element, tuple(map(id, declarations)))  # of objects that live as long as this one
        seen = self._alike.get(key)
        if seen is None:
            seen = self._alike[key] = compute(parent, declarations, element)
        return seen

    def drop_text(self, top: ElementNode) -> None:
        """All that is not seen below `top`."""
        stack: list[Node] = [top]
        while stack:
            node = stack.pop()
            if isinstance(node, ElementNode):
                if node in self._visited:
                    continue
                self._visited.add(node)
                seen = self.of(node)
                if seen.gone:
                    node.setattr("hidden", "")
                    continue
                hides = seen.is_hidden
                child = node.first_child
                texts: list[Node] = []
                while child is not None:
                    if isinstance(child, ElementNode):
                        stack.append(child)
                    elif hides and child.type == NodeType.TEXT:
                        texts.append(child)
                    child = child.next
                for text in texts:
                    _blank(text)

    def _read(self, root: DocumentNode) -> None:
        # [:] because iterating over a collection of resiliparse itself is quadratic (100 s for 8,000 elements)
        for element in root.query_selector_all("[style]")[:]:
            declarations = [one for one in parse_style(element.getattr("style") or "") if is_wanted(one.name)]
            if declarations:
                self._inline[element] = [(one.important, _INLINE, one) for one in declarations]
        for selector in ("body[bgcolor]", *(f"{part}[bgcolor]" for part in ("table", "tbody", "tr", "td", "th"))):
            self._read_colours(root, selector, "bgcolor", "background-color")
        self._read_colours(root, "font[color]", "color", "color")
        self._read_colours(root, "body[text]", "text", "color")
        for element in root.query_selector_all("font[size]")[:]:
            size = (element.getattr("size") or "").strip()
            if size.isdigit() and len(size) < 3:
                self._add(element, "font-size", _FONT_SIZES[min(max(int(size), 1), 7) - 1])
        for tag, colour, background in (("button", "#000000", "#efefef"), ("mark", "#000000", "#ffff00")):
            for element in root.query_selector_all(tag)[:]:
                self._add(element, "color", colour)
                self._add(element, "background-color", background)
        for element in root.query_selector_all("button")[:]:
            self._add(element, "font-size", "13px")
        self._read_sheets(root)

    def _read_colours(self, root: DocumentNode, selector: str, attribute: str, name: str) -> None:
        for element in root.query_selector_all(selector)[:]:
            colour = attribute_colour(element.getattr(attribute) or "")
            if colour is not None:
                red, green, blue = (round(255 * part) for part in colour[:3])
                self._add(element, name, f"#{red:02x}{green:02x}{blue:02x}")

    def _add(self, element: ElementNode, name: str, value: str) -> None:
        """Of an attribute: weaker than any style."""
        declaration = Declaration(name, value, important=False)
        self._rules.setdefault(element, []).append((False, _ATTRIBUTES, declaration))

    def _read_sheets(self, root: DocumentNode) -> None:
        sheets = [
            text
            for sheet in root.query_selector_all("style")[:]
            if (text := sheet.text or "").strip()
            and sheet_applies(sheet.getattr("media") or "", sheet.getattr("type") or "")
        ]
        if not sheets:
            return
        if len(sheets) > _MOST_SHEETS:
            raise TooMuchError
        if self._quirks:
            for element in root.query_selector_all("[class], [id]")[:]:
                for name in ("class", "id"):
                    if element.hasattr(name):
                        element.setattr(name, (element.getattr(name) or "").lower())
        names = _names(root)
        cost = _Cost(root)
        left = _MOST_MATCHED
        for number, sheet in enumerate(sheets):
            for rule in parse_sheet(sheet, is_wanted, quirks=self._quirks):
                if not rule.names <= names:
                    continue
                cost.charge(rule.selector)
                matched = _matched(root, rule)
                left -= len(matched) * len(rule.declarations)
                if left < 0:
                    raise TooMuchError
                weight = (*rule.weight[:3], (number << 20) + rule.weight[3])
                for element in matched:
                    self._rules.setdefault(element, []).extend(
                        (one.important, weight, one) for one in rule.declarations
                    )


class _Cost:
    """How many steps from element to element it takes to find what selectors match."""

    def __init__(self, root: DocumentNode) -> None:
        self._left = _MOST_STEPS
        self._size = 0
        self._up = 0
        """Steps from every element to the root: as many as from all down to everything in them."""
        self._along = 0
        """From every element to each of its siblings."""
        level: list[ElementNode] = list(root.query_selector_all("html")[:])
        depth = 1
        while level:
            self._size += len(level)
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

    def charge(self, selector: str) -> None:
        """
        Raises:
            TooMuchError: it would take too long.
        """
        steps = self._size
        if _ALONG.search(selector):
            steps += self._along
        if _UP_OR_DOWN.search(selector):
            steps += self._up
        self._left -= steps
        if self._left < 0:
            raise TooMuchError


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
