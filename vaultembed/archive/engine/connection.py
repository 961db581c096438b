"""An open archive: one SQLite connection, and what may be said to it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.backup import Migrated
from vaultembed.archive.damage import check_coarse_indexes
from vaultembed.archive.engine.values import forgotten
from vaultembed.archive.trust import load_vec
from vaultembed.deadline import current_deadline
from vaultembed.text.folding import folded

_HINTS: Final = re.compile(r" INDEXED BY \w+")
_LONGEST_KEPT: Final = 200
"""Bytes of a name whose folded form is kept."""


class Archive:
    """An open archive. Not shared between threads: each opens its own."""

    def __init__(self, path: Path, db: apsw.Connection, *, writable: bool) -> None:
        self.path = path
        self.db = db
        """SQLite's own, for what has SQLite itself for its subject. Everybody else says it by the methods below."""
        self.writable = writable
        self.migrated: Migrated | None = None
        """Set where opening brought an older schema up to date."""
        self.steps_taken: list[str] = []
        """What opening did of what an earlier command had left to be done once."""
        self.is_limited = False
        """Only messages within a horizon are there; see `archive/horizon`."""
        self._has_vec = False
        self._deadline = current_deadline()
        # what another program wrote may be no UTF-8; one such message must not end a search that finds it
        db.create_scalar_function("lenient", _lenient, 1, deterministic=True)  # type: ignore[arg-type]
        db.create_scalar_function("folded", _folded, 1, deterministic=True)  # type: ignore[arg-type]
        db.create_scalar_function("forgotten", forgotten, 1, deterministic=True)  # type: ignore[arg-type]

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.check_limit()
        return self.db.execute(self._hinted(sql), tuple(bindings)).fetchall()

    def row(self, sql: str, bindings: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        self.check_limit()
        return self.db.execute(self._hinted(sql), tuple(bindings)).fetchone()

    def scalar(self, sql: str, bindings: Sequence[Any] = ()) -> Any:
        """First column of the first row; None where there is no row."""
        found = self.row(sql, bindings)
        return None if found is None else found[0]

    def stream(self, sql: str, bindings: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """As `rows`, one at a time, for what need not fit into memory."""
        self.check_limit()
        return self.db.execute(self._hinted(sql), tuple(bindings))

    def _hinted(self, sql: str) -> str:
        return _HINTS.sub("", sql) if self.is_limited else sql  # the views of a horizon have no indexes

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> int:
        """For what changes something; returns how many rows an INSERT, UPDATE or DELETE has changed."""
        self.db.execute(sql, tuple(bindings))
        return self.db.changes()

    def execute_many(self, sql: str, bindings: Iterable[Sequence[Any]]) -> None:
        self.db.executemany(sql, bindings)

    def insert(self, sql: str, bindings: Sequence[Any] = ()) -> int:
        """`INSERT … RETURNING id`, of one row; returns the id."""
        rows: list[tuple[Any, ...]] = self.db.execute(sql, tuple(bindings)).fetchall()
        return int(rows[0][0])

    def check_limit(self) -> None:
        """An interruption ends what runs, and not what comes after it: to be called before and between long reads.

        Raises:
            TimedOutError: the call that opened the archive is over.
        """
        if self._deadline is not None:
            self._deadline.check()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction. IMMEDIATE: one that reads first and writes later is refused if another wrote between."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if not self.db.get_autocommit():  # a full disk has rolled back already
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside sees one state of the archive."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            if not self.db.get_autocommit():
                self.db.execute("ROLLBACK")

    def load_vec(self) -> None:
        """Make vec0 tables usable on this connection.

        Raises:
            DamageError: it is to be written with, and one of them is so damaged that this would crash.
        """
        self.load_vec_unchecked()
        if self.writable:
            check_coarse_indexes(self.db, self.path)

    def load_vec_unchecked(self) -> None:
        """For repairs. Dropping a vec0 table is always possible; deleting from a damaged one may crash."""
        if self._has_vec:
            return
        load_vec(self.db)
        self._has_vec = True


def _lenient(stored: bytes | None) -> str | None:
    """For SQL: `lenient(CAST(text AS BLOB))`, with U+FFFD for what is no text."""
    return None if stored is None else bytes(stored).decode("utf-8", "replace")


def _folded(stored: bytes | None) -> str | None:
    """For SQL: `folded(CAST(text AS BLOB))`, as `text.folding` has it."""
    if stored is None or len(stored) > _LONGEST_KEPT:
        return None if stored is None else folded(stored.decode("utf-8", "replace"))
    return _folded_before(stored)


@functools.lru_cache(maxsize=1 << 14)
def _folded_before(stored: bytes) -> str:
    """Of a query, each condition on people looks at all of them."""
    return folded(stored.decode("utf-8", "replace"))
