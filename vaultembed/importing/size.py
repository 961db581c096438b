"""Adds up the size of what an import will read, beside the reading, for the time that is left."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from vaultembed.errors import VaultembedError
from vaultembed.sources import SourceFile, discover


class TotalSize:
    """Bytes of the mail at a path, once they are added up in a thread of their own."""

    def __init__(self, path: Path) -> None:
        self.known: int | None = None
        self._stopped = False
        threading.Thread(target=self._run, args=(path,), name="total", daemon=True).start()

    def stop(self) -> None:
        self._stopped = True

    def _run(self, path: Path) -> None:
        self.known = _size(path, lambda: self._stopped)


def total_size(paths: Sequence[Path]) -> int:
    """Bytes of the mail at all of the paths."""
    return sum(_size(path) or 0 for path in paths)


def size_of_files(paths: Sequence[Path]) -> int:
    """Bytes."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _size(path: Path, should_stop: Callable[[], bool] = lambda: False) -> int | None:
    """None where it could not be added up, or was no longer wanted."""
    total = 0
    try:
        for found in discover(path):
            if should_stop():
                return None
            if isinstance(found, SourceFile):
                with contextlib.suppress(OSError):
                    total += os.stat(found.path).st_size
    except (OSError, VaultembedError):  # also of what goes away meanwhile
        return None  # the reading itself reports it
    return total
