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

from vaultembed.text.colours import LINK, Colour, attribute_colour
from vaultembed.text.css import Declaration, Rule, parse_sheet, parse_style
from vaultembed.text.cut import drop_below_edge
from vaultembed.text.seen import Seen, compute, is_wanted

_STYLED: Final = re.compile(r"(?i)style|color\s*=|\btext\s*=")
_STANDARDS: Final = re.compile(
    r"(?is)\s*(?:<!--.*?-->\s*|<\?[^>]*>\s*)*<!doctype\s+html(?:\s*>|\s+(?:system|public)[^>]*http)"
)
_MOST_SHEETS: Final = 50
_MOST_CUTS: Final = 200
_MOST_MATCHED: Final = 200_000
_MOST_MATCHES: Final = 5_000_000
"""Selectors times elements."""

_Weight = tuple[int, int, int, int]
_ATTRIBUTES: Final[_Weight] = (-1, 0, 0, 0)
_Styles = dict[ElementNode, list[tuple[bool, _Weight, Declaration]]]


def drop_hidden(tree: HTMLTree, body: ElementNode, html: str) -> None:
    """Take the text that is not seen out of `body`. `html`: what `tree` was made of."""
    if not _STYLED.search(html):
        return
    styles = _Stylist(tree, body, quirks=_STANDARDS.match(html) is None)
    cuts = 0
    # The lowest element that changes anything decides for all text below it up to the next that does.
    for element in styles.styled():
        style = styles.of(element)
        if style.is_hidden:
            styles.drop_text(element)
        elif style.cut_px is not None and styles.own(element) is not None and cuts < _MOST_CUTS:
            cuts += 1
            drop_below_edge(element, style, styles.own)


class _Stylist:
    """Computes styles, each element's once."""

    def __init__(self, tree: HTMLTree, body: ElementNode, quirks: bool) -> None:
        self._body = body
        self._quirks = quirks
        self._link = attribute_colour(body.getattr("link") or "") or LINK
        self._inline: _Styles = {}
        self._rules: _Styles = {}
        self._computed: dict[ElementNode, Seen] = {}
        self._alike: dict[tuple[int, Colour | None, tuple[int, ...]], Seen] = {}
        """By parent's style, own colour and declarations: rows of a table are all the same."""
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
        tag = element.tag
        own: Colour | None = None
        if tag == "a" and element.hasattr("href"):
            own = self._link
        elif tag == "table" and self._quirks:
            # Quirks Mode Standard 3.5 and HTML 15.3.10: begins anew, as in the body
            body = self.of(self._body)
            own, parent = body.colour, self._around_table(parent, body)
        if element not in self._inline and element not in self._rules:
            return parent if own is None else self._compute(parent, [], own)
        found = [*self._rules.get(element, ()), *self._inline.get(element, ())]
        if len(found) > 1:
            found.sort(key=lambda one: (one[0], one[1]))
        seen = self._compute(parent, [declaration for _, _, declaration in found], own)
        # the background of the body is that of the page
        return replace(seen, painted=False) if tag == "body" else seen

    def _around_table(self, parent: Seen, body: Seen) -> Seen:
        key = (id(parent), None, (id(body),))
        if key not in self._alike:
            self._alike[key] = replace(parent, font_px=body.font_px, indent_px=0.0)
        return self._alike[key]

    def _compute(self, parent: Seen, declarations: list[Declaration], own: Colour | None) -> Seen:
        key = (id(parent), own, tuple(map(id, declarations)))  # of objects that live as long as this one
        seen = self._alike.get(key)
        if seen is None:
            seen = self._alike[key] = compute(parent, declarations, own)
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
                self._inline[element] = [(one.important, (1 << 30, 0, 0, 0), one) for one in declarations]
        self._read_attributes(root)
        self._read_sheets(root)

    def _read_attributes(self, root: DocumentNode) -> None:
        for name, selector in (("background-color", "bgcolor"), ("color", "color"), ("color", "text")):
            where = {"color": "font[color]", "text": "body[text]"}.get(selector, f"[{selector}]")
            for element in root.query_selector_all(where)[:]:
                colour = attribute_colour(element.getattr(selector) or "")
                if colour is not None:
                    red, green, blue = (round(255 * part) for part in colour[:3])
                    declaration = Declaration(name, f"#{red:02x}{green:02x}{blue:02x}", important=False)
                    self._rules.setdefault(element, []).append((False, _ATTRIBUTES, declaration))

    def _read_sheets(self, root: DocumentNode) -> None:
        sheets = root.query_selector_all("style")[:_MOST_SHEETS]
        text = "\n".join(sheet.text or "" for sheet in sheets if _applies(sheet))
        rules = parse_sheet(text, is_wanted) if text.strip() else ()
        if not rules:
            return
        names = _names(root)
        left, matches = _MOST_MATCHED, _MOST_MATCHES
        size = max(len(root.query_selector_all("*")), 1)
        for rule in rules:
            if not rule.names <= names:
                continue
            matches -= size
            if left <= 0 or matches <= 0:
                break
            for element in _matched(root, rule)[:left]:
                self._rules.setdefault(element, []).extend(
                    (one.important, rule.weight, one) for one in rule.declarations
                )
                left -= 1


def _blank(text: Node) -> None:
    """A reader sees a gap where there was one: `V<s>x</s>iagra` reads as one word."""
    value = text.value or ""
    if value.strip():
        text.value = " " if value[0].isspace() or value[-1].isspace() else ""


def _applies(sheet: ElementNode) -> bool:
    media = (sheet.getattr("media") or "").lower()
    return not media or any(word in media for word in ("all", "screen"))


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
