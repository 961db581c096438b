"""Opens the archive file: one SQLite connection with the settings every writer and reader must agree on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.backup import Migrated, free_bytes, migrate_with_backup
from vaultembed.archive.damage import check_coarse_indexes, damage_behind
from vaultembed.archive.ledger import run_steps
from vaultembed.archive.migrations import check_identity, check_not_newer, user_version
from vaultembed.archive.schema_files import read_migrations
from vaultembed.deadline import at_most, current_limit, interruptible
from vaultembed.errors import (
    ArchiveMissingError,
    ArchiveOutdatedError,
    BusyError,
    DiskFullError,
    StorageError,
    UsageError,
    VaultembedError,
)

PAGE_SIZE: Final = 8192  # a 384-dimension row wastes a quarter of a 4 KiB page
BUSY_TIMEOUT_MS: Final = 15_000
_SHM_BYTES: Final = 65_536
READER_MMAP: Final = 1 << 34
"""For scans. Readers only: under mmap an I/O error is a SIGBUS, not an error code."""


class Archive:
    """An open archive. Not shared between threads: each opens its own."""

    def __init__(self, path: Path, db: apsw.Connection, *, writable: bool) -> None:
        self.path = path
        self.db = db
        self.writable = writable
        self.migrated: Migrated | None = None
        """Set where opening brought an older schema up to date."""
        self.steps_taken: list[str] = []
        """What opening did of what an earlier command had left to be done once."""
        self._has_vec = False
        self._limit = current_limit()
        # what another program wrote may be no UTF-8; one such message must not end a search that finds it
        db.create_scalar_function("lenient", _lenient, 1, deterministic=True)  # type: ignore[arg-type]

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.check_limit()
        return self.db.execute(sql, tuple(bindings)).fetchall()

    def row(self, sql: str, bindings: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        self.check_limit()
        return self.db.execute(sql, tuple(bindings)).fetchone()

    def scalar(self, sql: str, bindings: Sequence[Any] = ()) -> Any:
        """First column of the first row; None where there is no row."""
        found = self.row(sql, bindings)
        return None if found is None else found[0]

    def check_limit(self) -> None:
        """An interruption ends what runs, and not what comes after it: to be called before and between long reads.

        Raises:
            TimedOutError: the call that opened the archive is over.
        """
        if self._limit is not None:
            self._limit.check()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction. IMMEDIATE: one that reads first and writes later is refused if another wrote between."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if not self.db.get_autocommit():  # a full disk has rolled back already
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside sees one state of the archive."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            if not self.db.get_autocommit():
                self.db.execute("ROLLBACK")

    def load_vec(self) -> None:
        """Make vec0 tables usable on this connection.

        Raises:
            DamageError: it is to be written with, and one of them is so damaged that this would crash.
        """
        self.load_vec_unchecked()
        if self.writable:
            check_coarse_indexes(self.db, self.path)

    def load_vec_unchecked(self) -> None:
        """For repairs. Dropping a vec0 table is always possible; deleting from a damaged one may crash."""
        if self._has_vec:
            return
        import sqlite_vec

        self.db.enable_load_extension(True)
        try:
            self.db.load_extension(sqlite_vec.loadable_path())
        finally:
            self.db.enable_load_extension(False)
        self._has_vec = True


def _lenient(stored: bytes | None) -> str | None:
    """For SQL: `lenient(CAST(text AS BLOB))`, with U+FFFD for what is no text."""
    return None if stored is None else bytes(stored).decode("utf-8", "replace")


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what to do."""
    try:
        with _told_in_time():
            yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise BusyError(
            f"{path} is being written by another process", "Try again when it has finished its step."
        ) from error
    except apsw.FullError as error:
        raise DiskFullError(path, free_bytes(path)) from error
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as error:
        raise StorageError(
            f"{path} cannot be written: {error}", "Check the permissions of the file and its folder."
        ) from error
    except (apsw.IOError, apsw.CantOpenError) as error:
        if _is_full(path):  # no room for a -shm file is an I/O error to SQLite
            raise DiskFullError(path, free_bytes(path)) from error
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
        limit = current_limit()
        if limit is None or not limit.is_over:
            raise
        raise limit.error() from error


