"""Style sheets of mail, as a mail reader at a desk applies them: a screen of 1280 × 800 pixels, light, nothing hovered.

Rules in `@media` for other screens are left out, as sheets that would have to be fetched are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise
from typing import Any, Final, TypeAlias

import tinycss2
from cssselect2 import parser
from resiliparse.parse.html import HTMLTree

Token: TypeAlias = Any
"""A node of tinycss2, which has no types."""

WIDTH: Final = 1280
HEIGHT: Final = 800

_MOST_CSS: Final = 300_000
_MOST_SELECTORS: Final = 5_000
_DEEPEST: Final = 8
_DEEPEST_VALUE: Final = 16
_LONG_STYLE: Final = 1_000
_LONGEST_SELECTOR: Final = 20_000
_MOST_STEPS: Final = 100
_PLAIN_VALUE: Final = r"[\w\s#%.,+-]*"
_PLAIN: Final = re.compile(
    rf"\s*(-{{0,2}}[a-zA-Z][\w-]*)\s*:({_PLAIN_VALUE}(?:\({_PLAIN_VALUE}\){_PLAIN_VALUE})*)(!\s*important\s*)?",
    re.ASCII,
)
"""A declaration without anything odd in it: a hundred times faster to take apart than by the library."""
_ANYTHING: Final = HTMLTree.parse("<p>")
"""To ask whether a selector is one."""
_ODD: Final = re.compile(r"[\s\x00-\x1f]")
_ALIKE: Final = (
    (re.compile(r":(?:defined|read-only|dir\(ltr\)|lang\([\w\s,\"'-]*\))"), ""),
    (re.compile(r":(?:-webkit-any|-moz-any|matches)\("), ":is("),
)
"""What neither library knows, as something near that they do."""
_NAMES: Final = re.compile(r"([.#])(-?[a-zA-Z_][\w-]*)")


class TooMuchError(Exception):
    """A sheet that nobody writes who wants to be read."""


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
    names: frozenset[str]
    """`.class` and `#id`: what none of the elements has cannot match; empty where that cannot be told."""
    weight: tuple[int, int, int, int]
    """Specificity, then order: of two that match, the greater wins."""
    declarations: tuple[Declaration, ...]


def parse_style(style: str) -> tuple[Declaration, ...]:
    """The declarations of a `style` attribute, in order. Any string is accepted.

    Raises:
        TooMuchError: it is longer than a sheet may be.
    """
    if len(style) > _MOST_CSS:
        raise TooMuchError
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
def parse_sheet(sheet: str, wanted: Callable[[str], bool], *, quirks: bool = False) -> tuple[Rule, ...]:
    """Rules that apply, in order, with the declarations whose name is `wanted`.

    `quirks`: names of classes and ids are compared as small letters.

    Raises:
        TooMuchError: it is too large.
    """
    if len(sheet) > _MOST_CSS:
        raise TooMuchError
    order = count()
    found: list[Rule] = []
    length = 0
    for prelude, content in _applied(tinycss2.parse_stylesheet(sheet, skip_whitespace=True), 0):
        for selector, declarations in _nested(_serialized(prelude), content, wanted, 0):
            length += len(selector)
            if length > _MOST_CSS or len(found) > _MOST_SELECTORS:
                raise TooMuchError
            found += _rules(selector, declarations, order, quirks=quirks)
    return tuple(found)


def sheet_applies(media: str, kind: str) -> bool:
    """Of the attributes `media` and `type` of a `<style>`.

    Raises:
        TooMuchError: as `parse_sheet`.
    """
    if len(media) > _LONGEST_SELECTOR:
        raise TooMuchError
    if kind.strip().lower() not in ("", "text/css"):
        return False
    return not media.strip() or _media_holds(tinycss2.parse_component_value_list(media))


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


def _applied(nodes: Iterable[Token], depth: int) -> Iterable[tuple[list[Token], list[Token]]]:
    """Prelude and content of each rule of a sheet, those of `@media` and the like that hold included."""
    for node in nodes:
        if node.type == "qualified-rule":
            yield node.prelude, node.content
        elif node.type == "at-rule" and node.content is not None and _holds(node):
            if depth >= _DEEPEST:
                raise TooMuchError
            inner = tinycss2.parse_rule_list(node.content, skip_whitespace=True)
            yield from _applied(inner, depth + 1)


def _nested(
    selector: str, content: list[Token], wanted: Callable[[str], bool], depth: int
) -> Iterable[tuple[str, tuple[Declaration, ...]]]:
    """The declarations of a rule, and those of the rules in it (CSS Nesting)."""
    nodes = tinycss2.parse_blocks_contents(content, skip_whitespace=True)
    # a declaration said again is the same: a thousand of them cost as many for each element
    last = {(one.name, one.value, one.important): one for one in reversed(_declarations(nodes)) if wanted(one.name)}
    yield selector, tuple(reversed(last.values()))
    for node in nodes:
        if depth >= _DEEPEST and node.type in ("qualified-rule", "at-rule"):
            raise TooMuchError
        if node.type == "qualified-rule":
            yield from _nested(_within(selector, _serialized(node.prelude)), node.content, wanted, depth + 1)
        elif node.type == "at-rule" and node.content is not None and _holds(node):
            yield from _nested(selector, node.content, wanted, depth + 1)


def _serialized(prelude: list[Token]) -> str:
    if _depth(prelude) > _DEEPEST:
        raise TooMuchError
    return str(tinycss2.serialize(prelude)).strip()


def _depth(tokens: list[Token]) -> int:
    deepest, level = 0, tokens
    while level and deepest <= _DEEPEST:
        level = [
            inner
            for token in level
            for inner in (getattr(token, "content", None) or getattr(token, "arguments", None) or ())
        ]
        deepest += 1
    return deepest


def _within(outer: str, inner: str) -> str:
    """The selector of a rule nested in another."""
    parent = f":is({outer})"
    if len(inner) + (inner.count("&") + 1) * len(parent) > _LONGEST_SELECTOR:
        raise TooMuchError
    return inner.replace("&", parent) if "&" in inner else f"{parent} {inner}"


def _rules(text: str, declarations: tuple[Declaration, ...], order: Iterator[int], *, quirks: bool) -> Iterable[Rule]:
    """None of a list of selectors of which one is none: so says Selectors Level 4."""
    if not declarations:
        return []
    for pattern, other in _ALIKE:
        text = pattern.sub(other, text)
    rules = []
    for tokens in _split(tinycss2.parse_component_value_list(text)):
        if any(one == ":" and after == ":" for one, after in pairwise(tokens)):
            continue  # of a pseudo-element, whatever it is called
        if sum(token.type == "whitespace" or token in (">", "+", "~") for token in tokens) > _MOST_STEPS:
            raise TooMuchError
        one = str(tinycss2.serialize(tokens)).strip()
        try:
            # parsed alone: to match, the library would make Python of what strangers write, and evaluate that
            (selector,) = parser.parse(tokens)
            is_known = _is_known(one)
        except (parser.SelectorError, ValueError):
            return []
        if is_known and selector.pseudo_element is None:
            one = one.lower() if quirks else one
            rules.append(Rule(one, _needed_names(one), (*selector.specificity, next(order)), declarations))
    return rules


def _is_known(selector: str) -> bool:
    """False of one that browsers know and the tree does not, as `a:visited`: alone of its list it matches nothing here.

    Raises:
        ValueError: it is none.
    """
    document = _ANYTHING.document
    try:
        if document is not None:
            document.query_selector(selector)
    except ValueError as error:
        if "Not supported" in str(error):
            return False
        raise
    return True


def _needed_names(selector: str) -> frozenset[str]:
    if set(selector) & set(":[\\\"'"):
        return frozenset()
    return frozenset(kind + name for kind, name in _NAMES.findall(selector))


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """At commas."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        elif token.type != "comment":
            parts[-1].append(token)
    return parts


