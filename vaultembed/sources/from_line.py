"""The line before each message of an mbox: `From sender date`, in the shapes it has taken since 1975.

    From pd.mes at cbs.dk  Mon Feb 13 10:12:38 2012           pipermail
    From 1234@xxx Mon Feb 13 10:12:38 +0000 2012              Google Takeout
    From - Mon Feb 13 10:12:38 2012                           Mozilla, until 2022
    From ???@??? Mon Feb 13 10:12:38 2012                     Eudora
    From joe Mon Feb 13 10:12 MET 1995 remote from host       System V, UUCP
    From joe@example.org Mon, 13 Feb 2012 10:12:38 +0100      home-made
    From                                                      Mozilla, since

RFC 4155 asks for asctime in UTC; what names no zone is taken as UTC.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_tz
from typing import Final

LONGEST: Final = 512
"""Bytes; a longer line is no From_ line. Addresses end at 254."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
# A month in another language still makes a From_ line; only its date stays unknown.
_WORD: Final = rb"[A-Za-z\x80-\xff]{1,12}\.?"
_TIME: Final = rb"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
_ZONE: Final = rb"[+-]\d\d:?\d\d|\(?[A-Z]{1,5}(?: DST)?(?:[+-]\d{1,4})?\)?"
_YEAR: Final = rb"(?P<year>\d{4}|\d\d)"
_AFTER: Final = rb"(?:[ \t]+\([^()]*\))?(?:[ \t]+remote from \S+)?[ \t]*"
_SHAPES: Final = tuple(
    re.compile(rb"From (?:(?P<sender>.*?)[ \t]+|[ \t]*)" + date + _AFTER)
    for date in (
        rb"(?:%b,?[ \t]+)?(?P<month>%b)[ \t]+(?P<day>\d{1,2}),?[ \t]+%b" % (_WORD, _WORD, _TIME)
        + rb"(?:[ \t]+(?P<zone>%b))?[ \t]+%b(?:[ \t]+(?P<zone_after>%b))?" % (_ZONE, _YEAR, _ZONE),
        rb"(?:%b,?[ \t]+)?(?P<day>\d{1,2})[ \t-]+(?P<month>%b)[ \t-]+%b[ \t]+%b" % (_WORD, _WORD, _YEAR, _TIME)
        + rb"(?:[ \t]+(?P<zone>%b))?" % _ZONE,
        rb"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T \t]%b[ \t]*(?P<zone>%b)?" % (_TIME, _ZONE),
    )
)
_CLOCK = re.compile(rb"\d:\d\d")
_ADDRESS = re.compile(rb"@| at |<")


@dataclass(frozen=True, slots=True)
class FromLine:
    """A line that has the shape of a From_ line. Whether it is one, its neighbours say."""

    delivered_at: int | None
    """Unix seconds; None where there is no date, or none that can be true."""
    dated: bool
    sender: bytes
    plain_sender: bool
    """The sender is one word or an address, not words that could be a sentence."""


def parse_from_line(line: bytes) -> FromLine | None:
    """Parse one line, given without its line end; None where it cannot be a From_ line."""
    if not line.startswith(b"From ") or len(line) > LONGEST:
        return None
    if _CLOCK.search(line):
        for shape in _SHAPES:
            if match := shape.fullmatch(line):
                sender = (match["sender"] or b"").strip()
                plain = not _has_blank(sender) or _ADDRESS.search(sender) is not None
                return FromLine(_unix_time(match), dated=True, sender=sender, plain_sender=plain)
    sender = line[5:].strip()
    if _has_blank(sender):
        return None
    return FromLine(None, dated=False, sender=sender, plain_sender=True)


def _has_blank(sender: bytes) -> bool:
    return b" " in sender or b"\t" in sender


def _unix_time(match: re.Match[bytes]) -> int | None:
    fields = match.groupdict()
    month = fields["month"]
    try:
        moment = datetime(
            _full_year(fields["year"]),
            int(month) if month.isdigit() else _MONTHS[month[:3].lower()],
            int(fields["day"]),
            int(fields["hour"]),
            int(fields["minute"]),
            min(int(fields["second"] or 0), 59),  # 60 is a leap second
        )
    except (KeyError, ValueError):
        return None
    seconds = timegm(moment.timetuple()) - _zone_seconds(fields["zone"] or fields.get("zone_after"))
    return seconds if seconds > 0 else None  # 1 January 1970 is what clients write for "unknown"


def _full_year(year: bytes) -> int:
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= 70 else 2000
    return number


def _zone_seconds(zone: bytes | None) -> int:
    """Seconds east of UTC; 0 for a zone nobody can place ("IST" is three of them)."""
    if zone is None:
        return 0
    written = zone.decode("ascii").strip("()").replace(":", "")
    parsed = parsedate_tz(f"Mon, 1 Jan 2001 00:00:00 {written}")
    return (parsed[9] or 0) if parsed else 0
