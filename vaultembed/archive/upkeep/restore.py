"""Puts a checked copy in the place of the archive, and what is there aside: whole, and never lost."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from vaultembed.archive.backup import (
    COMPANIONS,
    Contents,
    copy_archive,
    damage_in,
    read_contents,
    remove_leftovers,
    sync_folder,
)
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.errors import explained_errors
from vaultembed.archive.engine.opening import BUSY_TIMEOUT_MS, require_archive
from vaultembed.archive.migrations import check_identity
from vaultembed.archive.schema_files import read_migrations
from vaultembed.archive.trust import connect
from vaultembed.errors import BusyError, DamageError, StorageError, UsageError, VaultembedError
from vaultembed.failpoints import failpoint

_LOCK_MS: Final = 3_000
_MAGIC: Final = b"SQLite format 3\x00"
_WAL_FLAG: Final = 18  # offset in the file: 2 = write-ahead log


@contextmanager
def open_copy(path: Path) -> Iterator[Archive]:
    """Open a backup to read it, changing nothing, not even the folder it is in.

    Raises:
        UsageError: no such file, or no archive.
        DamageError: no SQLite file, or a damaged one; also for what is found inside the block.
        BusyError: it was written meanwhile.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "Check the spelling.")
    try:
        with explained_errors(path):
            before = path.stat()
            db = _connect(path)
            try:
                db.set_busy_timeout(BUSY_TIMEOUT_MS)
                check_identity(db, path)
                yield Archive(path, db, writable=False)
            finally:
                db.close()
            after = path.stat()
            if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
                raise BusyError(f"{path} was written while it was read", "Close what writes it, and try again.")
    except DamageError as error:
        raise DamageError(error.message, "Try another backup. The archive was not changed.") from error
    except UsageError as error:
        raise UsageError(error.message, "Name a backup of a vaultembed archive.") from error


