"""The Date field of real mail, in all the ways it is broken."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

# The first three letters, folded, in the languages whose old clients translated them.
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        [
            "jan ian gen янв ene led sty oca",
            "feb fév fev fbr фев úno lut şub sub",
            "mar mär mrz mrt maa мар bře",
            "apr avr abr апр dub kwi nis",
            "may mai mag maj мая май mei kvě",
            "jun jui giu июн jún czer cze haz",
            "jul lug июл júl čec lip tem",
            "aug aoû aou ago авг srp sie ağu agu",
            "sep set сен zář wrz eyl",
            "oct okt ott out окт říj paź paz eki",
            "nov ноя lis kas",
            "dec dez déc dic des дек pro gru ara",
        ],
        start=1,
    )
    for name in names.split()
}
_JULY: Final = re.compile(r"(?i)^juil|^juill")

_ZONES: Final = {
    "ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0, "west": 60, "bst": 60, "ist": 330,
    "cet": 60, "met": 60, "mez": 60, "cest": 120, "mest": 120, "mdst": 120, "mesz": 120, "eet": 120, "eest": 180,
    "msk": 180, "msd": 240, "sast": 120, "jst": 540, "kst": 540, "hkt": 480, "sgt": 480, "pht": 480,
    "aest": 600, "aedt": 660, "acst": 570, "awst": 480, "nzst": 720, "nzdt": 780,
    "nst": -210, "ndt": -150, "ast": -240, "adt": -180, "est": -300, "edt": -240, "cst": -360, "cdt": -300,
    "mst": -420, "mdt": -360, "pst": -480, "pdt": -420, "akst": -540, "akdt": -480, "hst": -600,
    "brt": -180, "brst": -120, "art": -180, "clt": -240,
}  # fmt: skip

_ISO: Final = re.compile(r"\b(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T\s]+|$)")
_NUMERIC: Final = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})\b")
_TIME: Final = re.compile(r"(?<!\d)(\d{1,2}):(\d{1,2})(?:[:.](\d{1,2}))?(?:[.,]\d+)?\s*([AaPp]\.?[Mm]\b)?")
_LOOSE_TIME: Final = re.compile(r"(?<![\d.])(\d{1,2})[.h](\d{2})(?:[.](\d{2}))?(?![.\d])\s*([AaPp]\.?[Mm]\b)?")
_OFFSET: Final = re.compile(r"([+-])-?(?: (?=0\d|1[0-4]))?(\d{1,2}):?(\d{2})(?!\d)")  # "+ 0100", but not "- 2004"
_SHORT_OFFSET: Final = re.compile(r"(?:GMT|UTC)\s*([+-])(\d{1,2})(?!\d)", re.IGNORECASE)
_COMMENT: Final = re.compile(r"\([^()]*\)?")
_WORDS: Final = re.compile(r"[^\W\d_]+")
_NUMBERS: Final = re.compile(r"\d+")
_LONGEST: Final = 200
FIRST_SECOND: Final = -62_135_596_800
"""Of the year 1, with which all calendars of computers begin."""
LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999."""
MINUTES_A_DAY: Final = 24 * 60
"""No zone is as far from UTC."""


def parse_date(value: str) -> tuple[int, int | None] | None:
    """Unix seconds and the zone in minutes east of UTC (None where it says none); None if it is no date.

    Day, month and year are found by what they look like, not by where they stand, and a missing zone counts
    as UTC. Years as "102" and "19102" (the year 2000 bug) are 2002. "-0000" is UTC of an unknown zone.
    """
    value = unicodedata.normalize("NFC", value[:_LONGEST])
    bare = _COMMENT.sub(" ", value).strip() or value
    clock = _TIME.search(bare) or _LOOSE_TIME.search(bare)
    hour, minute, second = _clock(clock) if clock else (0, 0, 0)
    if hour > 24 or minute > 59 or second > 61:  # 24:00:00 and leap seconds are real
        return None
    before, after = (bare[: clock.start()], bare[clock.end() :]) if clock else (bare, "")
    day = _day(before, after)
    if day is None:
        return None
    zone = _zone(after)
    if zone is None:
        zone = _zone(before) if clock and not _ISO.search(before) and "-" not in before else None
    if zone is None:
        commented = _COMMENT.search(value)
        zone = _zone(commented[0]) if commented else None
    try:
        moment = datetime(*day, hour % 24, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    seconds = int(moment.timestamp()) + (86_400 if hour == 24 else 0) - 60 * (zone or 0)
    return seconds, (None if re.search(r"-0000(?!\d)", after) else zone)


def _clock(match: re.Match[str]) -> tuple[int, int, int]:
    hour = int(match[1])
    if match[4]:
        hour = hour % 12 + (12 if match[4][0] in "pP" else 0)
    return hour, int(match[2]), int(match[3] or 0)


def _day(before: str, after: str) -> tuple[int, int, int] | None:
    iso = _ISO.search(before + " ")
    if iso:
        return int(iso[1]), int(iso[2]), int(iso[3])
    numeric = _NUMERIC.search(before)
    if numeric:
        return _year(numeric[3]), int(numeric[2]), int(numeric[1])
    # The last fit: "Mar" is Tuesday in Italian and Spanish, and stands before the month.
    found = [
        word for word in _WORDS.finditer(before) if word[0][:3].lower() in _MONTHS or word[0][:4].lower() in _MONTHS
    ]
    if not found:
        return None
    name = found[-1][0].lower()
    month = 7 if _JULY.match(name) else _MONTHS.get(name[:3], 0) or _MONTHS[name[:4]]
    # The day stands beside the month, the year behind them or in front: "version 8, 04 Mar" says no year.
    ahead, behind = _NUMBERS.findall(before[: found[-1].start()]), _NUMBERS.findall(before[found[-1].end() :])
    if ahead and behind:
        first, last = ahead[-1], behind[0]
    elif len(behind) > 1:
        first, last = behind[:2]
    elif len(ahead) > 1 and len(ahead[-2]) == 4:
        last, first = ahead[-2:]
    elif ahead or behind:  # asctime: the year stands after the time
        later = [n for n in _NUMBERS.findall(_OFFSET.sub(" ", after)) if len(n) == 4]
        return (int(later[-1]), month, int((ahead or behind)[-1])) if later else None
    else:
        return None
    if len(first) == 4 or (len(first) > 1 and int(first) > 31):
        first, last = last, first
    return _year(last), month, int(first)


def _year(text: str) -> int:
    year = int(text[:6])
    if len(text) == 5 and text.startswith("19"):
        return 1900 + int(text[2:])
    if year < 70:
        return 2000 + year
    return 1900 + year if year < 1000 else year


def _zone(text: str) -> int | None:
    offset = _OFFSET.search(text)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return (minutes if offset[1] == "+" else -minutes) if minutes <= 14 * 60 else 0
    short = _SHORT_OFFSET.search(text)
    if short:
        hours = int(short[1] + short[2])
        return hours * 60 if abs(hours) <= 14 else 0
    for word in _WORDS.findall(text):
        if word.lower() in _ZONES:
            return _ZONES[word.lower()]
    return None


def is_plausible(seconds: int, now: float) -> bool:
    """Mail of 1970's first day is a clock that was never set; two days ahead is the most a zone can explain."""
    return 86_400 <= seconds <= now + 2 * 86_400
