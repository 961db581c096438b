"""Copies an archive while it is in use, and tells whether a copy is whole.

A copy is made as `NAME.<8 hex digits>.partial` beside its place, checked there, and renamed: whatever bears the final
name is whole, and no file of anybody else is ever written to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.migrations import APPLICATION_ID, check_version_number, migrate_up, user_version
from vaultembed.archive.schema_files import Migration, read_migrations
from vaultembed.archive.trust import connect, differences, first_difference, has_record
from vaultembed.errors import BusyError, DamageError, DiskFullError, StorageError, UsageError
from vaultembed.failpoints import failpoint
from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND

Stopped = apsw.InterruptError
"""Raised where `should_stop` said so."""
COMPANIONS: Final = ("-wal", "-journal", "-shm")
"""What SQLite takes for a part of the database file beside it, by name alone."""
EVALUATIONS_ID: Final = 0x76656576  # "veev": the application_id of what `eval` keeps beside an archive
_STEP_PAGES: Final = 256
_BUSY_MS: Final = 15_000
_MIGRATION_SPARE: Final = 1_000_000
_LOOK_EVERY: Final = 100_000  # instructions of SQLite's virtual machine: some milliseconds
_READ_AS_IT_IS: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_OF_SOURCE: Final = (apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy must hold as much of as its original, and what tells a person which copy it is."""

    schema_version: int
    messages: int
    """Live ones."""
    deleted: int
    generations: int
    vectors: int
    first_sent_at: int | None
    last_sent_at: int | None
    last_added_at: int | None
    data_bytes: int


