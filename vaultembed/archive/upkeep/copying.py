"""Copies an archive while others read and write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vaultembed.archive import backup
from vaultembed.archive.engine.connection import Archive


def copy_archive(
    archive: Archive,
    destination: Path,
    *,
    overwrite: bool,
    on_step: Callable[[int, int], None],
    on_check: Callable[[], None],
    should_stop: Callable[[], bool],
) -> backup.Contents:
    """One state of it, whatever its schema; everything else is as for `backup.copy_archive`."""
    with archive.snapshot():
        return backup.copy_archive(
            archive.db,
            archive.path,
            destination,
            overwrite=overwrite,
            on_step=on_step,
            on_check=on_check,
            should_stop=should_stop,
        )
