"""HTML that a reader does not see, by its own style or by a style sheet: it is no part of the message's text.

A sender can write one thing for people and another for machines. What is hidden in the usual ways is marked, and the
extraction leaves it out. Where it cannot be told without drawing the page, text stays.
"""

from __future__ import annotations

import re
from typing import Final

from resiliparse.parse.html import ElementNode, HTMLTree

_MAYBE: Final = re.compile(
    r"(?i)display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide|font-size\s*:\s*[01](?!\d)|font-size\s*:\s*\."
    r"|opacity\s*:\s*[0.]|height\s*:\s*0|width\s*:\s*0|text-indent\s*:\s*-|(?:left|top|right|bottom)\s*:\s*-"
    r"|transparent|clip\s*:|clip-path\s*:|scale\(|(?<![-\w])color\s*[:=]"
)
_START: Final = r"(?:^|[;\s{])"
_END: Final = r"\s*(?:;|$|!|\})"
_HIDDEN: Final = re.compile(
    rf"(?i){_START}(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all"
    rf"|opacity\s*:\s*(?:0?\.0\d*|0(?:\.0\d*)?%?){_END}"
    rf"|color\s*:\s*(?:transparent|rgba\([^)]{{0,40}},\s*0?(?:\.0+)?\s*\)){_END}"
    rf"|text-indent\s*:\s*-\d{{3,}}|clip\s*:\s*rect\(\s*[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?\s*\)"
    r"|transform\s*:\s*scale\(\s*0)"
)
_NO_SIZE: Final = re.compile(
    rf"(?i){_START}font-size\s*:\s*(?:0(?:\.0+)?(?:px|pt|em|rem|%)?|(?:0?\.\d+|1(?:\.\d+)?)(?:px|pt)){_END}"
)
_PLACED: Final = re.compile(rf"(?i){_START}position\s*:\s*(?:absolute|fixed)")
_OFF_PAGE: Final = re.compile(rf"(?i){_START}(?:left|top|right|bottom)\s*:\s*-\d{{3,}}")
_FLAT: Final = re.compile(rf"(?i){_START}(?:max-)?(?:height|width)\s*:\s*0(?:px)?{_END}")
_CUT: Final = re.compile(rf"(?i){_START}overflow(?:-[xy])?\s*:\s*(?:hidden|clip)")
_OWN: Final = re.compile(rf"(?i){_START}(?:display|visibility)\s*:\s*(?!none|hidden)")

_SIMPLE_SELECTOR: Final = re.compile(r"[a-zA-Z0-9]{0,20}(?:[.#][a-zA-Z_][a-zA-Z0-9_\-]{0,60}){1,3}")
_MOST_CSS: Final = 200_000
_MOST_SELECTORS: Final = 100
_MOST_MARKED: Final = 20_000
_MOST_COLOURED: Final = 5_000
_DEEPEST: Final = 40

_COLOUR: Final = re.compile(rf"(?i){_START}color\s*:\s*([^;!}}]+)")
_BACKGROUND: Final = re.compile(rf"(?i){_START}background(?:-color)?\s*:\s*([^;!}}]+)")
_RGB: Final = re.compile(r"rgba?\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)")
_WHITE: Final = "#ffffff"
_NAMES: Final = {"white": _WHITE, "black": "#000000"}


def mark_hidden(tree: HTMLTree, body: ElementNode, html: str) -> None:
    """Give every element that is not seen the attribute `hidden`."""
    if not _MAYBE.search(html):
        return
    # [:] because iterating over a collection of resiliparse itself is quadratic (100 s for 8,000 elements).
    for element in body.query_selector_all("[style]")[:]:
        style = element.getattr("style") or ""
        if is_hidden(style) or _has_no_size(element, style):
            element.setattr("hidden", "")
    sheets = _style_sheets(tree)
    _hide_by_sheets(body, sheets)
    if "background" not in sheets.lower():
        _hide_by_colour(body)


