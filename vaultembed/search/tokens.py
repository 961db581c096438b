"""Cuts a query into tokens, and refuses what looks like an operator of ours and is none: taken for a word, it would
find what it was to exclude."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.errors import QueryError
from vaultembed.search.filters import FIELDS, likely_field

_PLAIN: Final = str.maketrans("“”„‟«»＂‐‑‒–−⁃﹣－：（）", '"""""""--------:()')
"""What phones, word processors and keyboards of other scripts write instead. Each stands for one character, so that
places in an error are right."""
_JOINERS: Final = "\u200c\u200d"  # which words of Persian and of India have within
_OPERATOR: Final = re.compile(r"(NOT|AND|OR)(?=[\s()]|$)")
_FIELD: Final = re.compile(r"([^\W\d]\w*):(?!//)")
_SAME: Final = "To search for it, put it in quotes."
_TRAPS: Final = (
    (
        re.compile(r"(?:--+|[!！—―﹘⸺⸻¬￢⁻₋˗➖־᠆ー]|[^\w\s\"():;=-]-)[^\w\s\"(]*(?=[\w\"(])"),
        "this excludes nothing",
        f"To exclude: -word. {_SAME}",
    ),
    (re.compile(r"-?\{|-\[(?=\w)"), "these brackets group nothing", f"Write (a OR b). {_SAME}"),
    (re.compile(r"(?:NOT|AND|OR)[:-](?=\w)"), "this is no operator", f"Put a space behind it. {_SAME}"),
    (
        re.compile(rf"-?(?:{'|'.join(FIELDS)})(?:[=(\"]|\s+:\s*[(\"]?(?=\w))", re.IGNORECASE),
        "this is no field",
        f"Write field:value, without spaces. {_SAME}",
    ),
)
"""At the beginning of a token."""
_VALUE_TRAP: Final = re.compile(r"[-!{](?=\w)|(?:NOT|AND|OR)$")
_NO_QUOTES: Final = re.compile(r"['‘’‚‛`´‹›′″‴❛❜❝❞〝〞〟「『《〈【＇｢｛]")
_NO_QUOTES_TO_EXCLUDE: Final = re.compile(_NO_QUOTES.pattern[:-1] + r"\[<［＜]")  # a field's value may be <a@b.example>
_SMALL: Final = frozenset({"not", "and", "or"})
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Token:
    kind: Literal["word", "phrase", "field", "not", "and", "or", "(", ")", "end"]
    text: str
    start: int
    end: int


def is_small_operator(word: str) -> bool:
    """`or`, `Not`, `ＡＮＤ`: only in capitals they are operators."""
    return unicodedata.normalize("NFKC", word).casefold() in _SMALL


def error_at(text: str, start: int, end: int, message: str, hint: str | None) -> QueryError:
    """With the place, marked below the query."""
    line = re.sub(r"\s", " ", text)
    first = max(0, min(start, len(line)) - _SHOWN // 2)
    dots = "…" if first else ""
    marks = "^" * max(1, min(end, first + _SHOWN) - start)
    pointer = f"  {dots}{line[first : first + _SHOWN]}\n  {' ' * (len(dots) + start - first)}{marks}"
    return QueryError(f"{message}\n{pointer}", hint)


class Lexer:
    """A parenthesis counts where a word could begin, and the one that closes it; elsewhere it belongs to the word:
    "f(x)", ":-)"."""

    def __init__(self, query: str) -> None:
        # what nobody sees, such as a mark that a page had before a word, is no part of NOT, nor between it and a minus
        self.text = "".join(c for c in query.translate(_PLAIN) if c in _JOINERS or unicodedata.category(c) != "Cf")
        self._opened: list[int] = []

    def tokens(self) -> Sequence[Token]:
        """
        Raises:
            QueryError: something is not closed, or looks like an operator and is none.
        """
        if any(unicodedata.category(c) == "Cs" for c in self.text):
            raise QueryError("the query is not UTF-8", None)
        found = list(self._read())
        self._check_neighbours(found)
        return found

    def _read(self) -> Iterator[Token]:
        at, after_field = 0, False
        while at < len(self.text):
            if self.text[at].isspace() or self.text[at] in _JOINERS or unicodedata.category(self.text[at]) == "Cc":
                at += 1
                continue
            token = self._value(at) if after_field else self._token(at)
            if after_field and token.kind == "word" and _VALUE_TRAP.match(token.text):
                raise self._error(
                    token, "this excludes nothing", 'To exclude: -field:value. To find it: field:"-value"'
                )
            after_field = token.kind == "field"
            at = token.end
            yield token
        if self._opened:
            at = self._opened[-1]
            raise error_at(self.text, at, at + 1, "this parenthesis is never closed", _SAME)
        yield Token("end", "", len(self.text), len(self.text))

    def _token(self, at: int) -> Token:
        if self.text[at] == ")" and self._opened:
            self._opened.pop()
            return Token(")", ")", at, at + 1)
        for trap, message, hint in _TRAPS:
            if found := trap.match(self.text, at):
                raise error_at(self.text, at, max(found.end(), at + 1), message, hint)
        if self.text[at] == "-" and self.text[at + 1 : at + 2].strip(" \t\r\n-"):
            return Token("not", "-", at, at + 1)
        if found := _OPERATOR.match(self.text, at):
            return Token(found[1].lower(), found[1], at, found.end())  # type: ignore[arg-type]
        if found := _FIELD.match(self.text, at):
            name = unicodedata.normalize("NFKC", found[1]).lower()
            follows = self.text[found.end() : found.end() + 1].strip()
            if name in FIELDS:
                if not follows:
                    hint = f"Write it without a space: {name}:something"
                    raise error_at(self.text, at, found.end(), f"nothing follows {name}:", hint)
                return Token("field", name, at, found.end())
            if follows and (likely := likely_field(name)):
                raise error_at(self.text, at, found.end(), f"there is no {name}:", f"Is {likely}: meant? {_SAME}")
        return self._value(at)

    def _value(self, at: int) -> Token:
        """What may stand after a field as well: a phrase, a parenthesis, or a word, whatever it looks like."""
        if self.text[at] == "(":
            self._opened.append(at)
            return Token("(", "(", at, at + 1)
        if self.text[at] == '"':
            end = self.text.find('"', at + 1)
            if end < 0:
                raise error_at(self.text, at, at + 1, "this quotation mark is never closed", 'A phrase: "two words"')
            return Token("phrase", self.text[at + 1 : end], at, end + 1)
        end, inner = at, 0
        while end < len(self.text) and not self.text[end].isspace() and self.text[end] != '"':
            inner += {"(": 1, ")": -1}.get(self.text[end], 0)
            if inner < 0:
                if self._opened:
                    break
                inner = 0
            end += 1
        return Token("word", self.text[at:end], at, end)

    def _check_neighbours(self, tokens: Sequence[Token]) -> None:
        """`from:anna or from:bob`, `- from:x` and `-a"b c"` are refused; where words only rank, "or" is one."""
        depth = 0
        for n, token in enumerate(tokens[:-1]):
            before, after = tokens[n - 1].kind if n else "end", tokens[n + 1].kind
            depth += {"(": 1, ")": -1}.get(token.kind, 0)
            glued = n > 0 and tokens[n - 1].end == token.start and before in ("word", "phrase")
            if glued and (token.kind in ("phrase", "not") or re.match(r"[\w\\]", token.text)):
                raise self._error(token, "a quotation mark within a word", f"Put a space there. {_SAME}")
            no_quotes = {"not": _NO_QUOTES_TO_EXCLUDE, "field": _NO_QUOTES}.get(before)
            if token.kind == "word" and no_quotes and no_quotes.match(token.text):
                raise self._error(token, "this quotes nothing", f'A phrase: "two words". {_SAME}')
            if token.kind != "word" or before == "field":
                continue
            if set(token.text) == {"-"} and after in ("field", "phrase", "("):
                raise self._error(token, "this excludes nothing", "Write it without a space behind it.")
            is_beside = after in ("field", "phrase", "(", "not") or before in ("phrase", ")", "not")
            is_beside |= n > 1 and tokens[n - 2].kind == "field"
            if is_small_operator(token.text) and (depth or (is_beside and token.text.casefold() != "and")):
                name = unicodedata.normalize("NFKC", token.text).upper()
                hint = f'Write {name}, or "{token.text}" for the word.'
                raise self._error(token, f"{token.text!r} is a word here", hint)

    def _error(self, token: Token, message: str, hint: str | None) -> QueryError:
        return error_at(self.text, token.start, token.end, message, hint)
