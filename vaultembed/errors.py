"""Every error a person can meet, each with the exit code it ends a command with.

VaultembedError            1   something went wrong
├── UsageError             2   the command was asked for something that makes no sense
├── IncompleteError        3   stopped early: there is more to do
├── NotReadyError          4   no usable generation or model
│   └── ModelError         4   a model file is missing, altered, or does not work
├── DamageError            5   the archive is damaged
├── StorageError          74   input/output error
│   └── DiskFullError     74   the disk is full: how much is free, how much is needed
└── BusyError             75   another process holds what is needed

Results that are not errors use the same table: 0 done (recorded problems of single messages included),
3 incomplete, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class VaultembedError(Exception):
    """What happened and to what (`message`), and the way out (`hint`: usually a command to type)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class UsageError(VaultembedError):
    exit_code = 2


class IncompleteError(VaultembedError):
    exit_code = 3


class NotReadyError(VaultembedError):
    exit_code = 4


class ModelError(NotReadyError):
    pass


class DamageError(VaultembedError):
    exit_code = 5


class StorageError(VaultembedError):
    exit_code = 74


class DiskFullError(StorageError):
    """Also for programs: `free_bytes` of the disk, and `needed_bytes` free to do the rest; None where not known."""

    def __init__(self, path: Path, free_bytes: int | None, needed_bytes: int | None = None) -> None:
        free = "" if free_bytes is None else f": {_size(free_bytes)} are free"
        needed = "" if needed_bytes is None else f", about {_size(needed_bytes)} are needed for the rest"
        super().__init__(
            f"the disk that holds {path} is full{free}{needed}",
            "Everything committed so far is safe. Make space and give the same command again.",
        )
        self.path = path
        self.free_bytes = free_bytes
        self.needed_bytes = needed_bytes


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


class BusyError(VaultembedError):
    exit_code = 75
