"""What msgvault writes into a column, as Python has it. A column may hold anything: SQLite does not mind."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND, MINUTES_A_DAY

_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?(?:\s.*)?\Z", re.DOTALL
)
"""RFC 3339, SQLite's own form, and that of Go: "2024-05-01 10:00:00 +0200 CEST"."""
_MILLISECONDS: Final = 100_000_000_000
"""A number this large is no time in seconds: it would be the year 5138."""
_LARGEST: Final = 2**62
"""Of a number that is counted with: SQLite holds up to 2^63, and one more would be an error."""
UNKNOWN: Final = "(Unknown)"
"""A phone's backup calls everybody so who is not among its contacts, and their conversation, too."""


def as_text(value: Any) -> str:
    """Text or bytes, UTF-8 or not; "" for anything else. Numbers as they are written."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def as_integer(value: Any) -> int | None:
    """None also of what is too large to be counted with."""
    found: int | float | None = value if isinstance(value, int | float) else None
    if isinstance(value, bytes | str):
        try:
            found = int(value)
        except ValueError:
            return None
    return int(found) if found is not None and abs(found) < _LARGEST else None  # false for NaN, too


def as_seconds(value: Any) -> int | None:
    """Unix seconds of a DATETIME, however it was written; None where it says no time."""
    number = as_integer(value)
    if number is not None:
        seconds = number // 1000 if abs(number) > _MILLISECONDS else number
        return seconds if FIRST_SECOND <= seconds <= LAST_SECOND else None
    found = _TIME.match(as_text(value).strip())
    if found is None:
        return None
    zone = (found[3] or "Z").replace("Z", "+00:00")
    try:
        return int(datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        return None


def zone_of(value: Any) -> int | None:
    """Minutes that a DATETIME is ahead of UTC, where it says so."""
    found = _TIME.match(as_text(value).strip())
    if found is None or not found[3]:
        return None
    if found[3] == "Z":
        return 0
    sign = -1 if found[3][0] == "-" else 1
    digits = found[3][1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return sign * minutes if minutes < MINUTES_A_DAY else None


def one_line(value: Any) -> str:
    return " ".join(as_text(value).replace("\0", "").split())


def known(name: Any) -> str:
    return "" if (found := one_line(name)) == UNKNOWN else found
