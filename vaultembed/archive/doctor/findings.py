"""What an inspection finds, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import apsw

from vaultembed.archive.engine.connection import Archive

Severity = Literal["damage", "wrong", "leftover", "model"]
"""damage: stored data is gone or altered. wrong: a derived part says what is not so. leftover: harmless, and collected
in time. model: a model that is needed is not here."""
OnStep = Callable[[str, int, int], None]
"""What is looked at, how much is done, and of how much; of 0 where that is not known."""

EXAMPLES: Final = 5
"""So many are told of each kind; the rest is counted."""
TELL_EVERY: Final = 5_000
UNREADABLE: Final = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SQLError,
    apsw.TooBigError,
    apsw.MismatchError,
    UnicodeDecodeError,
    TypeError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """One word a program can go by; listed in docs/doctor.md."""
    severity: Severity
    what: str
    """A sentence without its end."""
    count: int = 0
    examples: tuple[str, ...] = ()
    generation: int | None = None
    fix: str | None = None
    """What `--fix` would do; None where it can do nothing."""
    way_out: str | None = None
    """What a person can do where `fix` is None."""


Check = Callable[[Archive, OnStep], Iterable[Finding]]

RESTORE: Final = "Restore a backup: vaultembed restore BACKUP. vaultembed restore --check BACKUP says what it holds."


def grouped(
    rows: Iterable[tuple[Any, ...]], name: Callable[[tuple[Any, ...]], str] | str = "message"
) -> tuple[int, tuple[str, ...]]:
    """How many rows there are, and the first few by name; the rest is counted, not kept."""
    count = 0
    examples: list[str] = []
    for row in rows:
        count += 1
        if len(examples) < EXAMPLES:
            examples.append(f"{name} {row[0]}" if isinstance(name, str) else name(row))
    return count, tuple(examples)


def from_rows(
    rows: Iterable[tuple[Any, ...]],
    finding: Finding,
    *,
    name: Callable[[tuple[Any, ...]], str] | str = "message",
) -> Iterator[Finding]:
    """`finding` with their number and the first few of them, where there are rows."""
    count, examples = grouped(rows, name)
    if count:
        yield replace(finding, count=count, examples=examples)
