"""Columns as what they should hold. SQLite lets any program write anything into any of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

FORGOTTEN: Final = "/"
"""Begins what stands for the name of a file whose message was deleted for ever: no name below a source does."""


def forgotten(name: bytes) -> str:
    """What stands for a name that is not to be known any more. Also for SQL: `forgotten(CAST(path AS BLOB))`."""
    return FORGOTTEN + blake2b(name, digest_size=16).hexdigest()


def text_of(column: str) -> str:
    """SQL for its text, with U+FFFD for what is no UTF-8; of a number or of bytes, how they read."""
    return f"lenient(CAST({column} AS BLOB))"


def number_of(column: str) -> str:
    """SQL for its whole number; NULL for what is none: to look at a text that is no UTF-8 would be an error."""
    return f"CASE typeof({column}) WHEN 'integer' THEN {column} WHEN 'real' THEN CAST({column} AS INTEGER) END"


def count_of(column: str) -> str:
    """SQL for its whole number; 0 for what is none."""
    return f"coalesce({number_of(column)}, 0)"


def word_of(column: str) -> str:
    """SQL for its text; "" for what is none."""
    return f"coalesce({text_of(column)}, '')"
