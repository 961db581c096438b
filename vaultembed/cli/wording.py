"""Numbers, sizes and times as people read them."""

from __future__ import annotations

import os
from typing import Any

import typer

from vaultembed.service.display import escaped_json, one_line, visible
from vaultembed.service.result import CoverageView


def size(count: float) -> str:
    """Bytes, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit in ("bytes", "kB") else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def count(number: int, what: str) -> str:
    """`1 message`, `2,000 messages`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def style(text: str, **how: Any) -> str:
    """`text` in bold or colour, unless the environment asks for plain text (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, **how)


def safe(text: str) -> str:
    """Text of a mail for a terminal: what a terminal would obey, and what nobody would see, is written out."""
    return visible(text)


def safe_line(text: str) -> str:
    """The same on one line: a subject, a name, a label."""
    return one_line(text)


def safe_json(document: str) -> str:
    """The same for JSON, which says what it said."""
    return escaped_json(document)


def coverage(found: CoverageView) -> str:
    share = (found.live - found.missing) / found.live if found.live else 1
    # rounded down: 100 % means all
    return (
        f"{int(share * 1000) / 10:g} % covered: {found.live:,} live = {found.embedded:,} embedded"
        f" + {found.blank:,} blank + {found.failed:,} failed + {found.missing:,} missing"
    )
