"""Steps that run once in the life of an archive (`applied_steps`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vaultembed.archive.engine.connection import Archive


def run_steps(archive: Archive, steps: Iterable[tuple[str, Callable[[], str]]]) -> list[str]:
    """Take those of the steps, each by its name in the ledger, that this archive has not taken yet; returns what was
    done. At each writable open, before the work that it was opened for: a repair clears stamps, and a backfill of
    stamps after it would stamp what was repaired."""
    done = []
    for name, step in list(steps):
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
        archive.execute("INSERT INTO applied_steps VALUES (?, unixepoch(), ?)", (name, detail))
    return [detail]
