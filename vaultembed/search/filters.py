"""Fields of the query language, each with what its value means; and the same filters given one by one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from vaultembed.archive.conditions import ANYWHERE, All, Condition, Field, Has, Not, Sent, Size, Words
from vaultembed.archive.mail.fulltext import phrase
from vaultembed.errors import QueryError
from vaultembed.search.dates import Period, ago, period
from vaultembed.text.folding import folded

_LONGEST: Final = 1_000
_SIZE: Final = re.compile(r"(\d{1,15})\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_FLAGS: Final = {
    "read": "seen",
    "seen": "seen",
    "unread": "seen",
    "unseen": "seen",
    "answered": "answered",
    "replied": "answered",
    "flagged": "flagged",
    "starred": "flagged",
    "draft": "draft",
    "forwarded": "passed",
    "passed": "passed",
    "trashed": "trashed",
}
_DATES: Final = "2019, 2019-06, 2019-06-30, 30.06.2019, June 2019, today or yesterday"


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters for programs, which need not be written as a query. "" is none; all that are given must hold."""

    sender: str = ""
    """Address or name contains it."""
    recipient: str = ""
    label: str = ""
    """Label or folder: its last part, or any run of its parts."""
    source: str = ""
    """Its path contains it."""
    message_type: str = ""
    after: str = ""
    """A date as in a query: sent then or later."""
    before: str = ""
    has_attachment: bool = False

    def condition(self, now: datetime | None = None) -> Condition:
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
        now = now or datetime.now()
        return All(tuple(condition_of(field, value, now) for field, value in given if value))


def condition_of(field: str, value: str, now: datetime) -> Condition:
    """What `field:value` asks for. `field`: one of FIELDS. `now`: local, for "today" and 7d.

    Raises:
        QueryError: it makes no sense, or the archive cannot answer it; says what would.
    """
    if not value.strip():
        raise QueryError(f"nothing follows {field}:", f"Write it without a space: {field}:something")
    if len(value) > _LONGEST:
        raise QueryError(f"what follows {field}: is too long", f"Use at most {_LONGEST:,} characters.")
    return _READ[field](field, value.strip(), now)


def _text(field: str, value: str, _: datetime) -> Condition:
    """What is to be contained, so `*.pdf` and `Anna <anna@example.org>` are what is in them."""
    if found := re.fullmatch(r"[^<>]*<([^<>\s]+)>", value):
        value = found[1]
    wanted = value if field in ("label", "in", "type") else value.strip("*")
    if "*" in wanted:
        raise QueryError(f"{field}:{value}: * stands for nothing there", "Write a part of it, without *.")
    if not folded(wanted).strip(" /"):
        raise QueryError(f"{field}:{value} says nothing to look for", None)
    return Has(cast(Field, field), wanted)


def _person(field: str, value: str, now: datetime) -> Condition:
    if value.lower() == "me":
        raise QueryError(f"{field}:me: the archive does not know which address is yours", f"Write it: {field}:ADDRESS")
    return _text(field, value, now)


def _subject(_field: str, value: str, _: datetime) -> Condition:
    if phrase(value) is None:
        raise QueryError(f"there is no word in subject:{value}", None)
    bare = value.removesuffix("*")
    return Words(bare, prefix=bare != value, in_subject=True)


def _folder(field: str, value: str, now: datetime) -> Condition:
    return Has("in", ANYWHERE) if value.lower() == ANYWHERE else _text(field, value, now)


def _state(_field: str, value: str, _: datetime) -> Condition:
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise QueryError(
            f"is:{value} is not known",
            f"What there is: {', '.join(f'is:{name}' for name in _FLAGS)}. For a folder: in:{value}",
        )
    has = Has("is", flag)
    return Not(has) if value.lower().startswith("un") else has


def _has(_field: str, value: str, _: datetime) -> Condition:
    if value.lower() not in ("attachment", "attachments"):
        raise QueryError(f"has:{value} is not known", "What there is: has:attachment. For a kind of file: filename:pdf")
    return Has("has", "attachment")


def _message_id(_field: str, value: str, _: datetime) -> Condition:
    return Has(
        "id", _number("id", value) if value.isascii() and value.isdigit() else value.removeprefix("<").removesuffix(">")
    )


