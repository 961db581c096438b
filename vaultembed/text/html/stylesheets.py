"""Style sheets of mail. Rules for other screens are left out, as sheets that would have to be fetched are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

import tinycss2
from cssselect2 import parser
from resiliparse.parse.html import HTMLTree

from vaultembed.text.html.bounds import TooMuchError
from vaultembed.text.html.conditions import is_supported, media_holds
from vaultembed.text.html.shorthands import is_wanted

Token: TypeAlias = Any
"""A node of tinycss2, which has no types."""

_MOST_CSS: Final = 300_000
_MOST_SELECTORS: Final = 5_000
_DEEPEST: Final = 8
_DEEPEST_VALUE: Final = 16
_LONG_STYLE: Final = 1_000
_LONGEST_SELECTOR: Final = 20_000
_MOST_STEPS: Final = 30
"""In a selector, with those in its parentheses: the library takes the square of them."""
_LONG_NUMBER: Final = re.compile(r"\d{1000}")
"""For Python, which reads no more than 4,300 digits."""
_PLAIN_VALUE: Final = r"[\w\s#%.,+-]*"
_PLAIN: Final = re.compile(
    rf"\s*(-{{0,2}}[a-zA-Z][\w-]*)\s*:({_PLAIN_VALUE}(?:\({_PLAIN_VALUE}\){_PLAIN_VALUE})*)(!\s*important\s*)?",
    re.ASCII,
)
"""A declaration without anything odd in it: a hundred times faster to take apart than by the library."""
_ANYTHING: Final = HTMLTree.parse("<p>").document
"""To ask whether a selector is one."""
_ODD: Final = re.compile(r"[\s\x00-\x1f]")
_ALIKE: Final = (
    (re.compile(r":(?:defined|read-only|dir\(ltr\)|lang\([\w\s,\"'-]*\))"), ""),
    (re.compile(r":(?:-webkit-any|-moz-any|matches)\("), ":is("),
)
"""What neither library knows, as something near that they do."""
_UNSURE: Final = ("layer", "scope", "container", "starting-style")
"""Rules in which may be weaker, narrower or other than they look."""


@dataclass(frozen=True, slots=True)
class Declaration:
    name: str
    """In small letters."""
    value: str
    """In small letters, without comments and escapes."""
    important: bool


@dataclass(frozen=True, slots=True)
class Rule:
    selector: str
    weight: tuple[int, int, int, int]
    """Specificity, then order: of two that match, the greater wins."""
    declarations: tuple[Declaration, ...]
    is_sure: bool
    """Whether it applies, or that cannot be told: then of it only what hides counts."""


def parse_style(style: str) -> tuple[Declaration, ...]:
    """The declarations of a `style` attribute, in order. Any string is accepted.

    Raises:
        TooMuchError: it is longer than a sheet may be.
    """
    _check(style, _MOST_CSS)
    return _often(style) if len(style) < _LONG_STYLE else _parsed_style(style)


def _parsed_style(style: str) -> tuple[Declaration, ...]:
    found: list[Declaration] = []
    for part in style.split(";"):
        plain = _PLAIN.fullmatch(part)
        if plain is not None:
            found.append(Declaration(plain[1].lower(), " ".join(plain[2].lower().split()), plain[3] is not None))
        elif part.strip():
            return _declarations(tinycss2.parse_blocks_contents(style, skip_whitespace=True))
    return tuple(found)


_often: Final = lru_cache(maxsize=4096)(_parsed_style)


@lru_cache(maxsize=16)
def parse_sheet(sheet: str, *, quirks: bool = False) -> tuple[Rule, ...]:
    """Rules that apply, in order, with the declarations that have to do with what is seen.

    `quirks`: names of classes and ids are compared as small letters.

    Raises:
        TooMuchError: it is too large.
    """
    _check(sheet, _MOST_CSS)
    found: list[Rule] = []
    length = 0
    for selector, declarations, is_sure in _rules(tinycss2.parse_stylesheet(sheet, skip_whitespace=True)):
        length += len(selector)
        if length > _MOST_CSS or len(found) > _MOST_SELECTORS:
            raise TooMuchError
        for one, specificity in _selectors(selector, quirks=quirks):
            found.append(Rule(one, (*specificity, len(found)), declarations, is_sure))
    return tuple(found)


def sheet_applies(media: str, kind: str) -> bool | None:
    """Of the attributes `media` and `type` of a `<style>`. None where that cannot be told.

    Raises:
        TooMuchError: as `parse_sheet`.
    """
    _check(media, _LONGEST_SELECTOR)
    if kind.strip().lower() not in ("", "text/css"):
        return False
    return media_holds(_condition(tinycss2.parse_component_value_list(media)))


def _check(text: str, most: int) -> None:
    if len(text) > most or (len(text) > _LONG_STYLE and _LONG_NUMBER.search(text)):
        raise TooMuchError


def _declarations(nodes: Iterable[Token]) -> tuple[Declaration, ...]:
    return tuple(
        Declaration(node.lower_name, " ".join(_text(node.value).lower().split()), node.important)
        for node in nodes
        if node.type == "declaration"
    )


def _text(tokens: Iterable[Token], depth: int = 0) -> str:
    """Without comments, and escapes read: `d\\69splay` is display."""
    if depth > _DEEPEST_VALUE:
        raise TooMuchError
    return "".join(_token_text(token, depth) for token in tokens)


def _token_text(token: Token, depth: int) -> str:
    match token.type:
        case "comment" | "whitespace":
            return " "
        case "ident":
            return _ODD.sub("\ufffd", str(token.value))  # `none\9` is not none
        case "dimension":
            return f"{token.representation}{token.unit}"
        case "function":
            return f"{token.name}({_text(token.arguments, depth + 1)})"
        case "() block":
            return f"({_text(token.content, depth + 1)})"
        case "[] block" | "{} block" | "error":
            return ""
    return str(token.serialize())


def _rules(
    nodes: Iterable[Token], outer: str = "", *, is_sure: bool = True, depth: int = 0
) -> Iterator[tuple[str, tuple[Declaration, ...], bool]]:
    """Selector, declarations, and whether they surely apply, of all rules: those in others too (CSS Nesting), and those
    in at-rules that hold."""
    if depth > _DEEPEST:
        raise TooMuchError
    # a declaration said again is the same: a thousand of them cost as many for each element
    own = {(one.name, one.value, one.important): one for one in reversed(_declarations(nodes)) if is_wanted(one.name)}
    if outer and own:
        yield outer, tuple(reversed(own.values())), is_sure
    for node in nodes:
        if node.type == "qualified-rule":
            inner = tinycss2.parse_blocks_contents(node.content, skip_whitespace=True)
            yield from _rules(inner, _within(outer, node.prelude), is_sure=is_sure, depth=depth + 1)
        elif node.type == "at-rule" and node.content is not None and (holds := _holds(node)) is not False:
            if node.lower_at_keyword == "property":
                content = tinycss2.serialize(node.content).lower().replace("initial-value", _text(node.prelude).strip())
                yield "html", _declarations(tinycss2.parse_blocks_contents(content)), True
                continue
            parse = tinycss2.parse_blocks_contents if outer else tinycss2.parse_rule_list
            inner = parse(node.content, skip_whitespace=True)
            yield from _rules(inner, outer, is_sure=is_sure and holds is True, depth=depth + 1)


def _holds(rule: Token) -> bool | None:
    match rule.lower_at_keyword:
        case "media":
            return media_holds(_condition(rule.prelude))
        case "supports":
            return is_supported(_condition(rule.prelude))
        case "property":
            return True
        case keyword:
            return None if keyword in _UNSURE else False


def _condition(tokens: Iterable[Token]) -> str:
    return " ".join(_text(tokens).lower().split())


def _within(outer: str, prelude: Sequence[Token]) -> str:
    """The selector of a rule that may be nested in another.

    Raises:
        TooMuchError: it is longer or deeper than anybody writes.
    """
    _steps(prelude)
    inner, parent = str(tinycss2.serialize(prelude)).strip(), f":is({outer})"
    if not outer:
        return inner
    if len(inner) + (inner.count("&") + 1) * len(parent) > _LONGEST_SELECTOR:
        raise TooMuchError
    return inner.replace("&", parent) if "&" in inner else f"{parent} {inner}"


def _selectors(text: str, *, quirks: bool) -> list[tuple[str, tuple[int, int, int]]]:
    """With their specificity; none of a list of which one is none: so says Selectors Level 4."""
    for pattern, other in _ALIKE:
        text = pattern.sub(other, text)
    found = []
    for tokens in _split(tinycss2.parse_component_value_list(text)):
        if any(one == ":" and after == ":" for one, after in pairwise(tokens)):
            continue  # of a pseudo-element, whatever it is called
        if _steps(tokens) > _MOST_STEPS:
            raise TooMuchError
        one = str(tinycss2.serialize(tokens)).strip()
        one = one.lower() if quirks else one
        try:
            # parsed alone: to match, the library would make Python of what strangers write, and evaluate that
            (selector,) = parser.parse(tokens)
            if _ANYTHING is not None:
                _ANYTHING.query_selector(one)
        except (parser.SelectorError, ValueError) as error:
            if "Not supported" in str(error):
                continue  # what browsers know and the tree does not, as `a:visited`, matches nothing here
            return []
        if selector.pseudo_element is None:
            found.append((one, selector.specificity))
    return found


def _steps(tokens: Iterable[Token], depth: int = 0) -> int:
    """From element to element, those in parentheses included.

    Raises:
        TooMuchError: they stand too deep.
    """
    if depth > 2 * _DEEPEST:
        raise TooMuchError
    return sum(
        (token.type == "whitespace" or token in (">", "+", "~"))
        + _steps(getattr(token, "arguments", None) or getattr(token, "content", None) or (), depth + 1)
        for token in tokens
    )


def _split(tokens: Iterable[Token]) -> list[list[Token]]:
    """At commas."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        elif token.type != "comment":
            parts[-1].append(token)
    return parts
