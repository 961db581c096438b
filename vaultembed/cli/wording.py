"""Numbers, sizes and times as people read them, in lines that fit their terminal."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

import typer

from vaultembed.service.display import one_line, visible
from vaultembed.service.result import Coverage

if TYPE_CHECKING:
    from vaultembed.service.statistics import ActiveGenerationView, BuildingGenerationView
    from vaultembed.service.verifying import QualityView

_PIECE: Final = re.compile(r" *(?:vaultembed(?: [\w-]+){1,3}|\S+)")
"""What is not broken: a word, or a command that somebody may want to copy."""
_OUR_ESCAPE: Final = f"\x1b{secrets.token_hex(8)}"
"""Begins what `style` writes, and what no text that somebody else wrote can know."""
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_LINE: Final = 5_000
_INDENT: Final = re.compile(r"^ +| {2,}")


def say(text: str, *, err: bool = False) -> None:
    """One or more lines on stdout or stderr, each broken at words where a terminal is too narrow for it. Whatever they
    hold, a terminal obeys nothing but `style`."""
    width = columns(err=err)
    text = "\x1b".join(visible(part) for part in text.split(_OUR_ESCAPE))
    typer.echo("\n".join(fit(line, width) for line in text.split("\n")), err=err)


def columns(*, err: bool = False) -> int | None:
    """Of the terminal. None where there is none: what reads a pipe wants each line whole."""
    stream = sys.stderr if err else sys.stdout
    if os.environ.get("COLUMNS") or stream.isatty():
        return shutil.get_terminal_size((80, 24)).columns
    return None


def fit(line: str, width: int | None) -> str:
    """Broken into lines that go on below where the value begins: `Name:    value`. Styles have no width."""
    plain = _STYLE.sub("", line)
    if width is None or len(plain) <= width:
        return line
    begin = max((found.end() for found in _INDENT.finditer(plain, 0, width // 2)), default=0)
    lines, last = [], ""
    for piece in _PIECE.findall(line):
        if last.strip() and len(_STYLE.sub("", last + piece)) > width:
            lines.append(last)
            last = " " * begin + piece.lstrip()
        else:
            last += piece
    return "\n".join([*lines, last])


def paragraph(text: str, indent: int) -> str:
    """Text of a mail as a block, never wider than is good to read."""
    width = max(min(columns() or 100, 110) - indent, 1)
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return "\n".join(" " * indent + line for line in lines)


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
    return text if plain else typer.style(text, **how).replace("\x1b", _OUR_ESCAPE)


def in_line(text: str) -> str:
    """Text of a mail where only a line is expected: another one, which looked like ours, is written out, too."""
    return visible(text).replace("\n", "\\u{a}")


def safe_line(text: str) -> str:
    """The same on one line: a subject, a name, a label. One of megabytes is cut off."""
    return one_line(text, _LONGEST_LINE)


def heading(subject: str, chat: str | None) -> str:
    """What stands above a message: its subject, and the name of its chat."""
    nameless = "(no subject)" if chat is None else "(chat)"
    return ": ".join(safe_line(part) for part in (chat, subject) if part) or nameless


def ended(outcome: str | None) -> str:
    """How a run of a build did."""
    words = {"limited": "paused at --limit", "stopped": "stopped by an error", None: "has not ended"}
    return words.get(outcome, outcome or "")


def quality(found: QualityView) -> str:
    compared = "less than" if found.worse else "more than" if found.difference_least > 0 else "as much as"
    return (
        f"It finds {compared} generation {found.generation_in_use}: right answers to {found.questions:,} questions made"
        f" from this archive score {found.found:.2f} here, {found.found_in_use:.2f} there"
        f" (difference {found.difference_least:+.2f} to {found.difference_most:+.2f})"
    )


def coverage(found: Coverage | ActiveGenerationView | BuildingGenerationView) -> str:
    share = (found.live - found.missing) / found.live if found.live else 1
    outside = f" (outside the scope: {found.outside_scope:,})" if found.outside_scope else ""
    in_part = f" (of which {found.in_part:,} in part)" if found.in_part else ""
    # rounded down: 100 % means all
    return (
        f"{int(share * 1000) / 10:g} % covered{outside}: {found.live:,} live = {found.embedded:,} embedded{in_part}"
        f" + {found.blank:,} blank + {found.failed:,} failed + {found.missing:,} missing"
    )