def read_contents(db: apsw.Connection) -> Contents:
    """Also of an archive with an older schema."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE name IN ('messages', 'vectors')")}
    messages = deleted = generations = vectors = 0
    first = last = added = None
    if "messages" in tables:
        messages, deleted, first, last, added = _row(
            db,
            # a flipped bit in a date passes the check
            "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at), min(sent_at) FILTER (WHERE dated),"
            " max(sent_at) FILTER (WHERE dated), max(added_at) FILTER (WHERE typeof(added_at) = 'integer') FROM"
            f" (SELECT *, sent_at BETWEEN {FIRST_SECOND} AND {LAST_SECOND} AS dated FROM messages)",
        )
    if "vectors" in tables:
        generations, vectors = _row(db, "SELECT (SELECT count(*) FROM generations), (SELECT count(*) FROM vectors)")
    size = int(db.pragma("page_count")) * int(db.pragma("page_size"))
    return Contents(user_version(db), messages, deleted, generations, vectors, first, last, added, size)


def _row(db: apsw.Connection, sql: str) -> tuple[Any, ...]:
    rows: list[tuple[Any, ...]] = db.execute(sql).fetchall()
    return rows[0]


def damage_in(
    db: apsw.Connection,
    path: Path,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    migrations: tuple[Migration, ...],
) -> str | None:
    """What is wrong with the file; None where it is a whole archive.

    Structure, foreign keys and schema. A flipped bit inside a text can pass: SQLite has no page checksums.

    Raises:
        VaultembedError: a newer vaultembed wrote it.
        Stopped: `should_stop` said so.
    """
    db.set_progress_handler(should_stop, _LOOK_EVERY)
    try:
        if int(db.pragma("application_id")) != APPLICATION_ID:
            return "it is empty, or was never finished"
        if not has_record(db):
            check_version_number(db, path, migrations)
            return "its record of migrations is no table of vaultembed's"
        version = user_version(db)
        (recorded,) = _row(db, "SELECT coalesce(max(version), 0) FROM schema_migrations")
        if version != recorded:
            return f"it says schema version {version}, and its record of migrations {recorded}"
        odd = first_difference(db, path, migrations)
        if odd is not None:
            return str(odd)
        (found,) = _row(db, "PRAGMA integrity_check(1)")
        if found != "ok":
            return str(found)
        row = next(iter(db.execute("PRAGMA foreign_key_check")), None)
        if row is not None:
            return f"row {row[1]} of {row[0]} belongs to a row of {row[2]} that is gone"
        return None
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
        return str(error)
    finally:
        db.set_progress_handler(None)


def copy_archive(
    db: apsw.Connection,
    path: Path,
    destination: Path,
    *,
    overwrite: bool = False,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
    on_check: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Contents:
    """Copy the archive that `db` reads, check the copy, and give it its name.

    `db` must be in a read transaction: so the copy is one state of the archive, and a writer, whom a reader does not
    block, cannot make the copying begin again and again. `on_step` is told bytes done and bytes in all.

    Raises:
        UsageError: `destination` exists, unless `overwrite`; or cannot be a backup's place.
        DiskFullError, StorageError: the destination cannot be written.
        BusyError: another copy to the same place is being made.
        DamageError: the original is damaged; no copy was made.
        Stopped: `should_stop` said so; no copy was made.
    """
    contents = read_contents(db)
    with taking_place(destination, contents.data_bytes, overwrite=overwrite, source=path) as partial:
        _copy_pages(db, partial, destination, contents.data_bytes, on_step, should_stop)
        on_check()
        _check_copy(db, path, partial, destination, contents, should_stop)
    return contents


def _copy_pages(
    db: apsw.Connection,
    partial: Path,
    destination: Path,
    needed: int,
    on_step: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> None:
    page_size = int(db.pragma("page_size"))
    try:
        copy = connect(partial, apsw.SQLITE_OPEN_READWRITE)
        try:
            # A half copy is thrown away, so nothing needs a journal or a sync before the end. Nobody else opens it.
            copy.pragma("locking_mode", "EXCLUSIVE")
            copy.pragma("journal_mode", "MEMORY")
            copy.pragma("synchronous", "OFF")
            backup = copy.backup("main", db, "main")
            try:
                while not backup.done:
                    if should_stop():
                        raise Stopped
                    failpoint("backup.before_step")
                    backup.step(_STEP_PAGES)
                    on_step((backup.page_count - backup.remaining) * page_size, backup.page_count * page_size)
            finally:
                backup.close(True)  # without raising: on a full disk it would say something else
            # One file, which can be read where nothing can be written: WAL needs a second one beside it.
            copy.pragma("journal_mode", "DELETE")
        finally:
            copy.close()
    except apsw.FullError as error:
        raise DiskFullError(destination, free_bytes(destination), needed) from error
    except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if getattr(error, "extendedresult", None) in _OF_SOURCE:
            raise
        raise StorageError(
            f"cannot write {partial}: {error}", "No copy was made. Check the disk, or choose another place."
        ) from error


def _check_copy(
    db: apsw.Connection,
    path: Path,
    partial: Path,
    destination: Path,
    contents: Contents,
    should_stop: Callable[[], bool],
) -> None:
    migrations = read_migrations()
    copy = connect(partial, apsw.SQLITE_OPEN_READONLY)
    try:
        damage = damage_in(copy, path, should_stop, migrations=migrations)
        if damage is None and read_contents(copy) != contents:
            damage = "it does not hold what the original does"
    finally:
        copy.close()
    if damage is None:
        return
    # The copy is page for page the original: which of the two is at fault?
    of_original = damage_in(db, path, should_stop, migrations=migrations)
    if of_original is not None:
        raise DamageError(
            f"{path} is damaged: {of_original}. No copy was made",
            "What can be done: vaultembed doctor. To keep the file as it is, copy it with its -wal while nothing runs.",
        )
    raise StorageError(
        f"the copy at {destination} came out wrong: {damage}", "Its disk may be failing. Choose another."
    )


@contextmanager
def taking_place(destination: Path, needed: int, *, overwrite: bool, source: Path | None = None) -> Iterator[Path]:
    """An empty file beside it to write to, which becomes `destination` if the block ends well, and else is gone.

    Raises: as `copy_archive`.
    """
    try:
        check_place(destination, overwrite=overwrite)
        free = free_bytes(destination)
        if free is not None and free < needed:
            raise DiskFullError(destination, free, needed)
        remove_leftovers(destination, "partial", source)
        partial = destination.with_name(f"{destination.name}.{secrets.token_hex(4)}.partial")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield partial
                os.fsync(descriptor)
                failpoint("backup.before_rename")
                check_place(destination, overwrite=overwrite)  # again: copying takes minutes
                partial.replace(destination)
            except BaseException:
                _remove(partial, *(partial.with_name(partial.name + end) for end in COMPANIONS))
                raise
        finally:
            os.close(descriptor)
        sync_folder(destination.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(destination, free_bytes(destination), needed) from error
        raise StorageError(
            f"cannot write {destination}: {error.strerror}", "Check the folder and its permissions, or choose another."
        ) from error


def remove_leftovers(destination: Path, end: str, source: Path | None) -> None:
    """`NAME.<8 hex digits>.END` (a pattern): what copies to this place left that were killed. One that is being made
    holds a lock. `source`, what is to be copied now, stays: a leftover may be whole, and all that somebody has.

    Raises:
        BusyError: one is being made.
    """
    pattern = re.compile(re.escape(destination.name) + r"\.[0-9a-f]{8}\." + end)
    for name in os.listdir(destination.parent):
        if not pattern.fullmatch(name):
            continue
        left = destination.with_name(name)
        if source is not None and _is_same(left, source):
            continue
        try:
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another copy to {destination} is being made", "Wait for it, or choose another name."
            ) from error
        except OSError:
            continue  # a file system without locks: it may be in the making
        else:
            _remove(left, *(left.with_name(left.name + end) for end in COMPANIONS))
        finally:
            os.close(descriptor)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def copies_holding(path: Path, messages: Sequence[tuple[bytes | None, str | None]]) -> list[Path]:
    """Other archives in the folder of this one that hold one of these messages, or cannot be asked: backups, and what a
    migration or a restore has kept. And what `eval` keeps: queries may be anybody's words. `messages`: content hash and
    Message-ID; an older edition has another hash."""
    folders = {path.parent, path.resolve().parent}
    beside = sorted(file for folder in folders for file in folder.iterdir() if file.is_file())
    return [file for file in beside if not _is_same(file, path) and _holds(file, messages)]


def _holds(path: Path, messages: Sequence[tuple[bytes | None, str | None]]) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    application_id = int.from_bytes(header[68:], "big")
    if header[:16] != b"SQLite format 3\0" or application_id not in (APPLICATION_ID, EVALUATIONS_ID):
        return False
    return application_id == EVALUATIONS_ID or _may_hold(path, messages)


def _may_hold(path: Path, messages: Sequence[tuple[bytes | None, str | None]]) -> bool:
    for end in COMPANIONS[:2]:
        beside = path.with_name(path.name + end)
        if beside.exists() and beside.stat().st_size:
            return True  # copied while it was open: what stands in the log alone, this would not see
    try:
        # immutable: nothing is to appear beside it
        db = connect(f"{path.absolute().as_uri()}?immutable=1", _READ_AS_IT_IS)
        try:
            migrations = read_migrations()
            if user_version(db) not in {one.version for one in migrations} or differences(db, migrations):
                return True  # a stranger's: their messages may be a view without end
            query = "SELECT 1 FROM messages WHERE content_hash = ? OR rfc822_message_id = ?"
            return any(db.execute(query, one).fetchone() is not None for one in messages)
        finally:
            db.close()
    except apsw.Error:
        return True


def check_place(destination: Path, *, overwrite: bool) -> None:
    """Raises UsageError where no copy may be put."""
    if destination.is_dir():
        raise UsageError(f"{destination} is a folder", f"Name a file, for example {destination / 'archive-backup.db'}")
    if os.path.lexists(destination) and not (overwrite and destination.is_file()):
        if not destination.is_file():
            raise UsageError(f"{destination} is no regular file", "Choose another name.")
        raise UsageError(f"{destination} exists already", "Choose another name, or replace it: --overwrite")
    if not destination.parent.is_dir():
        raise UsageError(f"the folder {destination.parent} does not exist", "Create it first, or choose another.")
    for end in COMPANIONS[:2]:
        beside = destination.with_name(destination.name + end)
        if beside.exists():
            # SQLite would take it for a part of the new file, and spoil that with it
            raise UsageError(
                f"{beside} exists: {destination.name} is or was open in some program",
                "Close that program, or choose another name.",
            )


def free_bytes(path: Path) -> int | None:
    """Of the disk that a file is on, for this user; None where that cannot be told."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename last. Some file systems cannot, and need not."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Migrated:
    """What opening an archive of an older schema did to it."""

    from_version: int
    backup: Path
    """The archive as it was before."""


