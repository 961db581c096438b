"""Style sheets of mail, as a mail reader at a desk applies them: a screen of 1280 × 800 pixels, light, nothing hovered.

Rules in `@media` for other screens are left out, as sheets that would have to be fetched are.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise
from typing import Any, Final, NamedTuple, TypeAlias

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
_UNSURE: Final = ("layer", "scope", "container", "starting-style")
"""Rules in which may be weaker, narrower or other than they look: of them only what hides counts."""
_NAMES: Final = re.compile(r"([.#])(-?[a-zA-Z_][\w-]*)")


def words(text: str) -> frozenset[str]:
    """A long table of names, on few lines."""
    return frozenset(text.split())


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
    is_sure: bool = True
    """Whether it applies, or that cannot be told."""


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
    for prelude, content, place in _applied(tinycss2.parse_stylesheet(sheet, skip_whitespace=True), _Place()):
        for selector, declarations, within in _nested(_serialized(prelude), content, wanted, place._replace(depth=0)):
            length += len(selector)
            if length > _MOST_CSS or len(found) > _MOST_SELECTORS:
                raise TooMuchError
            for one, specificity in _selectors(selector if declarations else "", quirks=quirks):
                weight = (*specificity, next(order))
                found.append(Rule(one, _needed_names(one), weight, declarations, within.is_sure))
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


class _Place(NamedTuple):
    """Where in a sheet a rule stands."""

    depth: int = 0
    is_sure: bool = True

    def within(self, rule: Token) -> _Place | None:
        """None in an at-rule that does not hold.

        Raises:
            TooMuchError: it stands too deep.
        """
        keyword = rule.lower_at_keyword
        holds = keyword in _UNSURE or (
            _media_holds(rule.prelude)
            if keyword == "media"
            else keyword == "supports" and _is_supported(_text(rule.prelude).lower().strip())
        )
        if rule.content is None or not holds:
            return None
        if self.depth >= _DEEPEST:
            raise TooMuchError
        return _Place(self.depth + 1, self.is_sure and keyword not in _UNSURE)


def _applied(nodes: Iterable[Token], place: _Place) -> Iterable[tuple[list[Token], list[Token], _Place]]:
    """Prelude and content of each rule of a sheet, those of `@media` and the like that hold included."""
    for node in nodes:
        if node.type == "qualified-rule":
            yield node.prelude, node.content, place
        elif node.type == "at-rule" and node.lower_at_keyword == "property" and node.content is not None:
            content = tinycss2.serialize(node.content).lower().replace("initial-value", _text(node.prelude).strip())
            yield tinycss2.parse_component_value_list("html"), tinycss2.parse_component_value_list(content), place
        elif node.type == "at-rule" and (inner := place.within(node)) is not None:
            yield from _applied(tinycss2.parse_rule_list(node.content, skip_whitespace=True), inner)


def _nested(
    selector: str, content: list[Token], wanted: Callable[[str], bool], place: _Place
) -> Iterable[tuple[str, tuple[Declaration, ...], _Place]]:
    """The declarations of a rule, and those of the rules in it (CSS Nesting)."""
    nodes = tinycss2.parse_blocks_contents(content, skip_whitespace=True)
    # a declaration said again is the same: a thousand of them cost as many for each element
    last = {(one.name, one.value, one.important): one for one in reversed(_declarations(nodes)) if wanted(one.name)}
    yield selector, tuple(reversed(last.values())), place
    for node in nodes:
        if node.type == "qualified-rule":
            if place.depth >= _DEEPEST:
                raise TooMuchError
            inner = place._replace(depth=place.depth + 1)
            yield from _nested(_within(selector, _serialized(node.prelude)), node.content, wanted, inner)
        elif node.type == "at-rule" and (held := place.within(node)) is not None:
            yield from _nested(selector, node.content, wanted, held)


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


def _selectors(text: str, *, quirks: bool) -> list[tuple[str, tuple[int, int, int]]]:
    """With their specificity; none of a list of which one is none: so says Selectors Level 4."""
    for pattern, other in _ALIKE:
        text = pattern.sub(other, text)
    found = []
    for tokens in _split(tinycss2.parse_component_value_list(text)) if text else []:
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
            found.append((one.lower() if quirks else one, selector.specificity))
    return found


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


def _media_holds(queries: list[Token]) -> bool:
    texts = (" ".join(_text(part).lower().split()) for part in _split(queries))
    return any(_query_holds(one.strip()) for text in texts for one in text.split(" or "))


_SUPPORTED: Final = re.compile(
    r"\(\s*(?:(?:min-|max-)?(?:width|height)|display|position|color|background(?:-[a-z]+)?|opacity|visibility|overflow"
    r"|transform|margin|padding|font-size|float|grid(?:-[a-z-]+)?|flex(?:-[a-z]+)?|gap|object-fit|aspect-ratio)"
    r"\s*:[^()]*\)"
)


def _is_supported(condition: str) -> bool:
    """Of a browser of today, whose properties have no prefix."""
    holds = _SUPPORTED.fullmatch(condition.removeprefix("not").strip()) is not None and ":foo" not in condition
    return holds != condition.startswith("not")


_NUMBER: Final = r"\s*([\d.]+)([a-z]*)\s*"
_FEATURE: Final = re.compile(
    rf"\((?:{_NUMBER}(<=?|>=?|=))?\s*(-webkit-)?(min-|max-)?([a-z-]+)\s*(?:(<=?|>=?|=|:){_NUMBER}|:\s*([a-z-]+)\s*)?\)"
)
_IN_PIXELS: Final = {"em": 16.0, "rem": 16.0, "dpi": 1 / 96, "cm": 37.8, "mm": 3.78, "in": 96.0, "pt": 4 / 3}
_SCREEN: Final = dict.fromkeys(("width", "device-width"), float(WIDTH)) | {
    **dict.fromkeys(("height", "device-height"), float(HEIGHT)),
    **dict.fromkeys(("resolution", "device-pixel-ratio"), 1.0),
    **dict.fromkeys(("color",), 8.0),
    **dict.fromkeys(("monochrome", "color-index", "grid"), 0.0),
}
_KEYWORDS: Final = dict(
    pair.split("=")
    for pair in words(
        "prefers-color-scheme=light orientation=landscape hover=hover any-hover=hover pointer=fine any-pointer=fine"
        " scripting=none prefers-reduced-motion=no-preference prefers-contrast=no-preference display-mode=browser"
        " update=fast color-gamut=srgb dynamic-range=standard overflow-block=scroll overflow-inline=scroll"
        " scan=progressive inverted-colors=none forced-colors=none prefers-reduced-transparency=no-preference"
    )
)
_OFF: Final = ("none", "no-preference")
_COMPARE: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def _query_holds(text: str) -> bool:
    """One query of a media query list (Media Queries Level 4, the common forms). What is not known does not hold."""
    negated = text.startswith("not ")
    text = text.removeprefix("not ").removeprefix("only ")
    holds = True
    for part in re.split(r"\band\b", text) if text else []:
        part = part.strip()
        known = _feature_holds(part) if part.startswith("(") else part in ("all", "screen")
        if known is None:
            return False
        holds &= known
    return holds != negated


def _feature_holds(text: str) -> bool | None:
    """None of one that is not known."""
    if text.startswith("(not ") and text.endswith(")"):
        inner = _feature_holds(text[5:-1].strip())
        return None if inner is None else not inner
    found = _FEATURE.fullmatch(text)
    if found is None:
        return None
    low, low_unit, before, _, bound, name, after, number, unit, word = found.groups()
    if name in _KEYWORDS:
        given = _KEYWORDS[name]
        return given == word if word else None if number or low else given not in _OFF
    mine = _SCREEN.get(name)
    if mine is None or word or (bound and after != ":"):
        return None
    if number is None and low is None:
        return bool(mine)
    comparison = {"min-": ">=", "max-": "<="}.get(bound or "", after)
    least, most = _number(low, low_unit), _number(number, unit)
    holds = (low is None or (least is not None and _compare(least, before, mine))) and (
        number is None or (most is not None and _compare(mine, comparison, most))
    )
    return None if (low and least is None) or (number and most is None) else holds


def _compare(one: float, sign: str, other: float) -> bool:
    return bool(_COMPARE.get(sign, operator.eq)(one, other))


def _number(text: str | None, unit: str | None) -> float | None:
    try:
        return float(text) * _IN_PIXELS.get(unit or "", 1.0) if text else None
    except ValueError:
        return None
