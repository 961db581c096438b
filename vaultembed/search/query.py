"""The query language: words, "phrases", fields (`from:anna`), `-`, NOT, AND, OR and parentheses.

query  = part*                      all must hold; bare words among them only rank, in a search
part   = both (OR both)*            as in a mail program: `a b OR c` is `a (b OR c)`
both   = one (AND one)*
one    = (NOT | "-") one | "(" query ")" | field ":" value | phrase | word | word"*"
value  = word | phrase | "(" query ")"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vaultembed.archive.conditions import (
    All,
    Condition,
    Either,
    Has,
    Not,
    Sent,
    Size,
    Words,
    match_of,
    shown_by,
)
from vaultembed.archive.filters import Filter
from vaultembed.errors import QueryError
from vaultembed.search.filters import condition_of
from vaultembed.search.tokens import Lexer, Token, error_at

_MOST_WORDS: Final = 120
MOST_LEAVES: Final = 200
_DEEPEST: Final = 40
_SAME: Final = "To search for it, put it in quotes."
_PREFIX: Final = re.compile(r"\w[^\s()*]*\*")


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    """What the model embeds: words and phrases in their order, without what is excluded."""
    words: tuple[Words, ...]
    """Any of them ranks a message by words; without what is excluded."""
    condition: Condition
    """What a search demands: everything but bare words. Trash and spam it does not see, unless it asks for them."""
    everything: All
    """What a command demands that changes messages, or counts them: every word, too."""

    @property
    def only(self) -> Filter:
        return shown_by(self.condition)

    @property
    def phrases(self) -> dict[str, str]:
        """FTS5 expressions of the words, and what each was written as."""
        found = {match_of(words): words.text for words in self.words}
        return {match: text for match, text in list(found.items())[:_MOST_WORDS] if match is not None}


def plain_query(text: str) -> Query:
    """A query of words alone, whatever they look like: for text that nobody wrote as a query."""
    words = tuple(Words(word) for word in text.split())
    return Query(text, words, All(), All(words))


def parse_query(text: str, now: datetime | None = None) -> Query:
    """`now`: local, for "today", "yesterday" and `newer_than:7d`.

    Raises:
        QueryError: it cannot be read, or a field has no such value; says where, and what was likely meant.
    """
    tree = _Parser(text, now or datetime.now()).parse()
    bare = {id(part) for part in tree.parts if isinstance(part, Words) and not part.quoted and not part.in_subject}
    condition = All(tuple(part for part in tree.parts if id(part) not in bare))
    demanded = list(leaves(condition))
    if len(demanded) > MOST_LEAVES:
        raise QueryError(f"a query of {len(demanded):,} conditions is too much", f"Use at most {MOST_LEAVES}.")
    for leaf in demanded:
        if isinstance(leaf, Words) and match_of(leaf) is None:
            raise QueryError(f"there is no word in {leaf.text!r} to look for", None)
    wanted = tuple(_wanted(tree))
    return Query(
        text=" ".join(words.text for words in wanted).strip(),
        words=wanted,
        condition=condition,
        everything=tree,
    )


def _all(parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _wanted(condition: Condition) -> Iterator[Words]:
    """Words that a message is to have, in their order."""
    match condition:
        case Words():
            if not condition.in_subject:
                yield condition
        case All(parts) | Either(parts):
            for part in parts:
                yield from _wanted(part)


def leaves(condition: Condition, *, negated_only: bool = False) -> Iterator[Words | Has | Sent | Size]:
    """What a condition is made of; `negated_only`: of what it excludes."""
    match condition:
        case Not(part):
            yield from leaves(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from leaves(part, negated_only=negated_only)
        case _:
            if not negated_only:
                yield condition


def describe(condition: Condition) -> str:
    """How a query was read, in words that would be read so again."""
    match _unwrapped(condition):
        case Not(part):
            return f"NOT {_in_brackets(part)}"
        case All(parts):
            return " AND ".join(_in_brackets(part) for part in parts) or "in:anywhere"
        case Either(parts):
            return " OR ".join(_in_brackets(part) for part in parts)
        case Words(words, prefix, in_subject):
            shown = f"{words}*" if prefix else f'"{words}"'
            return f"subject:{shown}" if in_subject else shown
        case Has(field, value):
            return f'{field}:"{value}"' if re.search(r"[\s()]", value) else f"{field}:{value}"
        case Size(above, below):
            return f"larger:{above}" if above is not None else f"smaller:{below}"
        case Sent() as sent:
            return _describe_sent(sent)


def _unwrapped(condition: Condition) -> Condition:
    while isinstance(condition, All | Either) and len(condition.parts) == 1:
        condition = condition.parts[0]
    return condition


def _in_brackets(part: Condition) -> str:
    part = _unwrapped(part)
    is_joined = isinstance(part, All | Either) and part.parts
    is_period = isinstance(part, Sent) and part.start is not None and part.end is not None
    return f"({describe(part)})" if is_joined or is_period else describe(part)


def _describe_sent(sent: Sent) -> str:
    ends = [("after", sent.start), ("before", sent.end)]
    return " AND ".join(f"{name}:{_moment(at, sent.absolute)}" for name, at in ends if at is not None)


def _moment(seconds: int, absolute: bool) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    if absolute:
        return moment.isoformat().rjust(25, "0")
    return f"{moment.year:04}-{moment:%m-%d}" if seconds % 86_400 == 0 else f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}"


class _Parser:
    def __init__(self, text: str, now: datetime) -> None:
        lexer = Lexer(text)
        self._now = now
        self._tokens = lexer.tokens()
        self._text = lexer.text
        self._at = 0
        self._depth = 0

    def parse(self) -> All:
        return self._query(None)

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _query(self, field: str | None) -> All:
        parts = []
        while self._token.kind not in (")", "end"):
            parts.append(self._either(field))
        return All(tuple(parts))

    def _either(self, field: str | None) -> Condition:
        parts = [self._both(field)]
        while self._token.kind == "or":
            self._take()
            parts.append(self._both(field))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self, field: str | None) -> Condition:
        parts = [self._one(field)]
        while self._token.kind == "and":
            self._take()
            parts.append(self._one(field))
        return _all(parts)

    def _one(self, field: str | None) -> Condition:
        token = self._take()
        match token.kind:
            case "not":
                if self._token.kind == "not" and "-" in (token.text, self._token.text):
                    raise self._error(token, "two negations in a row", _SAME)
                return self._negation(token, field)
            case "(":
                return self._group(token, field)
            case "field":
                if field is not None:
                    raise self._error(token, f"{token.text}: inside {field}:(…)", "Write each field by itself.")
                return self._one(token.text)
            case "word" | "phrase":
                return self._leaf(token, field)
        needs = {"and": "AND needs something on both sides", "or": "OR needs something on both sides"}
        before = self._tokens[self._at - 2] if self._at > 1 else token
        if token.kind in needs:
            raise self._error(token, needs[token.kind], _SAME)
        if before.kind == "not":
            raise self._error(before, "nothing to exclude follows", _SAME)
        raise self._error(before, needs.get(before.kind, "something is missing here"), _SAME)

    def _negation(self, token: Token, field: str | None) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(token, f"more than {_DEEPEST} negations within each other", None)
        part = self._one(field)
        self._depth -= 1
        return Not(part)

    def _group(self, opened: Token, field: str | None) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(opened, f"more than {_DEEPEST} parentheses within each other", None)
        inner = self._query(field)
        self._depth -= 1
        if not inner.parts:
            raise self._error(opened, "nothing is in these parentheses", _SAME)
        self._take()
        return inner

    def _leaf(self, token: Token, field: str | None) -> Condition:
        is_quoted = token.kind == "phrase"
        if self._depth and not is_quoted and re.search(r"[,|;](?!\d)", token.text):
            raise self._error(token, "a comma joins nothing", f"Write (a OR b). {_SAME}")
        if field is None:
            prefix = not is_quoted and _PREFIX.fullmatch(token.text) is not None
            return Words(token.text.rstrip("*") if prefix else token.text, prefix=prefix, quoted=is_quoted)
        try:
            if is_quoted and field == "subject" and token.text.strip():
                return Words(token.text, in_subject=True, quoted=True)
            return condition_of(field, token.text, self._now)
        except QueryError as error:
            raise self._error(token, error.message, error.hint) from None

    def _error(self, token: Token, message: str, hint: str | None) -> QueryError:
        return error_at(self._text, token.start, max(token.end, token.start + 1), message, hint)
