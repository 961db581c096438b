"""Filters of the query language, each as a condition on messages; and the same filters given one by one."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vaultembed.archive.conditions import (
    All,
    Condition,
    HasAttachment,
    Label,
    Recipient,
    Sender,
    SentBefore,
    SentFrom,
    Source,
    SubjectWords,
    Type,
)
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

    def condition(self) -> Condition:
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
        return All(tuple(condition(field, value) for field, value in given if value))


def condition(field: str, value: str) -> Condition:
    """`field`: one of FIELDS.

    Raises:
        QueryError: it makes no sense, e.g. a date that is none.
    """
    if not value:
        raise QueryError(f"nothing follows {field}:", f"Write it without a space: {field}:something")
    if len(value) > _LONGEST:
        raise QueryError(f"what follows {field}: is too long", f"Use at most {_LONGEST:,} characters.")
    if field == "from":
        return Sender(value)
    if field == "to":
        return Recipient(value)
    if field == "subject":
        if phrase(value) is None:
            raise QueryError(f"there is no word in subject:{value}")
        return SubjectWords(value)
    if field == "label":
        return Label(value)
    if field == "source":
        return Source(value)
    if field == "type":
        return Type(value.lower())
    if field == "has":
        if value.lower() not in ("attachment", "attachments"):
            raise QueryError(f"has:{value} is not known", "What there is: has:attachment")
        return HasAttachment()
    at = _first_second(field, value)
    return SentBefore(at) if field == "before" else SentFrom(at)


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
