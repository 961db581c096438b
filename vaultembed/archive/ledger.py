"""Steps that run once in the life of an archive (`applied_steps`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaultembed.archive.database import Archive

Steps = Callable[["Archive"], Iterable[tuple[str, Callable[[], str]]]]
"""Of an archive: the names of the steps that it has still to take, in order, each with what does it and returns what
was done, for the ledger."""


def run_steps(archive: Archive, sources: Iterable[Steps]) -> list[str]:
    """Take the steps that this archive has not taken yet; returns what was done. At each writable open, before the work
    that it was opened for: a repair clears stamps, and a backfill of stamps after it would stamp what was repaired."""
    done = []
    for steps in sources:
        for name, step in list(steps(archive)):
            done += run_once(archive, name, step)
    return done


def run_once(archive: Archive, name: str, step: Callable[[], str]) -> list[str]:
    """Run `step` unless the ledger says that it ran; what it returns is recorded as detail, and returned if it ran now.

    Check, work and ledger row stand in one transaction: of two processes one runs it, and a kill undoes all three.
    """
    with archive.transaction():
        if archive.scalar("SELECT 1 FROM applied_steps WHERE name = ?", (name,)):
            return []
        detail = step()
        archive.db.execute("INSERT INTO applied_steps VALUES (?, unixepoch(), ?)", (name, detail))
    return [detail]