def _holds(rule: Token) -> bool:
    match rule.lower_at_keyword:
        case "media":
            return _media_holds(rule.prelude)
        case "supports":
            return _is_supported(_text(rule.prelude).lower().strip())
        case "layer" | "scope" | "container":
            return True
    return False


def _media_holds(queries: list[Token]) -> bool:
    texts = (_text(part).lower() for part in _split(queries))
    return any(_query_holds(one.split()) for text in texts for one in text.split(" or "))


_SUPPORTED: Final = re.compile(
    r"\(\s*(?:(?:min-|max-)?(?:width|height)|display|position|color|background(?:-[a-z]+)?|opacity|visibility|overflow"
    r"|transform|margin|padding|font-size|float|grid(?:-[a-z-]+)?|flex(?:-[a-z]+)?|gap|object-fit|aspect-ratio)"
    r"\s*:[^()]*\)"
)


def _is_supported(condition: str) -> bool:
    """Of a browser of today, whose properties have no prefix."""
    holds = _SUPPORTED.fullmatch(condition.removeprefix("not").strip()) is not None and ":foo" not in condition
    return holds != condition.startswith("not")


_FEATURE: Final = re.compile(r"\(\s*([a-z-]+)\s*(?::\s*([^)]*?)\s*)?\)")
_COMPARED: Final = re.compile(r"\(\s*(width|height)\s*([<>]=?)\s*([^)<>]+?)\s*\)")
_BETWEEN: Final = re.compile(r"\(\s*([\d.a-z]+)\s*<=?\s*(width|height)\s*<=?\s*([\d.a-z]+)\s*\)")
_LENGTH: Final = re.compile(r"([\d.]+)(px|em|rem|cm|mm|in|pt|dppx|dpi|x)?")
_IN_PIXELS: Final = {"em": 16.0, "rem": 16.0, "dpi": 1 / 96, "cm": 37.8, "mm": 3.78, "in": 96.0, "pt": 4 / 3}
_SCREEN: Final[dict[str, float]] = {
    "width": WIDTH,
    "height": HEIGHT,
    "device-width": WIDTH,
    "device-height": HEIGHT,
    "resolution": 1,
    "-webkit-device-pixel-ratio": 1,
    "color": 8,
    "monochrome": 0,
}
_KEYWORDS: Final = {
    "prefers-color-scheme": "light",
    "orientation": "landscape",
    "hover": "hover",
    "any-hover": "hover",
    "pointer": "fine",
    "any-pointer": "fine",
    "scripting": "none",
    "prefers-reduced-motion": "no-preference",
    "prefers-contrast": "no-preference",
    "display-mode": "browser",
}


