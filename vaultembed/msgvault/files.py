"""Opens msgvault's databases strictly for reading, beside a msgvault that runs or where nothing can be written."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.trust import connect, load_vec
from vaultembed.errors import BusyError, StorageError, UsageError, VaultembedError
from vaultembed.failpoints import failpoint

_MAGIC: Final = b"SQLite format 3\0"
_WAL: Final = 2
"""Of byte 18 of the header: https://sqlite.org/fileformat.html#file_format_version_numbers"""
_BUSY_MS: Final = 15_000
_TRIES: Final = 200
_ARCHIVE_TABLES: Final = frozenset({"messages", "sources", "conversations"})
"""Of msgvault.db, in every version. (`message_bodies` and others may be missing from a damaged one.)"""
_FROM_A_BACKUP: Final = "Take it from a backup, or let msgvault repair it. What was imported stays."
_OURS: Final = "schema_migrations"


Look = tuple[int, int, bool]
"""Size, time of change, and whether there is a log."""


class ForeignDamageError(VaultembedError):
    """Another program's database, or a part of it, is damaged or not as that program makes it."""


class ForeignDatabase:
    """A database of another program, at one moment: whatever that program writes meanwhile is not seen."""

    def __init__(self, path: Path, db: apsw.Connection, seen: Look | None) -> None:
        """`seen`: what the file looked like before it was opened, where it is read as one that nobody writes to."""
        self.path = path
        self._db = db
        self._seen = seen
        self._columns: dict[str, frozenset[str]] = {}

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """
        Raises:
            ForeignDamageError: what is asked for cannot be read, or is not there.
            StorageError, BusyError: the disk, or another program.
        """
        with explained(self.path):
            return self._db.execute(sql, tuple(bindings)).fetchall()

    def integers(self, sql: str) -> tuple[array[int], bool]:
        """The integers in the first column, as far as the rows can be read; and whether that was to the end."""
        found = array("q")  # eight bytes each
        try:
            with explained(self.path):
                found.extend(row[0] for row in self._db.execute(sql) if isinstance(row[0], int))
        except ForeignDamageError:
            return found, False
        return found, True

    def columns(self, table: str) -> frozenset[str]:
        """Empty where there is no such table. (Their order differs between created and altered databases.) A view is
        none: what it does to give a row may have no end; nor is a column that is computed."""
        if table not in self._columns:
            found = self.rows(
                "SELECT c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.name = ? COLLATE NOCASE"
                " AND t.type = 'table' AND t.sql LIKE 'CREATE TABLE%'",
                (table,),
            )
            self._columns[table] = frozenset(str(row[0]) for row in found)
        return self._columns[table]

    def tables(self) -> frozenset[str]:
        found = self.rows("SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table'")
        return frozenset(bytes(row[0]).decode("utf-8", "replace") for row in found)

    def load_vec(self) -> None:
        """Make vec0 tables readable."""
        load_vec(self._db)

    def check_unchanged(self) -> None:
        """After reading, before what was read is used.

        Raises:
            BusyError: it was opened while nobody used it, and somebody writes to it now.
        """
        if self._seen is not None and _look(self.path) != self._seen:
            raise BusyError(
                f"{self.path} began to be written to while it was read",
                "What was imported is safe. Give the same command again.",
            )


def _look(path: Path) -> Look:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, _companion(path, "-wal").exists()


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def is_database(path: Path) -> bool:
    """By how it begins."""
    try:
        with path.open("rb") as stream:
            return stream.read(16) == _MAGIC
    except OSError:
        return False


def find_archive(path: Path) -> Path | None:
    """The msgvault archive that `path` is, or that lies in that folder; None where there is none. By content: a
    database with msgvault's tables, whatever its name. One named msgvault.db comes first."""
    if path.is_file():
        return path if _is_archive(path) else None
    try:
        names = sorted(os.listdir(path), key=lambda name: (name != "msgvault.db", name))
    except OSError:
        return None
    for name in names:
        if name.endswith((".db", ".sqlite", ".sqlite3")) and _is_archive(path / name):
            return path / name
    return None


