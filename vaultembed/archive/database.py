"""The archive as everything above it knows it: what opens it, and what it is then. Which engine keeps it, only this
module says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaultembed.archive.engine import opening
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.errors import explained_errors
from vaultembed.archive.engine.opening import (
    open_current,
    open_for_repair,
    open_older,
    open_older_readonly,
    open_unchecked_readonly,
    require_archive,
)
from vaultembed.archive.generations import backfill
from vaultembed.archive.horizon import Within, limit
from vaultembed.archive.ledger import run_steps

__all__ = [
    "Archive",
    "Within",
    "explained_errors",
    "open_archive",
    "open_archive_readonly",
    "open_for_repair",
    "open_older",
    "open_older_readonly",
    "open_unchecked_readonly",
    "require_archive",
]


@contextmanager
def open_archive_readonly(path: Path | Within) -> Iterator[Archive]:
    """As `opening.open_archive_readonly`; within a horizon, if there is one."""
    file = path.path if isinstance(path, Within) else path
    with opening.open_archive_readonly(file) as archive:
        if isinstance(path, Within):
            limit(archive, path.only())
        yield archive


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open for reading and writing; created, or brought to the current schema after a backup, as needed. Steps that an
    archive takes once in its life are taken first.

    Raises:
        UsageError: the path is a folder, or another application's database.
        BusyError, DamageError, StorageError: from the engine, also for what happens inside the block.
    """
    with open_current(path) as archive:
        archive.steps_taken = run_steps(archive, backfill.steps(archive))
        yield archive
