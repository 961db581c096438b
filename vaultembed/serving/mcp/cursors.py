"""Cursors: where the next page of an answer goes on. Opaque to whoever holds one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from vaultembed.errors import UsageError

_LONGEST: Final = 300


def make_cursor(position: list[float | None], asked: Mapping[str, Any]) -> str:
    """`asked`: the arguments that the cursor belongs to."""
    content = json.dumps([_digest(asked), *position]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(cursor: str, asked: Mapping[str, Any], length: int) -> list[float | None]:
    """The position, of `length` numbers, that `make_cursor` was given.

    Raises:
        UsageError: it is no cursor, or one of another question.
    """
    try:
        if len(cursor) > _LONGEST:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        digest: object
        position: list[float | None]
        digest, *position = json.loads(base64.b64decode(padded, b"-_", validate=True))
        if len(position) != length or not all(_is_position(number) for number in position):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise UsageError("that is no cursor", "Give back the `next_cursor` of an answer, as it is.") from None
    if digest != _digest(asked):
        raise UsageError(
            "the cursor belongs to another question",
            "Give it with the same arguments as before; only limit may differ.",
        )
    return position


def _is_position(number: object) -> bool:
    """What SQLite can be asked for: any number that a column may hold."""
    if isinstance(number, int) and not isinstance(number, bool):
        return -(2**63) <= number < 2**63
    return number is None or isinstance(number, float)


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=6).hexdigest()
