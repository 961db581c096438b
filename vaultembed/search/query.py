"""The query language: words, "phrases" and filters (`from: to: subject: label: has: before: after:`)."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.fulltext import phrase
from vaultembed.archive.lexical import telling_words
from vaultembed.errors import QueryError

FIELDS: Final = ("from", "to", "subject", "label", "has", "before", "after")
_TOKEN: Final = re.compile(r'(?:(?P<field>[A-Za-z]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))')
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_MOST_WORDS: Final = 120
_MOST_FILTERS: Final = 50


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    """What is left without filters: what the model embeds."""
    words: tuple[str, ...]
    phrases: tuple[str, ...]
    """Each must occur in a text result."""
    only: Filter

    def match_telling(self, archive: Archive) -> str | None:
        """FTS5 expression for every phrase and any word that tells messages apart; None where there are none."""
        return self._match(telling_words(archive, self._searchable()))

    def match_any(self) -> str | None:
        """FTS5 expression for every phrase and any word; None where there is nothing to match."""
        return self._match(self._searchable())

    def _searchable(self) -> list[str]:
        return list(dict.fromkeys(found for word in self.words if (found := phrase(word))))[:_MOST_WORDS]

    def _match(self, words: list[str]) -> str | None:
        parts = [found for quoted in self.phrases if (found := phrase(quoted))]
        if words:
            parts.append(f"({' OR '.join(words)})")
        return " AND ".join(parts) or None


def plain_query(text: str) -> Query:
    """A query of words alone, whatever they look like: for text that nobody wrote as a query."""
    return Query(text, tuple(text.split()), (), Filter())


def parse_query(query: str) -> Query:
    """Split a query into words, phrases and filters.

    Raises:
        QueryError: a filter makes no sense, e.g. a date that is none.
    """
    words: list[str] = []
    phrases: list[str] = []
    text: list[str] = []
    conditions: list[Filter] = []
    for token in _TOKEN.finditer(query):
        field = (token["field"] or "").lower()
        value = token["quoted"] if token["quoted"] is not None else token["bare"]
        if field in FIELDS:
            conditions.append(_condition(field, value))
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
    only = Filter()
    if conditions:
        only = Filter(
            " AND ".join(f"({condition.sql})" for condition in conditions),
            tuple(binding for condition in conditions for binding in condition.bindings),
        )
    return Query(" ".join(text).strip(), tuple(words), tuple(phrases), only)


def _condition(field: str, value: str) -> Filter:
    if not value:
        raise QueryError(f"nothing follows {field}:", f"Write it without a space: {field}:something")
    if field == "from":
        return Filter(f"m.sender_id IN ({_PEOPLE})", (_like(value),))
    if field == "to":
        people = f"SELECT r.message_id FROM message_recipients r WHERE r.participant_id IN ({_PEOPLE})"
        return Filter(f"m.id IN ({people})", (_like(value),))
    if field == "subject":
        match = phrase(value)
        if match is None:
            raise QueryError(f"there is no word in subject:{value}")
        found = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?"
        return Filter(
            f"m.id IN ({found}) AND m.id NOT IN (SELECT message_id FROM fulltext_stale)", (f"subject:{match}",)
        )
    if field == "label":
        labels = (
            "SELECT x.message_id FROM message_labels x JOIN labels l ON l.id = x.label_id"
            " WHERE l.name = ? COLLATE NOCASE"
        )
        return Filter(f"m.id IN ({labels})", (value,))
    if field == "has":
        if value.lower() not in ("attachment", "attachments"):
            raise QueryError(f"has:{value} is not known", "What there is: has:attachment")
        return Filter("m.has_attachments = 1")
    start = _first_second(field, value)
    return Filter("m.sent_at < ?" if field == "before" else "m.sent_at >= ?", (start,))


_PEOPLE: Final = (
    "SELECT p.id FROM participants p, (SELECT ? AS pattern) WHERE p.address LIKE pattern ESCAPE '\\'"
    " OR p.name LIKE pattern ESCAPE '\\'"
)


def _like(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _first_second(field: str, value: str) -> int:
    """Of a day, month or year (UTC): `before:2020` ends with 2019, `after:2020` begins with 2020."""
    found = _DATE.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
        return calendar.timegm(datetime(year, month, day, tzinfo=UTC).timetuple())
    except ValueError:
        raise QueryError(
            f"{field}:{value} is no date", f"Write {field}:2019, {field}:2019-06 or {field}:2019-06-30"
        ) from None