def _query_holds(words: list[str]) -> bool:
    """One query of a media query list (Media Queries Level 4, the common forms). What is not known does not hold."""
    text = " ".join(words)
    negated = text.startswith("not ")
    text = text.removeprefix("not ").removeprefix("only ")
    holds = True
    for part in re.split(r"\band\b", text) if text else []:
        part = part.strip()
        if not part.startswith("("):
            holds &= part in ("all", "screen")
            continue
        known = _feature_holds(part)
        if known is None:
            return False
        holds &= known
    return holds != negated


def _feature_holds(text: str) -> bool | None:
    if text.startswith("(not ") and text.endswith(")"):
        inner = _feature_holds(text[5:-1].strip())
        return None if inner is None else not inner
    between = _BETWEEN.fullmatch(text)
    if between is not None:
        low, high = _number(between[1]), _number(between[3])
        return None if low is None or high is None else low <= _SCREEN[between[2]] <= high
    compared = _COMPARED.fullmatch(text)
    if compared is not None:
        limit = _number(compared[3])
        if limit is None:
            return None
        mine = _SCREEN[compared[1]]
        return {"<": mine < limit, "<=": mine <= limit, ">": mine > limit, ">=": mine >= limit}[compared[2]]
    found = _FEATURE.fullmatch(text)
    if found is None:
        return None
    name, value = found[1], found[2]
    if name in _KEYWORDS:
        return value is None or value == _KEYWORDS[name]
    webkit = "-webkit-" if name.startswith("-webkit-") else ""
    bare = name.removeprefix("-webkit-")
    bound = bare[:4] if bare.startswith(("min-", "max-")) else ""
    mine_or_none = _SCREEN.get(webkit + bare.removeprefix(bound))
    if mine_or_none is None:
        return None
    limit = _number(value) if value is not None else None
    if limit is None:
        return None if bound else bool(mine_or_none)
    if bound == "min-":
        return mine_or_none >= limit
    return mine_or_none <= limit if bound == "max-" else mine_or_none == limit


def _number(text: str) -> float | None:
    found = _LENGTH.fullmatch(text)
    try:
        return float(found[1]) * _IN_PIXELS.get(found[2] or "", 1.0) if found else None
    except ValueError:
        return None
