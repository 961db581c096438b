"""Every error a person can meet, each with the exit code it ends a command with, and the code a program can go by.

VaultembedError            1  error                  something went wrong
├── ArchiveMissingError    1  archive_missing        there is no file
├── ArchiveOutdatedError   1  archive_outdated       an older vaultembed wrote it, and it is only to be read
├── MessageMissingError    1  message_not_found      no live message has that id
├── TimedOutError          1  timed_out              a call to a server took too long, and was stopped
├── UsageError             2  invalid_request        the command was asked for something that makes no sense
│   └── QueryError         2  invalid_query          a query, or a filter in it, makes no sense
├── IncompleteError        3  incomplete             stopped early: there is more to do
│   └── StoppedError     130  interrupted            by Ctrl-C; 143, terminated, by SIGTERM
├── NotReadyError          4  not_ready              no usable generation or model
│   ├── NoGenerationError  4  no_active_generation   nothing that search by meaning could go by
│   ├── IndexBuildingError 4  index_building         the first generation has nothing to answer with yet
│   ├── NotEmbeddedError   4  message_not_embedded   this one message has no vectors
│   └── ModelError         4  model_unavailable      a model file is missing, altered, or does not work
├── DamageError            5  archive_damaged        the archive is damaged
├── StorageError          74  storage_failed         input/output error
│   └── DiskFullError     74  disk_full              how much is free, how much is needed
└── BusyError             75  archive_busy           another process holds what is needed

Results that are not errors use the same table of exit codes: 0 done (recorded problems of single messages included),
3 incomplete, 130 interrupted, 143 terminated. Codes are never renamed.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class VaultembedError(Exception):
    """What happened and to what (`message`), and the way out (`hint`: usually a command to type)."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class ArchiveMissingError(VaultembedError):
    code = "archive_missing"


class ArchiveOutdatedError(VaultembedError):
    code = "archive_outdated"


class MessageMissingError(VaultembedError):
    code = "message_not_found"


class TimedOutError(VaultembedError):
    code = "timed_out"


class UsageError(VaultembedError):
    exit_code = 2
    code = "invalid_request"


class QueryError(UsageError):
    code = "invalid_query"


class IncompleteError(VaultembedError):
    exit_code = 3
    code = "incomplete"


class StoppedError(IncompleteError):
    exit_code = 130
    code = "interrupted"


class TerminatedError(StoppedError):
    exit_code = 143
    code = "terminated"


class NotReadyError(VaultembedError):
    exit_code = 4
    code = "not_ready"


class NoGenerationError(NotReadyError):
    code = "no_active_generation"


class IndexBuildingError(NotReadyError):
    code = "index_building"


class NotEmbeddedError(NotReadyError):
    code = "message_not_embedded"


class ModelError(NotReadyError):
    code = "model_unavailable"


class DamageError(VaultembedError):
    exit_code = 5
    code = "archive_damaged"


class StorageError(VaultembedError):
    exit_code = 74
    code = "storage_failed"


class DiskFullError(StorageError):
    """Also for programs: `free_bytes` of the disk, and `needed_bytes` free to do the rest; None where not known."""

    code = "disk_full"

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
    code = "archive_busy"
