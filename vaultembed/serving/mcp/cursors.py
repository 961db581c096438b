"""Cursors: where the next page of an answer goes on. Opaque to whoever holds one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from vaultembed.errors import UsageError

_LONGEST: Final = 300


def make_cursor(position: list[int | None], asked: Mapping[str, Any]) -> str:
    """`asked`: the arguments that the cursor belongs to."""
    content = json.dumps([_digest(asked), *position]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(cursor: str, asked: Mapping[str, Any], length: int) -> list[int | None]:
    """The position, of `length` numbers, that `make_cursor` was given.

    Raises:
        UsageError: it is no cursor, or one of another question.
    """
    try:
        if len(cursor) > _LONGEST:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        digest: object
        position: list[int | None]
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
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**62)


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=6).hexdigest()
