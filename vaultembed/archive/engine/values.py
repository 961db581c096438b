"""Columns as what they should hold. SQLite lets any program write anything into any of them."""

from __future__ import annotations


def text_of(column: str) -> str:
    """SQL for its text, with U+FFFD for what is no UTF-8; of a number or of bytes, how they read."""
    return f"lenient(CAST({column} AS BLOB))"


def number_of(column: str) -> str:
    """SQL for its whole number; NULL for what is none: to look at a text that is no UTF-8 would be an error."""
    return f"CASE typeof({column}) WHEN 'integer' THEN {column} WHEN 'real' THEN CAST({column} AS INTEGER) END"
