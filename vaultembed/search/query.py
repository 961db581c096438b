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
from typing import Final, Literal

from vaultembed.archive.conditions import (
    All,
    Condition,
    Either,
    Has,
    Not,
    Sent,
    Size,
    Words,
    compile_condition,
    match_of,
)
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import match_expression, phrase
from vaultembed.archive.mail.lexical import distinctive_words
from vaultembed.errors import QueryError
from vaultembed.search.filters import FIELDS, condition_of, likely_field

_MOST_WORDS: Final = 120
_MOST_PARTS: Final = 200
_DEEPEST: Final = 40
_PLAIN: Final = str.maketrans("“”„‟«»＂‐‑–−－：（）", '"""""""-----:()')
"""What phones, word processors and keyboards of other scripts write instead: taken for a letter, a dash would include
what it was to exclude. Each stands for one character, so that places in an error are right."""
_NO_MINUS: Final = re.compile(r"(?:--+|[!—])(?=[\w\"(])")
_FIELD: Final = re.compile(r"([A-Za-z_]+):(?!//)")
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    """What the model embeds: words and phrases in their order, without what is excluded."""
    words: tuple[Words, ...]
    """Any of them ranks a message by words; without what is excluded."""
    condition: Condition
    """What a search demands: everything but bare words."""
    everything: All
    """What a command demands that changes messages, or counts them: every word, too."""

    @property
    def only(self) -> Filter:
        return compile_condition(self.condition)

    def match_distinctive(self, archive: Archive) -> str | None:
        """FTS5 expression for every phrase and any word that tells messages apart; None where there are none."""
        bare, others = self._searchable()
        return match_expression([], [*others, *distinctive_words(archive, bare)])

    def match_any(self) -> str | None:
        """FTS5 expression for any phrase and any word; None where there is nothing to match."""
        bare, others = self._searchable()
        return match_expression([], [*others, *bare])

    def _searchable(self) -> tuple[list[str], list[str]]:
        """Bare words, and those that are quoted or go on: these tell messages apart whatever they are."""
        found = dict.fromkeys((match_of(words), words.quoted or words.prefix) for words in self.words)
        some = [(match, special) for match, special in found if match is not None][:_MOST_WORDS]
        return [match for match, special in some if not special], [match for match, special in some if special]


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
    bare = [part for part in tree.parts if isinstance(part, Words) and not part.quoted and not part.in_subject]
    for words in _words_of(tree):
        if match_of(words) is None and not any(words is word for word in bare):
            raise QueryError(f"there is no word in {words.text!r} to look for", None)
    wanted = tuple(_wanted(tree))
    return Query(
        text=" ".join(words.text for words in wanted).strip(),
        words=wanted,
        condition=All(tuple(part for part in tree.parts if not any(part is word for word in bare))),
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


def _words_of(condition: Condition) -> Iterator[Words]:
    match condition:
        case Words():
            yield condition
        case Not(part):
            yield from _words_of(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from _words_of(part)


def describe(condition: Condition) -> str:
    """How a query was read, in words that would be read so again."""
    match _unwrapped(condition):
        case Not(part):
            return f"NOT {_in_brackets(part)}"
        case All(parts):
            return " AND ".join(_in_brackets(part) for part in parts) or "every message"
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
        return moment.isoformat()
    return f"{moment:%Y-%m-%d}" if seconds % 86_400 == 0 else f"{moment:%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["word", "phrase", "field", "not", "and", "or", "(", ")", "end"]
    text: str
    start: int
    end: int


_OPERATORS: Final[dict[str, Literal["not", "and", "or"]]] = {"NOT": "not", "AND": "and", "OR": "or"}
_SAME: Final = "To search for it, put it in quotes."


class _Lexer:
    """Cuts a query into tokens. A parenthesis counts where a word could begin, and the one that closes it; elsewhere it
    belongs to the word: "f(x)", ":-)"."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._opened: list[int] = []

    def tokens(self) -> Iterator[_Token]:
        at, after_field = 0, False
        while at < len(self._text):
            if self._text[at].isspace():
                at += 1
                continue
            token = self._value(at) if after_field else self._token(at)
            after_field = token.kind == "field"
            at = token.end
            yield token
        if self._opened:
            at = self._opened[-1]
            raise _error(self._text, at, at + 1, "this parenthesis is never closed", _SAME)
        yield _Token("end", "", len(self._text), len(self._text))

    def _token(self, at: int) -> _Token:
        following = self._text[at + 1 : at + 2].strip()
        if self._text[at] == ")" and self._opened:
            self._opened.pop()
            return _Token(")", ")", at, at + 1)
        if found := _NO_MINUS.match(self._text, at):
            raise _error(self._text, at, found.end(), "this excludes nothing", f"To exclude: -word. {_SAME}")
        if self._text[at] == "-" and following not in ("", "-"):
            return _Token("not", "-", at, at + 1)
        if found := _FIELD.match(self._text, at):
            name = found[1].lower()
            follows = self._text[found.end() : found.end() + 1].strip()
            if name in FIELDS:
                if not follows:
                    hint = f"Write it without a space: {name}:something"
                    raise _error(self._text, at, found.end(), f"nothing follows {name}:", hint)
                return _Token("field", name, at, found.end())
            if follows and (likely := likely_field(name)):
                raise _error(self._text, at, found.end(), f"there is no {name}:", f"Is {likely}: meant? {_SAME}")
        token = self._value(at)
        return _Token(_OPERATORS.get(token.text, "word"), token.text, at, token.end) if token.kind == "word" else token

    def _value(self, at: int) -> _Token:
        """What may stand after a field as well: a phrase, a parenthesis, or a word, whatever it looks like."""
        if self._text[at] == "(":
            self._opened.append(at)
            return _Token("(", "(", at, at + 1)
        if self._text[at] == '"':
            end = self._text.find('"', at + 1)
            if end < 0:
                raise _error(self._text, at, at + 1, "this quotation mark is never closed", 'A phrase: "two words"')
            return _Token("phrase", self._text[at + 1 : end], at, end + 1)
        end, inner = at, 0
        while end < len(self._text) and not self._text[end].isspace() and self._text[end] != '"':
            inner += {"(": 1, ")": -1}.get(self._text[end], 0)
            if inner < 0:
                if self._opened:
                    break
                inner = 0
            end += 1
        return _Token("word", self._text[at:end], at, end)


class _Parser:
    def __init__(self, text: str, now: datetime) -> None:
        self._text = text.translate(_PLAIN)
        self._now = now
        self._tokens = list(_Lexer(self._text).tokens())
        self._at = 0
        self._depth = 0
        self._leaves = 0

    def parse(self) -> All:
        return self._query(None)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
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
                if self._token.kind == "not" and self._token.text == "-":
                    raise self._error(token, "two negations in a row", _SAME)
                return Not(self._one(field))
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

    def _group(self, opened: _Token, field: str | None) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(opened, f"more than {_DEEPEST} parentheses within each other", None)
        inner = self._query(field)
        self._depth -= 1
        if not inner.parts:
            raise self._error(opened, "nothing is in these parentheses", _SAME)
        self._take()
        return inner

    def _leaf(self, token: _Token, field: str | None) -> Condition:
        self._leaves += 1
        if self._leaves > _MOST_PARTS and (field is not None or token.kind == "phrase"):
            raise self._error(token, f"more than {_MOST_PARTS} parts", "Ask for less at once.")
        if field is not None:
            try:
                return condition_of(field, token.text, self._now)
            except QueryError as error:
                raise self._error(token, error.message, error.hint) from None
        quoted = token.kind == "phrase"
        prefix = not quoted and token.text.endswith("*") and phrase(token.text) is not None
        return Words(token.text.rstrip("*") if prefix else token.text, prefix=prefix, quoted=quoted)

    def _error(self, token: _Token, message: str, hint: str | None) -> QueryError:
        return _error(self._text, token.start, max(token.end, token.start + 1), message, hint)


_SHOWN: Final = 60


def _error(text: str, start: int, end: int, message: str, hint: str | None) -> QueryError:
    """With the place, marked below the query."""
    line = _SPACE.sub(" ", text) if "\n" in text or "\t" in text else text
    from_ = max(0, min(start, len(line)) - _SHOWN // 2)
    shown = line[from_ : from_ + _SHOWN]
    dots = "…" if from_ else ""
    marks = "^" * max(1, min(end, from_ + _SHOWN) - start)
    pointer = f"  {dots}{shown}\n  {' ' * (len(dots) + start - from_)}{marks}"
    return QueryError(f"{message}\n{pointer}", hint)
