"""Filters of the query language, each as a condition on messages; and the same filters given one by one."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import phrase
from vaultembed.errors import QueryError

FIELDS: Final = ("from", "to", "subject", "label", "source", "type", "has", "before", "after")
_LONGEST: Final = 1_000  # SQLite refuses a LIKE pattern of 50,000
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters for programs, which need not be written as a query. "" is none; all that are given must hold."""

    sender: str = ""
    """Address or name contains it."""
    recipient: str = ""
    label: str = ""
    """Label, or folder."""
    source: str = ""
    """Its path contains it."""
    message_type: str = ""
    after: str = ""
    """2019, 2019-06 or 2019-06-30: sent then or later (UTC)."""
    before: str = ""
    has_attachment: bool = False

    def condition(self) -> Filter:
        """
        Raises:
            QueryError: a date is none.
        """
        given = (
            ("from", self.sender),
            ("to", self.recipient),
            ("label", self.label),
            ("source", self.source),
            ("type", self.message_type),
            ("after", self.after),
            ("before", self.before),
            ("has", "attachment" if self.has_attachment else ""),
        )
        return all_of([condition(field, value) for field, value in given if value])


def all_of(conditions: Sequence[Filter]) -> Filter:
    some = [condition for condition in conditions if not condition.is_empty]
    if not some:
        return Filter()
    return Filter(
        " AND ".join(f"({condition.sql})" for condition in some),
        tuple(binding for condition in some for binding in condition.bindings),
    )


def condition(field: str, value: str) -> Filter:
    """`field`: one of FIELDS.

    Raises:
        QueryError: it makes no sense, e.g. a date that is none.
    """
    if not value:
        raise QueryError(f"nothing follows {field}:", f"Write it without a space: {field}:something")
    if len(value) > _LONGEST:
        raise QueryError(f"what follows {field}: is too long", f"Use at most {_LONGEST:,} characters.")
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
    if field == "source":
        sources = (
            "SELECT x.message_id FROM message_sources x JOIN sources s ON s.id = x.source_id"
            " WHERE s.identifier LIKE ? ESCAPE '\\'"
        )
        return Filter(f"m.id IN ({sources})", (_like(value),))
    if field == "type":
        return Filter("m.message_type = ?", (value.lower(),))
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
