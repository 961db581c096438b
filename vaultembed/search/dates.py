"""Dates as people write them in a query, and as our own tools print them."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_YEARS: Final = ("%Y",)
_MONTHS: Final = ("%Y-%m", "%Y/%m", "%m.%Y", "%B %Y", "%b %Y")
_DAYS: Final = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d %B %Y", "%d %b %Y", "%d. %B %Y", "%d. %b %Y"),
    *("%d-%b-%Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%b %d %Y"),
)
_AGO: Final = re.compile(r"(\d{1,4})\s*(d|w|m|y|days?|weeks?|months?|years?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` on, before `end`; seconds since 1970, as if every clock showed UTC unless `absolute`."""

    start: int
    end: int
    absolute: bool = False


def period(text: str, now: datetime) -> Period:
    """A year, month, day or moment. `now`: what "today" means.

    Raises:
        ValueError: `text` names none, or could name two (03/04/2019).
    """
    text = " ".join(text.split())
    if text.lower() in ("today", "yesterday"):
        return _days(now - timedelta(days=text.lower() == "yesterday"), 1)
    for formats, months in ((_YEARS, 12), (_MONTHS, 1), (_DAYS, 0)):
        for form in formats:
            if form == "%Y%m%d" and len(text) != 8:
                continue  # it would take 201912 for the 2nd of January
            try:
                start = datetime.strptime(text, form)
            except ValueError:
                continue
            return Period(_seconds(start), _seconds(_months_later(start, months))) if months else _days(start, 1)
    if not re.match(r"\d{4}-?\d\d-?\d\d[Tt ]\d", text):  # a week, or a time alone
        raise ValueError(text)
    moment = datetime.fromisoformat(text.upper())
    time = re.sub(r"([+-]\d\d(:?\d\d)?|Z|[.,]\d+)+$", "", re.split("[Tt ]", text, maxsplit=1)[1], flags=re.IGNORECASE)
    length = (3_600, 60, 1)[len(time.replace(":", "")) // 2 - 1]
    start_at = int(moment.timestamp()) if moment.tzinfo else _seconds(moment)
    return Period(start_at, start_at + length, absolute=moment.tzinfo is not None)


def ago(text: str, now: datetime) -> int:
    """7d, 2w, 3m or 1y before now, in the same seconds.

    Raises:
        ValueError: it is none of these.
    """
    found = _AGO.fullmatch(text)
    if found is None:
        raise ValueError(text)
    count, unit = int(found[1]), found[2][0].lower()
    if unit in "dw":
        return _seconds(now - timedelta(days=count * (7 if unit == "w" else 1)))
    return _seconds(_months_later(now, -count * (12 if unit == "y" else 1)))


def _months_later(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def _days(moment: datetime, days: int) -> Period:
    start = calendar.timegm((moment.year, moment.month, moment.day, 0, 0, 0))
    return Period(start, start + days * 86_400)


def _seconds(moment: datetime) -> int:
    return calendar.timegm(moment.timetuple())
