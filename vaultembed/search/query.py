"""The query language: words, "phrases" and filters (`from: to: subject: label: source: type: has: before:
after:`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.conditions import All, Condition, compile_condition
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import match_expression, phrase
from vaultembed.archive.mail.lexical import distinctive_words
from vaultembed.errors import QueryError
from vaultembed.search.filters import FIELDS, condition

_TOKEN: Final = re.compile(r'(?:(?P<field>[A-Za-z]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))')
_MOST_WORDS: Final = 120
_MOST_FILTERS: Final = 50


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    """What is left without filters: what the model embeds."""
    words: tuple[str, ...]
    phrases: tuple[str, ...]
    """Each must occur in a text result."""
    condition: Condition
    """What the filters say."""

    @property
    def only(self) -> Filter:
        return compile_condition(self.condition)

    def match_distinctive(self, archive: Archive) -> str | None:
        """FTS5 expression for every phrase and any word that tells messages apart; None where there are none."""
        return self._match(distinctive_words(archive, self._searchable()))

    def match_any(self) -> str | None:
        """FTS5 expression for every phrase and any word; None where there is nothing to match."""
        return self._match(self._searchable())

    def _searchable(self) -> list[str]:
        return list(dict.fromkeys(found for word in self.words if (found := phrase(word))))[:_MOST_WORDS]

    def _match(self, words: list[str]) -> str | None:
        return match_expression([found for quoted in self.phrases if (found := phrase(quoted))], words)


def plain_query(text: str) -> Query:
    """A query of words alone, whatever they look like: for text that nobody wrote as a query."""
    return Query(text, tuple(text.split()), (), All())


def parse_query(query: str) -> Query:
    """Split a query into words, phrases and filters.

    Raises:
        QueryError: a filter makes no sense, e.g. a date that is none.
    """
    words: list[str] = []
    phrases: list[str] = []
    text: list[str] = []
    conditions: list[Condition] = []
    for token in _TOKEN.finditer(query):
        field = (token["field"] or "").lower()
        value = token["quoted"] if token["quoted"] is not None else token["bare"]
        if field in FIELDS:
            conditions.append(condition(field, value))
        elif token["bare"] and token["bare"].removesuffix(":").lower() in FIELDS and token["bare"].endswith(":"):
            raise QueryError(f"nothing follows {token['bare']}", f"Write it without a space: {token['bare']}something")
        elif field:  # "re:" or "https://…": no filter of ours, so words
            words.append(token[0])
            text.append(token[0])
        elif token["quoted"] is not None:
            phrases.append(value)
            text.append(value)
        else:
            words.append(value)
            text.append(value)
    if len(conditions) > _MOST_FILTERS:
        raise QueryError(f"{len(conditions)} filters are too many", f"Use at most {_MOST_FILTERS}.")
    return Query(" ".join(text).strip(), tuple(words), tuple(phrases), All(tuple(conditions)))