def _was_migrated(path: Path) -> bool:
    """By another process: an archive that is open has the latest schema."""
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return user_version(db) != len(read_migrations())
        finally:
            db.close()
    except apsw.Error:
        return False


def _is_full(path: Path) -> bool:
    """Whether there is no room even for a -shm file."""
    free = free_bytes(path)
    return free is not None and free < _SHM_BYTES


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
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
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(_busy_ms())
            check_identity(db, path)
            migrations = read_migrations()
            check_not_newer(db, path, migrations)
            if user_version(db) == 0:
                db.pragma("page_size", PAGE_SIZE)
                db.pragma("auto_vacuum", "INCREMENTAL")
            db.pragma("journal_mode", "WAL")
            db.pragma("foreign_keys", True)
            db.pragma("cache_size", -65536)
            migrated = migrate_with_backup(db, path, migrations)
            archive = Archive(path, db, writable=True)
            archive.migrated = migrated
            from vaultembed.msgvault.adoption import steps  # which imports this module

            archive.steps_taken = run_steps(archive, (steps,))
            yield archive
        finally:
            db.close()


@contextmanager
def open_archive_readonly(path: Path, *, mmap_bytes: int = READER_MMAP) -> Iterator[Archive]:
    """Open for reading only: never migrates, never blocks or is blocked by a writer. `mmap_bytes`: how much of the file
    may be mapped into memory; 0 is faster where only single rows are looked up, as mapping and unmapping a page costs
    more than reading it once.

    Raises:
        ArchiveMissingError, ArchiveOutdatedError: no such file, or its schema is older than this vaultembed's.
        UsageError, DamageError, StorageError: as `open_archive`.
    """
    with open_older_readonly(path) as archive:
        if user_version(archive.db) < len(read_migrations()):
            raise ArchiveOutdatedError(
                f"{path} was last written by an older vaultembed, or its creation was interrupted",
                "Bring it up to date (a backup is made first): vaultembed migrate",
            )
        archive.db.pragma("mmap_size", mmap_bytes)
        yield archive


@contextmanager
def open_older_readonly(path: Path) -> Iterator[Archive]:
    """Open for reading only, also with the schema of an older vaultembed.

    Raises:
        VaultembedError: no such file, or a newer vaultembed wrote it.
        UsageError, DamageError, StorageError: as `open_archive`.
    """
    require_archive(path)
    with explained_errors(path):
        db = _connect_readonly(path)
        try:
            db.set_busy_timeout(_busy_ms())
            check_identity(db, path)
            check_not_newer(db, path, read_migrations())
            with interruptible(db.interrupt):
                yield Archive(path, db, writable=False)
        finally:
            with suppress(apsw.Error):  # nothing of a reader's can be lost, and the error that ended it must not
                db.close()


@contextmanager
def open_older(path: Path) -> Iterator[Archive]:
    """Open for writing with whatever schema the file has, to change that; the file must exist.

    Raises: as `open_older_readonly`, and BusyError.
    """
    require_archive(path)
    with explained_errors(path):
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(_busy_ms())
            check_identity(db, path)
            check_not_newer(db, path, read_migrations())
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
    """Whether there is a file. Raises UsageError for a path that cannot be one."""
    try:
        str(path).encode()
        if not path.exists():
            return False
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder, not an archive file", f"Name a file, for example {path / 'archive.db'}"
            )
        if not path.is_file():
            raise UsageError(f"{path} is no regular file and cannot be an archive")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path!r} cannot be the name of an archive: {error}") from error
    return True


def _busy_ms() -> int:
    return round(1000 * at_most(BUSY_TIMEOUT_MS / 1000))


def _connect_readonly(path: Path) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        # before anything is read: a connection that closes last locks the file for a moment
        db.set_busy_timeout(_busy_ms())
        db.pragma("schema_version")
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError):
        # WAL needs a -shm file beside the archive, which a read-only medium cannot have, nor a disk that is full to the
        # last. Nobody can write there either: a writer needs one as well.
        wal = path.with_name(path.name + "-wal")
        if (os.access(path.parent, os.W_OK) and not _is_full(path)) or (wal.exists() and wal.stat().st_size):
            raise
        uri = path.resolve().as_uri() + "?immutable=1"
        return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db