def _is_archive(path: Path) -> bool:
    if not is_database(path):
        return False
    if path.name == "msgvault.db":
        return True  # also a damaged one, of which there is more to be said than "no mail"
    try:
        with open_foreign(path) as database:
            return database.tables() >= _ARCHIVE_TABLES and _OURS not in database.tables()
    except VaultembedError:
        return False


def is_vectors(path: Path) -> bool:
    """Whether it is a vectors.db."""
    if not path.is_file() or not is_database(path):
        return False
    try:
        with open_foreign(path) as database:
            return {"index_generations", "embeddings"} <= database.tables()
    except VaultembedError:
        return False


def check_is_archive(database: ForeignDatabase) -> None:
    """
    Raises:
        UsageError: it lacks what makes a msgvault archive; says what.
    """
    lacking = sorted(_ARCHIVE_TABLES - database.tables())
    wanted = {"messages": {"id", "source_id", "subject"}, "sources": {"id", "identifier"}}
    for table, columns in wanted.items():
        if table not in lacking:
            lacking += [f"{table}.{name}" for name in sorted(columns - database.columns(table))]
    if lacking:
        raise UsageError(
            f"{database.path} is no whole msgvault archive: {', '.join(lacking)} missing",
            "Take it from a backup, or name another file. Nothing was imported from it.",
        )


@contextmanager
def open_foreign(path: Path) -> Iterator[ForeignDatabase]:
    """Open for reading, as it is at this moment.

    Raises:
        VaultembedError: it is no database, is damaged, or cannot be read; says which, and the way out.
    """
    with explained(path):
        db, seen = _connect(path)
    try:
        with explained(path):
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # here the snapshot is taken
        yield ForeignDatabase(path, db, seen)
    finally:
        with suppress(apsw.Error):
            db.close()


@contextmanager
def open_pair(archive: Path, vectors: Path | None) -> Iterator[tuple[ForeignDatabase, ForeignDatabase | None]]:
    """Both databases as they were at one moment: none of vectors.db's vectors is newer or older than the message it
    was made of, as far as msgvault itself keeps the two together.

    Raises: as `open_foreign`.
    """
    if vectors is None:
        with open_foreign(archive) as messages:
            yield messages, None
        return
    with explained(vectors):
        watch, _ = _connect(vectors)
    try:
        for _ in range(_TRIES):
            with explained(vectors):
                before = watch.pragma("data_version")
            with open_foreign(vectors) as opened:
                failpoint("msgvault.between_snapshots")
                with open_foreign(archive) as messages:
                    with explained(vectors):
                        is_same = watch.pragma("data_version") == before
                    if is_same:
                        yield messages, opened
                        return
            time.sleep(0.01)
    finally:
        with suppress(apsw.Error):
            watch.close()
    raise BusyError(f"{vectors} is written to without a pause", "Try again when msgvault has finished embedding.")


def _connect(path: Path) -> tuple[apsw.Connection, Look | None]:
    """The connection, and what the file looked like if it takes it for one that nobody writes to.

    A connection to a WAL database makes -shm and -wal beside it, if it may, and a read-only one cannot take them away
    again. Where neither is there, nobody has it open, and it is read as it stands.
    """
    if not is_database(path):
        raise UsageError(f"{path} is no SQLite database", "Name the file that msgvault made.")
    seen = _look(path)
    with path.open("rb") as stream:
        is_wal = stream.read(20)[18:19] == bytes([_WAL])
    log, shared = _companion(path, "-wal"), _companion(path, "-shm")
    is_idle = is_wal and not shared.exists() and not (log.exists() and log.stat().st_size)
    uri = f"{path.resolve().as_uri()}?{'immutable=1' if is_idle else 'mode=ro'}"
    db = connect(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    db.set_busy_timeout(_BUSY_MS)
    db.pragma("query_only", True)
    return db, seen if is_idle else None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about another program's database into ours."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise BusyError(f"{path} is locked by another program", "Try again when it has finished.") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError, apsw.PermissionsError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}",
            "If it lies where nothing can be written, and has a -wal file beside it: copy all of them to another folder"
            " and import from there. Else check the permissions.",
        ) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "Check the permissions.") from error
    except (apsw.Error, UnicodeDecodeError) as error:  # a damaged schema may say anything
        raise ForeignDamageError(f"{path} is damaged: {error}", _FROM_A_BACKUP) from error
