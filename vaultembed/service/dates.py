"""Times as people and JSON read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone


def iso(seconds: int | None, zone_minutes: int | None = 0) -> str | None:
    """Unix seconds as ISO 8601 with the given offset from UTC; None stays None."""
    if seconds is None:
        return None
    zone = timezone(timedelta(minutes=zone_minutes)) if zone_minutes else UTC
    return datetime.fromtimestamp(seconds, zone).isoformat()
