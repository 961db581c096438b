"""Steps that run once in the life of an archive (`applied_steps`)."""

from __future__ import annotations

from collections.abc import Callable

from vaultembed.archive.database import Archive


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
