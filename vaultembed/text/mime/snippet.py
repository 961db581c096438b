"""The beginning of a message on one line, for lists."""

from __future__ import annotations

from typing import Final

_SOURCE: Final = 4_000
_CHARACTERS: Final = 200


def snippet(body_text: str) -> str:
    """The beginning of what the author wrote, on one line."""
    lines = body_text[:_SOURCE].splitlines()
    own = " ".join(line.strip() for line in lines if not line.startswith(">"))
    return " ".join(own.split())[:_CHARACTERS]