def _thread(_field: str, value: str, _: datetime) -> Condition:
    if not (value.isascii() and value.isdigit()):
        raise QueryError(f"thread:{value} is no number", "The thread_id of a message is in: vaultembed show ID --json")
    return Has("thread", _number("thread", value))


def _number(field: str, value: str) -> str:
    if int(value) >= 2**63:
        raise QueryError(f"{field}:{value} is too large a number", None)
    return str(int(value))


def _size(field: str, value: str, _: datetime) -> Condition:
    found = _SIZE.fullmatch(value)
    if found is None:
        raise QueryError(f"{field}:{value} is no size", f"Write {field}:500k, {field}:5M or {field}:1G")
    size = int(found[1]) * _UNITS[found[2].lower()]
    if size >= 2**63:
        raise QueryError(f"{field}:{value} is too large a number", None)
    return Size(above=size) if field == "larger" else Size(below=size)


def _date(field: str, value: str, now: datetime) -> Condition:
    if field == "date" and ".." in value:
        first, last = (part.strip() for part in value.split("..", 1))
        parts = [_sent(_period(field, first, now), start=True)] if first else []
        parts += [_sent(_period(field, last, now), end=True)] if last else []
        if not parts:
            raise QueryError("date:.. has neither end", "Write date:2019..2020, date:2019.. or date:..2020")
        if len(parts) == 2 and (parts[0].start or 0) >= (parts[1].end or 0):
            raise QueryError(f"date:{value} ends before it begins", f"Write date:{last}..{first}")
        return parts[0] if len(parts) == 1 else All(tuple(parts))
    when = _period(field, value, now)
    if field == "before":
        return Sent(end=when.start, absolute=when.absolute)
    return _sent(when, start=True, end=field != "after")


def _sent(when: Period, *, start: bool = False, end: bool = False) -> Sent:
    return Sent(when.start if start else None, when.end if end else None, when.absolute)


def _period(field: str, value: str, now: datetime) -> Period:
    try:
        found = period(value, now)
        for end in (found.start, found.end):
            datetime.fromtimestamp(end, UTC)  # the last year there is has no end
        return found
    except (ValueError, OverflowError):
        raise QueryError(f"{field}:{value} is no date", f"Write {_DATES} after {field}:") from None


def _age(field: str, value: str, now: datetime) -> Condition:
    try:
        then = ago(value, now)
    except (ValueError, OverflowError):
        raise QueryError(f"{field}:{value} is no length of time", f"Write {field}:7d, 2w, 3m or 1y") from None
    return Sent(end=then) if field == "older_than" else Sent(start=then)


_READ: Final[dict[str, Callable[[str, str, datetime], Condition]]] = {
    **dict.fromkeys(("from", "to", "cc", "bcc", "with"), _person),
    **dict.fromkeys(("label", "list", "filename", "type", "source"), _text),
    "subject": _subject,
    "in": _folder,
    "is": _state,
    "has": _has,
    **dict.fromkeys(("before", "after", "on", "date"), _date),
    **dict.fromkeys(("older_than", "newer_than"), _age),
    **dict.fromkeys(("larger", "smaller"), _size),
    "id": _message_id,
    "thread": _thread,
}
FIELDS: Final = tuple(_READ)
_SYNONYMS: Final = {
    "from": "sender author",
    "to": "recipient deliveredto",
    "label": "tag category",
    "in": "folder mailbox path",
    "is": "flag",
    "filename": "attachment file filetype ext",
    "id": "mid msgid rfc822msgid",
    "thread": "conversation",
    "list": "listid",
    "after": "since newer",
    "before": "until older",
    "subject": "title",
    "larger": "size bigger larger_than",
    "smaller": "smaller_than",
    "on": "sent received",
}
"""What other programs call a field."""


def likely_field(name: str) -> str | None:
    """The field most likely meant by `name:`; None where it looks like a word before a colon ("re:", "https:")."""
    name = name.lower()
    for field, synonyms in _SYNONYMS.items():
        if name in synonyms.split():
            return field
    if len(name) < 3:
        return None
    # of short names only those that begin alike: "not:" is no "to:"
    near = [field for field in FIELDS if len(name) > 4 or field[0] == name[0]]
    beginning = [field for field in near if field.startswith(name)]
    return next(iter(beginning or difflib.get_close_matches(name, near, 1, 0.75)), None)
