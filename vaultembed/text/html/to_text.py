"""HTML of mail to text as a reader sees it, quoted parts as "> " lines."""

from __future__ import annotations

import re
from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import ElementNode, HTMLTree, Node

from vaultembed.text.charsets import clean
from vaultembed.text.html.bounds import TooMuchError, check_bounds
from vaultembed.text.html.visibility import drop_hidden
from vaultembed.text.problems import ProblemLog

# Noncharacters mark where quotes begin and end: they pass through the extraction and mean nothing in mail.
_QUOTE: Final = "\ufdd0"
_PERHAPS_QUOTE: Final = "\ufdd1"
_END: Final = "\ufdd2"
_MARKS: Final = re.compile("[\ufdd0-\ufdd2]")
_MOST_QUOTES: Final = 1_000  # marked; each costs its depth, so without a limit nesting takes quadratic time
_DEEPEST: Final = 12  # levels of "> " written out: more would let nesting square the text

_SKIPPED: Final = [
    *("[hidden]", "title", "template", "xml", "svg", "math", "object", "applet", "audio", "video", "canvas"),
    *("iframe", "noframes", "noembed", "datalist", "dialog:not([open])", "progress", "meter", "rp", "[popover]"),
]

_KEPT_BACK: Final = {"label": "span", "button": "span", "figure": "div", "figcaption": "div"}
"""Elements whose text the extraction would not give, and what they are instead."""
_MOST_OPENED: Final = 20_000
_MOST_MOVED: Final = 1_000_000
"""Elements in those: each costs what is in it, so nesting takes quadratic time."""

_QUOTING_CLASS: Final = re.compile(r"(?i)quote|cite|reply")
_BORDER: Final = re.compile(r"(?i)border(?:-left)?(?:-width)?\s*:\s*(?!none|0(?:px|pt)?\s*(?:;|$))[^;:]{0,80}\d")
_ATTRIBUTION_END: Final = re.compile(r"[:：]\s*$")
_HAS_DATE_OR_ADDRESS: Final = re.compile(r"\d|@")

_INVISIBLE: Final = re.compile("[\u034f\u00ad\u2060\u200b\ufeff]+")
_FILLER: Final = re.compile("(?:\u200c[ \u00a0]){2,}|\u200c{2,}")  # pads the preview line of newsletters
_CELLS: Final = re.compile(r"(?<=\S)[ ]*\t[ \t]*")
_BLANK_RUN: Final = re.compile(r"\n{3,}")


def html_to_text(html: str, log: ProblemLog | None = None) -> str:
    """Visible text of `html`, in linear time; any string is accepted. What is too intricate gives none, and a problem.

    What is hidden by its own style, by a style sheet or an attribute is dropped, and so are comments, scripts and alt
    texts of pictures. Links keep their text, blocks and `<br>` break lines, table cells are separated by tabs.
    Quotes (`blockquote` that cites; one that merely indents does not) become "> " lines.
    """
    try:
        check_bounds(html)
        tree = HTMLTree.parse(_MARKS.sub("", html))
        body = tree.body
        if body is None:
            return ""
        drop_hidden(tree, body, html)
        _open_up(tree, body)
    except TooMuchError:
        if log is not None:
            log.add("html-left-out", "its styles or its elements are too many to tell what of it a reader sees")
        return ""
    _mark_quotes(tree, body)
    text = extract_plain_text(tree, alt_texts=False, skip_elements=_SKIPPED)
    return clean(_tidy(text))


def _open_up(tree: HTMLTree, body: ElementNode) -> None:
    found, left = body.query_selector_all(", ".join(_KEPT_BACK)), _MOST_MOVED
    if len(found) > _MOST_OPENED:
        raise TooMuchError
    for element in found[:]:
        left -= len(element.query_selector_all("*"))
        if left < 0:
            raise TooMuchError
        plain = tree.create_element(_KEPT_BACK[element.tag or "label"])
        above = element.parent
        if plain is None or above is None or element.hasattr("hidden"):
            continue
        above.replace_child(plain, element)
        while (child := element.first_child) is not None:
            plain.append_child(child)


def _mark_quotes(tree: HTMLTree, body: ElementNode) -> None:
    for element in body.query_selector_all("blockquote")[:_MOST_QUOTES]:
        first = element.first_child
        if first is None:
            continue
        element.insert_before(_mark(tree, _QUOTE if _cites(element) else _PERHAPS_QUOTE), first)
        element.append_child(_mark(tree, _END))


def _mark(tree: HTMLTree, mark: str) -> Node:
    block, text = tree.create_element("div"), tree.create_text_node(mark)
    if block is None or text is None:  # only of a tree without a document, which has no blockquote
        raise AssertionError
    block.append_child(text)
    return block


def _cites(element: ElementNode) -> bool:
    attribute = element.getattr
    if (attribute("type") or "").lower() == "cite" or attribute("cite"):
        return True
    return bool(_QUOTING_CLASS.search(attribute("class") or "") or _BORDER.search(attribute("style") or ""))


def _tidy(text: str) -> str:
    text = text.replace("\u00a0", " ")
    text = _FILLER.sub(" ", _INVISIBLE.sub("", text))
    out: list[str] = []
    depth = 0
    open_quotes: list[bool] = []
    said = ""  # the last line that says something, where a quote that only may be one begins
    for line in text.split("\n"):
        if _MARKS.search(line):
            for piece in re.split("([\ufdd0-\ufdd2])", line):
                if piece in (_QUOTE, _PERHAPS_QUOTE):
                    quotes = piece == _QUOTE or bool(
                        _ATTRIBUTION_END.search(said) and _HAS_DATE_OR_ADDRESS.search(said)
                    )
                    open_quotes.append(quotes)
                    depth += quotes
                elif piece == _END:
                    if open_quotes:
                        depth -= open_quotes.pop()
                elif piece.strip():
                    out.append(_line(piece, depth))
                    said = piece
            continue
        out.append(_line(line, depth))
        if line.strip():
            said = line[-500:]
    return _BLANK_RUN.sub("\n\n", "\n".join(out)).strip("\n")


def _line(line: str, depth: int) -> str:
    line = line.rstrip()
    if "\t" in line:
        line = _CELLS.sub("\t", line)
    if not depth:
        return line
    return f"{'> ' * min(depth, _DEEPEST)}{line}" if line.strip() else (">" + " >" * (min(depth, _DEEPEST) - 1))
