"""Adds up the size of what an import will read, beside the reading, for the time that is left."""

from __future__ import annotations

import contextlib
import os
import threading
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
        total = 0
        with contextlib.suppress(VaultembedError):  # the reading itself reports it
            for found in discover(path):
                if self._stopped:
                    return
                if isinstance(found, SourceFile):
                    with contextlib.suppress(OSError):
                        total += os.stat(found.path).st_size
            self.known = total
