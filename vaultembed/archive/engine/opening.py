"""Opens the archive file, with the settings every writer and reader must agree on."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from vaultembed.archive.backup import COMPANIONS, free_bytes, migrate_with_backup
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.errors import explained_errors, is_full
from vaultembed.archive.migrations import check_identity, migrate_command, user_version
from vaultembed.archive.schema_files import latest_version, read_migrations
from vaultembed.archive.trust import check_archive, connect, connect_for_repair, first_difference
from vaultembed.deadline import at_most, interruptible, is_stopping
from vaultembed.errors import ArchiveMissingError, ArchiveOutdatedError, DiskFullError, StorageError, UsageError

PAGE_SIZE: Final = 8192  # a 384-dimension row wastes a quarter of a 4 KiB page
BUSY_TIMEOUT_MS: Final = 15_000
_LAST_PATIENCE: Final = 1.0
"""Seconds for which a lock is waited for after a signal to stop."""
Connect = Callable[[Path | str, int], apsw.Connection]


@contextmanager
def open_current(path: Path) -> Iterator[Archive]:
    """Open for reading and writing; created (0600) and brought to the current schema as needed, after a backup.

    Raises:
        UsageError: the path is a folder, or another application's database.
        BusyError, DamageError, StorageError: from SQLite, also for what happens inside the block.
    """
    exists = _check_path(path)
    with explained_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not exists:
                # SQLite would create it by the umask; mail is nobody else's to read
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            elif path.stat().st_size == 0:
                path.chmod(0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(path, free_bytes(path)) from error
            raise StorageError(f"cannot create {path}: {error.strerror}", "Choose a place with --archive.") from error
        db = connect(path, apsw.SQLITE_OPEN_READWRITE)
        try:
            wait_for_locks(db)
            check_identity(db, path)
            migrations = read_migrations()
            check_archive(db, path, migrations)
            if user_version(db) == 0:
                db.pragma("page_size", PAGE_SIZE)
                db.pragma("auto_vacuum", "INCREMENTAL")
            db.pragma("journal_mode", "WAL")
            db.pragma("foreign_keys", True)
            db.pragma("cache_size", -65536)
            migrated = migrate_with_backup(db, path, migrations)
            archive = Archive(path, db, writable=True)
            archive.migrated = migrated
            yield archive
        finally:
            db.close()


@contextmanager
def open_archive_readonly(path: Path) -> Iterator[Archive]:
    """Open for reading only: never migrates, never blocks or is blocked by a writer.

    Raises:
        ArchiveMissingError, ArchiveOutdatedError: no such file, or its schema is older than this vaultembed's.
        UsageError, DamageError, StorageError: as `open_archive`.
    """
    with open_older_readonly(path) as archive:
        _require_latest(archive)
        yield archive


@contextmanager
def open_unchecked_readonly(path: Path) -> Iterator[Archive]:
    """As `open_archive_readonly`, whatever there is in the schema, of whatever version: to say what is odd in it.

    Raises: as `open_archive_readonly`.
    """
    with _open_readonly(path, connect_for_repair) as archive:
        if first_difference(archive.db, path, read_migrations()) is None:
            _require_latest(archive)
        yield archive


def _require_latest(archive: Archive) -> None:
    if user_version(archive.db) < latest_version():
        raise ArchiveOutdatedError(
            f"{archive.path} was last written by an older vaultembed, or its creation was interrupted",
            f"Bring it up to date (a backup is made first): {migrate_command(archive.path)}",
        )


@contextmanager
def open_older_readonly(path: Path) -> Iterator[Archive]:
    """Open for reading only, also with the schema of an older vaultembed.

    Raises:
        VaultembedError: no such file, or a newer vaultembed wrote it.
        UsageError, DamageError, StorageError: as `open_archive`.
    """
    with _open_readonly(path) as archive:
        check_archive(archive.db, path, read_migrations())
        yield archive


@contextmanager
def _open_readonly(path: Path, connect: Connect = connect) -> Iterator[Archive]:
    require_archive(path)
    with explained_errors(path):
        db = _connect_readonly(path, connect)
        try:
            wait_for_locks(db)
            check_identity(db, path)
            with interruptible(db.interrupt):
                yield Archive(path, db, writable=False)
        finally:
            with suppress(apsw.Error):  # nothing of a reader's can be lost, and the error that ended it must not
                db.close()


@contextmanager
def open_older(path: Path) -> Iterator[Archive]:
    """Open for writing with the schema of whatever version the file has, to change that; the file must exist.

    Raises: as `open_older_readonly`, and BusyError.
    """
    with _open_existing(path, connect, check_archive) as archive:
        yield archive


@contextmanager
def open_for_repair(path: Path) -> Iterator[Archive]:
    """Open for writing, whatever there is in the schema, and also to what nobody else may write: the schema itself, and
    the tables that virtual ones consist of. The file must exist.

    Raises: as `open_older`.
    """
    with _open_existing(path, connect_for_repair, first_difference) as archive:
        yield archive


@contextmanager
def _open_existing(path: Path, connect: Connect, check: Callable[..., object]) -> Iterator[Archive]:
    require_archive(path)
    with explained_errors(path):
        db = connect(path, apsw.SQLITE_OPEN_READWRITE)
        try:
            wait_for_locks(db)
            check_identity(db, path)
            check(db, path, read_migrations())
            db.pragma("journal_mode", "WAL")
            db.pragma("foreign_keys", True)
            yield Archive(path, db, writable=True)
        finally:
            db.close()


def require_archive(path: Path) -> None:
    """Raises ArchiveMissingError where there is no file."""
    if not _check_path(path):
        raise ArchiveMissingError(
            f"there is no archive at {path}", "Create it by importing mail: vaultembed import PATH"
        )


def _check_path(path: Path) -> bool:
    """Whether there is a file.

    Raises:
        UsageError: the path cannot be one.
        StorageError: it cannot be looked at.
    """
    try:
        str(path).encode()
        path.with_name(path.name + COMPANIONS[1]).exists()  # too long a name for SQLite's own is one for the archive
        if not path.exists():
            return False
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder, not an archive file", f"Name a file, for example {path / 'archive.db'}"
            )
        if not path.is_file():
            raise UsageError(f"{path} is no regular file and cannot be an archive")
    except ValueError as error:
        raise UsageError(f"{path} cannot be the name of an archive: it is not UTF-8") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{path} cannot be the name of an archive: {error.strerror}") from error
        raise StorageError(
            f"cannot read {path}: {error.strerror}", "Check the permissions of the file and its folders."
        ) from error
    return True


def wait_for_locks(db: apsw.Connection) -> None:
    """As SQLite's own timeout does, but in Python, where signals are heard. Who is asked to stop waits on for a moment:
    the other process may be about to end its step."""
    patience = at_most(BUSY_TIMEOUT_MS / 1000)
    begun = stopping_since = 0.0

    def on_busy(attempts: int) -> bool:
        nonlocal begun, stopping_since
        now = time.monotonic()
        if attempts == 0:
            begun, stopping_since = now, 0.0
        if is_stopping() and not stopping_since:
            stopping_since = now
        if now - begun >= patience or (stopping_since and now - stopping_since >= _LAST_PATIENCE):
            return False
        time.sleep(0.001 if attempts < 10 else 0.02)
        return True

    db.set_busy_handler(on_busy)


def _connect_readonly(path: Path, connect: Connect) -> apsw.Connection:
    try:
        db = connect(path, apsw.SQLITE_OPEN_READONLY)
        # before anything is read: a connection that closes last locks the file for a moment
        wait_for_locks(db)
        db.pragma("schema_version")
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError):
        # WAL needs a -shm file beside the archive, which a read-only medium cannot have, nor a disk that is full to the
        # last. Nobody can write there either: a writer needs one as well.
        wal = path.with_name(path.name + "-wal")
        if (os.access(path.parent, os.W_OK) and not is_full(path)) or (wal.exists() and wal.stat().st_size):
            raise
        uri = path.resolve().as_uri() + "?immutable=1"
        return connect(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db
