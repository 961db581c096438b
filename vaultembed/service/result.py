"""One versioned envelope for whatever a command returns: the CLI renders it, `--json` prints it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from vaultembed.archive.generations.records import Coverage as Coverage
from vaultembed.errors import DiskFullError, VaultembedError
from vaultembed.service.display import valid
from vaultembed.text.mime.dates import MINUTES_A_DAY

ENVELOPE_VERSION: Final = 1
"""Grows when a field changes its meaning or goes; new fields do not change it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What a command found or did."""

    command: str
    data: T
    notes: tuple[str, ...] = ()
    """Sentences a person should read: what is not covered, and what to do next."""
    exit_code: int = 0


def envelope(result: Result[Any]) -> dict[str, Any]:
    return {
        "vaultembed": ENVELOPE_VERSION,
        "command": result.command,
        "exit_code": result.exit_code,
        "data": plain(result.data),
        "notes": plain(result.notes),
        "error": None,
    }


def error_envelope(command: str, error: VaultembedError) -> dict[str, Any]:
    return {
        "vaultembed": ENVELOPE_VERSION,
        "command": plain(command),
        "exit_code": error.exit_code,
        "data": None,
        "notes": [],
        "error": {
            "code": error.code,
            "kind": type(error).__name__,
            "message": plain(error.message),
            "hint": plain(error.hint),
            **_facts(error),
        },
    }


def _facts(error: VaultembedError) -> dict[str, int | None]:
    if isinstance(error, DiskFullError):
        return {"free_bytes": error.free_bytes, "needed_bytes": error.needed_bytes}
    return {}


def plain(value: Any) -> Any:
    """A value as JSON knows it: frozen results become objects, tuples lists, bytes hex, texts valid."""
    if isinstance(value, str):
        return valid(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {valid(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return valid(str(value))
    return value


def set_aside_note(count: int) -> str:
    """Of what matches and was left out."""
    return f"{count:,} more in trash or spam: add in:anywhere"


def iso(seconds: int | None, zone_minutes: int | None = 0) -> str | None:
    """Unix seconds as ISO 8601 with the given offset from UTC, if it can be one. None stays None, and so becomes what
    no calendar has: milliseconds, say, that another program wrote."""
    if seconds is None:
        return None
    in_range = zone_minutes is not None and abs(zone_minutes) < MINUTES_A_DAY
    zone = timezone(timedelta(minutes=zone_minutes or 0)) if in_range else UTC
    try:
        return datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError, OSError, TypeError):
        return None