def is_hidden(style: str) -> bool:
    """Whether a style, whatever it stands on, hides."""
    return bool(
        _HIDDEN.search(style)
        or (_PLACED.search(style) and _OFF_PAGE.search(style))
        or (_FLAT.search(style) and _CUT.search(style))
    )


def _has_no_size(element: ElementNode, style: str) -> bool:
    """Newsletters set font-size:0 on a cell to close gaps, and a real size on what stands in it."""
    return bool(_NO_SIZE.search(style)) and element.query_selector('[style*="font-size"]') is None


def _style_sheets(tree: HTMLTree) -> str:
    """Without comments. Taken apart by splitting: a pattern would look for an end that never comes, again and again."""
    root = tree.document
    if root is None:
        return ""
    sheets = "\n".join(sheet.text or "" for sheet in root.query_selector_all("style")[:_MOST_SELECTORS])[:_MOST_CSS]
    first, *rest = sheets.split("/*")
    return " ".join([first, *(part.partition("*/")[2] for part in rest)])


def _hide_by_sheets(body: ElementNode, sheets: str) -> None:
    """By rules that hold on every screen, for a name of a class or an element: those within @media may be for another
    screen than the reader's."""
    selectors: dict[str, str] = {}
    for rule in _without_blocks(sheets).split("}"):
        names, _, style = rule.rpartition("{")
        if is_hidden(style) or _NO_SIZE.search(style):
            selectors |= {name.strip(): style for name in names.split(",") if _SIMPLE_SELECTOR.fullmatch(name.strip())}
    left = _MOST_MARKED
    for selector, style in list(selectors.items())[:_MOST_SELECTORS]:
        for element in body.query_selector_all(selector)[:left]:
            own = element.getattr("style") or ""
            if not _OWN.search(own) and (is_hidden(style) or _has_no_size(element, style)):
                element.setattr("hidden", "")
            left -= 1


def _without_blocks(sheets: str) -> str:
    """Without `@media … { … }` and the like, which hold rules of their own."""
    kept: list[str] = []
    depth, start, block = 0, 0, False
    for match in re.finditer(r"[{}]|@(?!import|charset|namespace)[a-z-]+", sheets, re.IGNORECASE):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth = max(depth - 1, 0)
            if block and depth == 0:
                block, start = False, match.end()
        elif depth == 0 and not block:
            kept.append(sheets[start : match.start()])
            block = True
    return "".join([*kept, "" if block else sheets[start:]])


def _hide_by_colour(body: ElementNode) -> None:
    """Text in the colour of what is behind it, where both are said; a page of which nothing is said is white."""
    looked_at = 0
    for element in body.query_selector_all("[style], font[color]")[:]:
        colour = _colour_of(element)
        if colour is None:
            continue
        looked_at += 1
        if looked_at > _MOST_COLOURED:
            return
        if colour == _background_of(element):
            element.setattr("hidden", "")


def _colour_of(element: ElementNode) -> str | None:
    found = _COLOUR.search(element.getattr("style") or "")
    return _colour(found[1] if found else element.getattr("color") or "")


def _background_of(element: ElementNode) -> str | None:
    node = element
    for _ in range(_DEEPEST):
        style = node.getattr("style") or ""
        found = _BACKGROUND.search(style)
        if found is not None:
            return _colour(found[1])
        if node.getattr("background"):
            return None
        if node.getattr("bgcolor"):
            return _colour(node.getattr("bgcolor") or "")
        above = node.parent
        if not isinstance(above, ElementNode):
            return _WHITE
        node = above
    return None


def _colour(text: str) -> str | None:
    """#rrggbb; None where it is not known."""
    text = text.strip().lower()
    if text in _NAMES:
        return _NAMES[text]
    found = _RGB.match(text)
    if found is not None:
        return "#" + "".join(f"{min(int(part), 255):02x}" for part in found.groups())
    if re.fullmatch(r"#[0-9a-f]{3}", text):
        return "#" + "".join(2 * digit for digit in text[1:])
    return text if re.fullmatch(r"#[0-9a-f]{6}", text) else None