def migrate_with_backup(db: apsw.Connection, path: Path, migrations: tuple[Migration, ...]) -> Migrated | None:
    """Bring the file to the last of `migrations`, after a copy of it as it was; None where there was none to be made.

    The copy is made while the migration's transaction has begun and written nothing. So of two processes one makes it
    and migrates; the other waits, and finds it done.

    Raises:
        DiskFullError: there is no room for the copy and the work; nothing was changed.
        DamageError: the file is damaged; nothing was changed.
    """
    made: list[Migrated] = []
    migrate_up(db, path, migrations, lambda version: made.append(Migrated(version, back_up_version(path, version))))
    return made[0] if made else None


def back_up_version(path: Path, version: int) -> Path:
    """Copy the archive to `NAME.vN.bak`, or the next free name like it. The caller holds the write lock.

    Raises: as `migrate_with_backup`.
    """
    # on a connection of its own: one that is about to write cannot be copied from
    db = connect(path, apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(_BUSY_MS)
        db.execute("BEGIN")
        size = read_contents(db).data_bytes
        needed = (
            size + size // 2 + _MIGRATION_SPARE
        )  # an index that is made stands in the write-ahead log, then in the file
        free = free_bytes(path)
        if free is not None and free < needed:
            raise DiskFullError(path, free, needed)
        backup = _free_name(path, f".v{version}.bak")
        copy_archive(db, path, backup)
    finally:
        db.close()
    failpoint("migrate.after_backup")
    return backup


def _free_name(path: Path, end: str) -> Path:
    name = path.with_name(path.name + end)
    number = 1
    while os.path.lexists(name):
        number += 1
        name = path.with_name(f"{path.name}{end.removesuffix('.bak')}.{number}.bak")
    return name
