"""What is really executed, on whatever connection, with the plan by which SQLite does it there and then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apsw

_PLANNED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
_LOOKED_UP = re.compile(r"SCAN \S+ VIRTUAL TABLE INDEX (0:M|259:|\d+:2|1:$)|SCAN (CONSTANT ROW|pragma_\w+ )")
"""SQLite calls every access to a virtual table a scan: these are FTS5 by words, its vocabulary by a term, sqlite-vec by
rowid, and json_each of a list that was given."""
_OF_SUBQUERY = re.compile(r"(?:CO-ROUTINE|MATERIALIZE) (\S+)")


@dataclass(frozen=True, slots=True)
class Executed:
    sql: str
    steps: tuple[str, ...]

    @property
    def scans(self) -> set[str]:
        """Tables and indexes that are walked from end to end. Not what a subquery gives: its own steps are here."""
        subqueries = {found[1] for step in self.steps if (found := _OF_SUBQUERY.match(step))}
        scans = {step[5:] for step in self.steps if step.startswith("SCAN ") and not _LOOKED_UP.match(step)}
        return {scan for scan in scans if scan.split()[0] not in subqueries}


@contextmanager
def executed_on(db: apsw.Connection) -> Iterator[list[Executed]]:
    """Collects what this connection executes inside."""
    found: list[Executed] = []
    _trace(db, found)
    try:
        yield found
    finally:
        db.exec_trace = None


@contextmanager
def executed() -> Iterator[list[Executed]]:
    """Collects what connections that are opened inside execute."""
    found: list[Executed] = []

    def opened(db: apsw.Connection) -> None:
        _trace(db, found)

    apsw.connection_hooks.append(opened)
    try:
        yield found
    finally:
        apsw.connection_hooks.remove(opened)


def _trace(db: apsw.Connection, found: list[Executed]) -> None:
    is_explaining = False

    def note(_cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        nonlocal is_explaining
        if not is_explaining and _PLANNED.match(sql):
            is_explaining = True  # which is a statement, too
            try:
                plan = db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings or ()).fetchall()
            finally:
                is_explaining = False
            found.append(Executed(sql, tuple(str(row[3]) for row in plan)))
        return True

    db.exec_trace = note
