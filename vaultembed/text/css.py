"""Style sheets of mail, as a mail reader at a desk applies them: a screen of 1280 × 800 pixels, light, nothing hovered.

Rules in `@media` for other screens are left out, as sheets that would have to be fetched are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, Final, TypeAlias

import cssselect2
import tinycss2

Token: TypeAlias = Any
"""A node of tinycss2, which has no types."""

WIDTH: Final = 1280
HEIGHT: Final = 800

_MOST_CSS: Final = 300_000
_MOST_SELECTORS: Final = 5_000
_DEEPEST: Final = 8
_DEEPEST_VALUE: Final = 16
_LONG_STYLE: Final = 1_000
_PLAIN_VALUE: Final = r"[\w\s#%.,+-]*"
_PLAIN: Final = re.compile(
    rf"\s*(-{{0,2}}[a-zA-Z][\w-]*)\s*:({_PLAIN_VALUE}(?:\({_PLAIN_VALUE}\){_PLAIN_VALUE})*)(!\s*important\s*)?",
    re.ASCII,
)
"""A declaration without anything odd in it: a hundred times faster to take apart than by the library."""
_NAMES: Final = re.compile(r"([.#])(-?[a-zA-Z_][\w-]*)")


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
    """The declarations of a `style` attribute, in order. Any string is accepted."""
    return _often(style) if len(style) < _LONG_STYLE else _parsed_style(style)


def _parsed_style(style: str) -> tuple[Declaration, ...]:
    found: list[Declaration] = []
    for part in style.split(";"):
        plain = _PLAIN.fullmatch(part)
        if plain is not None:
            found.append(Declaration(plain[1].lower(), " ".join(plain[2].lower().split()), plain[3] is not None))
        elif part.strip():
            return _declarations(tinycss2.parse_blocks_contents(style[:_MOST_CSS], skip_whitespace=True))
    return tuple(found)


_often: Final = lru_cache(maxsize=4096)(_parsed_style)


@lru_cache(maxsize=16)
def parse_sheet(sheet: str, wanted: Callable[[str], bool]) -> tuple[Rule, ...]:
    """Rules that apply, by ascending weight, with the declarations whose name is `wanted`."""
    order = count()
    found: list[Rule] = []
    nodes = tinycss2.parse_stylesheet(sheet[:_MOST_CSS], skip_whitespace=True)
    for prelude, content in _applied(nodes, 0):
        declarations, nested = _content(content, wanted)
        found += _rules(prelude, declarations, order)
        for inner, inner_content in nested:
            inner_declarations, _ = _content(inner_content, wanted)
            found += _rules(_within(prelude, inner), inner_declarations, order)
        if len(found) > _MOST_SELECTORS:
            break
    return tuple(sorted(found[:_MOST_SELECTORS], key=lambda rule: rule.weight))


def _declarations(nodes: Iterable[Token]) -> tuple[Declaration, ...]:
    return tuple(
        Declaration(node.lower_name, " ".join(_text(node.value).lower().split()), node.important)
        for node in nodes
        if node.type == "declaration"
    )


def _text(tokens: Iterable[Token], depth: int = 0) -> str:
    """Without comments, and escapes read: `d\\69splay` is display. What nests deeper than people write is left out."""
    return "".join(_token_text(token, depth) for token in tokens) if depth <= _DEEPEST_VALUE else ""


def _token_text(token: Token, depth: int) -> str:
    match token.type:
        case "comment" | "whitespace":
            return " "
        case "ident":
            return str(token.value)
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
        elif node.type == "at-rule" and node.content is not None and depth < _DEEPEST and _holds(node):
            inner = tinycss2.parse_rule_list(node.content, skip_whitespace=True)
            yield from _applied(inner, depth + 1)


def _content(
    content: list[Token], wanted: Callable[[str], bool]
) -> tuple[tuple[Declaration, ...], list[tuple[list[Token], list[Token]]]]:
    nodes = tinycss2.parse_blocks_contents(content, skip_whitespace=True)
    declarations = tuple(one for one in _declarations(nodes) if wanted(one.name))
    nested = [(node.prelude, node.content) for node in nodes if node.type == "qualified-rule"]
    return declarations, nested


def _within(outer: list[Token], inner: list[Token]) -> list[Token]:
    """The selector of a rule nested in another."""
    parent = f":is({tinycss2.serialize(outer)})"
    text = tinycss2.serialize(inner).strip()
    nested = text.replace("&", parent) if "&" in text else f"{parent} {text}"
    return list(tinycss2.parse_component_value_list(nested))


def _rules(prelude: list[Token], declarations: tuple[Declaration, ...], order: Iterable[int]) -> Iterable[Rule]:
    if not declarations:
        return
    for tokens in _split(prelude):
        try:
            (selector,) = cssselect2.compile_selector_list(tokens)
        except (cssselect2.SelectorError, ValueError):
            continue
        if selector.pseudo_element is None and not selector.never_matches:
            text = tinycss2.serialize(tokens).strip()
            weight = (*selector.specificity, next(iter(order)))
            yield Rule(text, _needed_names(text), weight, declarations)


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
            return any(_query_holds(_text(part).lower().split()) for part in _split(rule.prelude))
        case "supports":
            return not _text(rule.prelude).lower().lstrip().startswith("not")
        case "layer":
            return True
    return False


_FEATURE: Final = re.compile(r"\(\s*([a-z-]+)\s*(?::\s*([^)]*?)\s*)?\)")
_COMPARED: Final = re.compile(r"\(\s*(width|height)\s*([<>]=?)\s*([^)<>]+?)\s*\)")
_LENGTH: Final = re.compile(r"([\d.]+)(px|em|rem|dppx|dpi|x)?")
_IN_PIXELS: Final = {"em": 16.0, "rem": 16.0, "dpi": 1 / 96}
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
