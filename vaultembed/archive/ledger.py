"""Steps that run once in the life of an archive (`applied_steps`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vaultembed.archive.database import Archive

STEPS: Final[dict[str, Callable[[Archive], str]]] = {}
"""By name, in the order in which they are taken: what an archive that comes from an older version still needs done, and
that no migration can do. Returns what was done, for the ledger."""


def run_steps(archive: Archive) -> None:
    """Take the steps that this archive has not taken yet. At each writable open, before the work that it was opened
    for: a repair clears stamps, and a backfill of stamps after it would stamp exactly what was repaired."""
    for name, step in STEPS.items():
        if not archive.scalar("SELECT 1 FROM applied_steps WHERE name = ?", (name,)):
            run_once(archive, name, lambda step=step: step(archive))  # type: ignore[misc]


def run_once(archive: Archive, name: str, step: Callable[[], str]) -> bool:
    """Run `step` unless the ledger says that it ran; True if it ran now. Its return value is recorded as detail.

    Check, work and ledger row stand in one transaction: of two processes one runs it, and a kill undoes all three.
    """
    with archive.transaction():
        if archive.scalar("SELECT 1 FROM applied_steps WHERE name = ?", (name,)):
            return False
        detail = step()
        archive.db.execute("INSERT INTO applied_steps VALUES (?, unixepoch(), ?)", (name, detail))
    return True