def _connect(path: Path) -> apsw.Connection:
    wal = path.with_name(path.name + "-wal")
    with path.open("rb") as file:
        in_wal_mode = file.read(_WAL_FLAG + 1)[_WAL_FLAG:] == b"\x02"
    if in_wal_mode and not wal.exists():
        # copied by hand, and no program has it open. Opened as usual, it would get a -wal and a -shm beside it.
        uri = path.resolve().as_uri() + "?immutable=1"
        return connect(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return connect(path, apsw.SQLITE_OPEN_READONLY)


def check_copy(path: Path, should_stop: Callable[[], bool] = lambda: False) -> Contents:
    """What a backup holds.

    Raises: as `open_copy`; DamageError also where its structure, its references or its schema are not whole.
    """
    with open_copy(path) as copy, copy.snapshot():
        _require_whole(copy, should_stop)
        return read_contents(copy.db)


def _require_whole(copy: Archive, should_stop: Callable[[], bool]) -> None:
    damage = damage_in(copy.db, copy.path, should_stop, migrations=read_migrations())
    log = copy.path.with_name(copy.path.name + "-wal")
    if damage is None and not log.exists() and copy.path.stat().st_size < read_contents(copy.db).data_bytes:
        damage = "it was cut short"  # SQLite takes the rest of the last page for zeros
    if damage is not None:
        raise DamageError(f"{copy.path} is damaged: {damage}")


def has_archive(archive_path: Path) -> bool:
    """Whether there is a file that a restore would move aside.

    Raises:
        UsageError: there is something else, or can be nothing.
    """
    try:
        require_archive(archive_path)
    except UsageError:
        raise
    except VaultembedError:
        return False
    return True


def restore_copy(
    path: Path,
    archive_path: Path,
    *,
    replace: bool,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
    on_check: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Contents, Path | None]:
    """Make the archive a copy of the backup; returns what it holds, and where the archive that was there is now.

    The new file is whole and beside its place before the old one is touched.

    Raises:
        UsageError: an archive is there, and not to be replaced; or another application's database, or no file, is.
        BusyError: another process has the archive open.
        DamageError: the backup is damaged.
        StorageError, DiskFullError: the archive's place cannot be written.
        Stopped: `should_stop` said so; nothing was changed.
    """
    has_archive(archive_path)  # a folder can be moved aside as well, and nobody means that
    target = Path(os.path.realpath(archive_path))  # of a link, what it points to
    if target.exists() and path.exists() and os.path.samefile(path, target):
        raise UsageError(f"{path} is the archive itself", "Name a backup.")
    if os.path.lexists(target) and not replace:
        raise UsageError(f"there is an archive at {archive_path} already", "To move it aside and restore: --yes")
    new = target.with_name(f"{target.name}.{secrets.token_hex(4)}.restored")
    with _telling_storage_errors(archive_path):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_alone(target)  # before minutes of copying
        remove_leftovers(target, r"restored(?:\.[0-9a-f]{8}\.partial)?", path)
    with open_copy(path) as copy, copy.snapshot():
        _require_whole(copy, should_stop)
        contents = copy_archive(copy.db, path, new, on_step=on_step, on_check=on_check, should_stop=should_stop)
    with _telling_storage_errors(archive_path):
        descriptor = os.open(new, os.O_RDWR | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or another restore takes it for a leftover
            with _lock(target):
                aside = _set_aside(target)
                failpoint("restore.after_aside")
                new.replace(target)
                sync_folder(target.parent)
        finally:
            os.close(descriptor)
            new.unlink(missing_ok=True)
    return contents, aside


@contextmanager
def _telling_storage_errors(archive_path: Path) -> Iterator[None]:
    try:
        with explained_errors(archive_path):
            yield
    except OSError as error:
        raise StorageError(
            f"cannot write {archive_path}: {error.strerror}", "Check the folder and its permissions, or choose another."
        ) from error


def _require_alone(target: Path) -> None:
    """Raises BusyError where another process has the archive open. Changes nothing."""
    if not _is_sqlite(target):
        return
    db = connect(target, apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(_LOCK_MS)
        with _telling_damage_from_busy(target):
            check_identity(db, target)
        db.close()
        db = connect(target, apsw.SQLITE_OPEN_READWRITE)
        db.set_busy_timeout(_LOCK_MS)
        with _telling_damage_from_busy(target):
            db.pragma("locking_mode", "EXCLUSIVE")  # set before the first look, it takes the whole file
            db.execute("BEGIN IMMEDIATE")
    finally:
        with suppress(apsw.Error):
            db.close()


@contextmanager
def _telling_damage_from_busy(target: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise BusyError(
            f"another process has {target} open", "Stop imports, builds and searches of it, then try again."
        ) from error
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.IOError):
        pass  # damaged: that may be why it is to be replaced


def _is_sqlite(target: Path) -> bool:
    """Otherwise SQLite must not open it: it would take a log beside it for a worthless one, and delete it."""
    try:
        with target.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Inside, no other process has the archive open, and all of it is in one file.

    Leaving write-ahead logging needs every other connection closed, readers too, and folds the log in. It also makes
    whoever opens the file now and gets it after it was moved fail to write: SQLite looks, before it makes a rollback
    journal, whether the file still bears its name. A -wal it would make unasked, beside the new archive.

    A file that SQLite cannot read is left as it is.

    Raises:
        BusyError: another process has it open.
        UsageError: it is another application's database.
    """
    if not _is_sqlite(target):
        yield
        return
    db = connect(target, apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(_LOCK_MS)
        with _telling_damage_from_busy(target):
            check_identity(db, target)
            db.pragma("journal_mode", "DELETE")
            db.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        with suppress(apsw.Error):
            db.close()


def _set_aside(target: Path) -> Path | None:
    """Give the archive a second name; the caller then takes away the first by putting the new file there."""
    beside = [end for end in COMPANIONS if os.path.lexists(target.with_name(target.name + end))]
    if not os.path.lexists(target) and not beside:
        return None
    aside = _free_name(target)
    if os.path.lexists(target):
        try:
            os.link(target, aside)  # so that there is an archive at its place at every moment
        except OSError:
            target.rename(aside)  # a file system without links
    for end in beside:
        # A damaged archive's. The new file would be spoilt by them: SQLite goes by the name.
        target.with_name(target.name + end).rename(aside.with_name(aside.name + end))
    return aside


def _free_name(target: Path) -> Path:
    stem = f"{target.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
    name = target.with_name(stem)
    number = 1
    while os.path.lexists(name):
        number += 1
        name = target.with_name(f"{stem}-{number}")
    return name
