"""SQLite's errors as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from vaultembed.archive.backup import free_bytes
from vaultembed.archive.damage import damage_behind
from vaultembed.archive.migrations import user_version
from vaultembed.archive.schema_files import latest_version
from vaultembed.archive.trust import connect
from vaultembed.deadline import current_deadline, is_stopping
from vaultembed.errors import BusyError, DiskFullError, StoppedError, StorageError, VaultembedError

UNREADABLE: Final = (apsw.SQLError, apsw.CorruptError)
"""What reading a damaged table raises, or one that is gone."""
_SHM_BYTES: Final = 65_536
_LOCKING: Final = (
    apsw.SQLITE_IOERR_LOCK,
    apsw.SQLITE_IOERR_RDLOCK,
    apsw.SQLITE_IOERR_UNLOCK,
    apsw.SQLITE_IOERR_SHMLOCK,
)


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what to do."""
    try:
        with _told_in_time():
            yield
    except (apsw.BusyError, apsw.LockedError) as error:
        if is_stopping():
            raise StoppedError(
                "Stopped while another process was writing; what was committed before stays",
                "Give the same command again.",
            ) from error
        raise BusyError(
            f"{path} is being written by another process", "Try again when it has finished its step."
        ) from error
    except apsw.FullError as error:
        raise DiskFullError(path, free_bytes(path)) from error
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as error:
        raise StorageError(
            f"{path} cannot be written: {error}", "Check the permissions of the file and its folder."
        ) from error
    except (apsw.IOError, apsw.CantOpenError, apsw.ProtocolError) as error:
        if is_full(path):  # no room for a -shm file is an I/O error to SQLite
            raise DiskFullError(path, free_bytes(path)) from error
        if not os.access(path.parent, os.W_OK):
            raise StorageError(
                f"{path} has changes in {path.name}-wal, or is to be written, and its folder cannot be written",
                "Copy both files into a folder that can be, and name the copy with --archive.",
            ) from error
        if isinstance(error, apsw.ProtocolError) or getattr(error, "extendedresult", None) in _LOCKING:
            raise StorageError(
                f"{path} cannot be locked: {error}",
                "Not every network drive can do what SQLite needs. Keep the archive on a disk of this machine.",
            ) from error
        raise StorageError(
            f"cannot read or write {path}: {error}",
            "Everything committed so far is safe. Check the disk and the permissions of the folder, then give the same"
            " command again.",
        ) from error
    except (VaultembedError, OSError, MemoryError, apsw.InterruptError):
        raise
    except Exception as error:
        if isinstance(error, apsw.SQLError) and _was_migrated(path):
            raise BusyError(
                f"{path} was brought to another schema meanwhile", "Nothing is lost. Give the same command again."
            ) from error
        damage = damage_behind(path, error)
        if damage is not None:
            raise damage from error
        with _told_in_time():  # what has no time left finds nothing
            raise


@contextmanager
def _told_in_time() -> Iterator[None]:
    """Inside, whatever fails once the call's time is over is told as just that."""
    try:
        yield
    except VaultembedError:
        raise
    except Exception as error:
        deadline = current_deadline()
        if deadline is None or not deadline.is_over:
            raise
        raise deadline.error() from error


def _was_migrated(path: Path) -> bool:
    """By another process: an archive that is open has the latest schema."""
    try:
        db = connect(path, apsw.SQLITE_OPEN_READONLY)
        try:
            return user_version(db) != latest_version()
        finally:
            db.close()
    except apsw.Error:
        return False


def is_full(path: Path) -> bool:
    """Whether there is no room even for a -shm file."""
    free = free_bytes(path)
    return free is not None and free < _SHM_BYTES
