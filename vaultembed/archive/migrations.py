"""Brings an archive file to the schema this vaultembed knows, and back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.schema_files import FIRST_VERSION, Migration, latest_version, up_to
from vaultembed.errors import UsageError, VaultembedError
from vaultembed.failpoints import failpoint

APPLICATION_ID: Final = 0x76656D62  # "vemb"

_IMPORT_AGAIN: Final = "Import the mail again, into a new file: vaultembed import PATH --archive NEW"
RECORD: Final = """
-- One row is one migration that was applied.
CREATE TABLE IF NOT EXISTS schema_migrations(
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT
"""


def user_version(db: apsw.Connection) -> int:
    return int(db.pragma("user_version"))


def migrate_command(path: Path) -> str:
    """What a person types to bring an archive up to date."""
    return f"vaultembed migrate --archive {shlex.quote(str(path.absolute()))}"


def check_identity(db: apsw.Connection, path: object) -> None:
    """Say what a file is that is no archive.

    Raises:
        UsageError: another application's database.
    """
    # One transaction for both: between them another process may be creating the archive, and its tables without its
    # application_id would look like somebody else's database.
    db.execute("BEGIN")
    try:
        application_id, version = int(db.pragma("application_id")), user_version(db)
        tables = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 100")]
    finally:
        if not db.get_autocommit():
            db.execute("ROLLBACK")
    if not (version and application_id == APPLICATION_ID) and {"thread_ids", "live_count", "vectors"} <= set(tables):
        raise UsageError(
            f"{path} is an archive that lacks its marks, as the .dump of sqlite3 leaves it; nothing was changed",
            f"To set them: sqlite3 {path} 'PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version ="
            f" {latest_version()}'. Then: vaultembed doctor --fix. A copy that keeps them: vaultembed backup DEST",
        )
    if application_id == APPLICATION_ID or (application_id == 0 and not tables):
        return
    what = "a SQLite database of another application"
    if {"messages", "message_bodies", "sources", "message_raw"} <= set(tables):
        what = "a msgvault archive"
    names = ", ".join(tables[:4])
    raise UsageError(
        f"{path} is {what} (tables: {names}), not a vaultembed archive; nothing was changed",
        "Choose another file with --archive or VAULTEMBED_ARCHIVE."
        + (f" To move in from it: vaultembed import {path}" if "msgvault" in what else ""),
    )


def check_version_number(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> None:
    """As `check_version`, without a look at any table: they may be anything."""
    version, latest = user_version(db), latest_version(migrations)
    if 0 < version < FIRST_VERSION:
        raise VaultembedError(
            f"{path} has schema version {version}: a development version of vaultembed made it, before the first"
            f" release, whose schema begins at {FIRST_VERSION}; it cannot be read, and nothing was changed",
            _IMPORT_AGAIN,
        )
    if version > latest:
        raise VaultembedError(
            f"{path} has schema version {version}; this vaultembed knows versions up to {latest}",
            "Upgrade vaultembed: pip install --upgrade vaultembed",
        )


def check_version(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> None:
    """
    Raises:
        VaultembedError: a newer vaultembed made the file, or a development version did: guessing at its schema could
            damage it.
    """
    check_version_number(db, path, migrations)
    if user_version(db) == 0:
        return
    checksums = {migration.version: migration.checksum for migration in migrations}
    for number, checksum in db.execute("SELECT version, checksum FROM schema_migrations"):
        if checksums.get(number, checksum) != checksum:
            raise VaultembedError(
                f"{path} was made with another migration {number} than this vaultembed's: by a development version, or"
                " its record was altered; it cannot be read, and nothing was changed",
                _IMPORT_AGAIN,
            )


def migrate_up(
    db: apsw.Connection,
    path: object,
    migrations: Sequence[Migration],
    before: Callable[[int], object] = lambda _: None,
) -> int:
    """Apply what is missing, in one transaction; returns how many were applied.

    `before` is told the present version of a file that is not new: after the write lock is taken, before any change.

    Raises: as `check_version`.
    """
    if user_version(db) == latest_version(migrations):
        return 0
    with _transaction(db):
        check_version(db, path, migrations)
        applied = user_version(db)  # now that nobody else can write
        missing = [migration for migration in migrations if migration.version > applied]
        if not missing:
            return 0
        if applied:
            before(applied)
        db.execute(RECORD)
        for migration in missing:
            db.execute(migration.up)
            if applied:
                failpoint("migrate.in_transaction")
            record(db, migration)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", latest_version(migrations))
    return len(missing)


def record(db: apsw.Connection, migration: Migration) -> None:
    db.execute(
        "INSERT INTO schema_migrations VALUES (?, ?, ?, unixepoch())",
        (migration.version, migration.name, migration.checksum),
    )


def lost_by_migrating_down(db: apsw.Connection, to_version: int, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """What the archive holds and an older schema has no place for, as phrases. Empty: nothing of worth."""
    undone = _undone(db, to_version, migrations)
    return tuple(str(what) for migration in undone for what in _values(db, migration.loses))


def migrate_down(
    db: apsw.Connection,
    to_version: int,
    migrations: Sequence[Migration],
    before: Callable[[int], object] = lambda _: None,
) -> None:
    """Undo migrations above `to_version`, newest first, in one transaction. Loses what they hold: ask before calling.

    The connection needs sqlite-vec loaded where generations exist. `before` is as for `migrate_up`.
    """
    with _transaction(db):
        undone = _undone(db, to_version, migrations)
        if not undone:  # another process was faster
            return
        before(user_version(db))
        for migration in undone:
            for table in _values(db, migration.drops):
                db.execute(f'DROP TABLE "{table}"')
            db.execute(migration.down)
            failpoint("migrate.in_transaction")
            db.execute("DELETE FROM schema_migrations WHERE version = ?", (migration.version,))
        db.pragma("user_version", to_version)


def _undone(db: apsw.Connection, to_version: int, migrations: Sequence[Migration]) -> list[Migration]:
    """Newest first."""
    return [m for m in reversed(up_to(user_version(db), migrations)) if m.version > to_version]


def _values(db: apsw.Connection, query: str) -> list[Any]:
    return [row[0] for row in db.execute(query)] if query else []


@contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if not db.get_autocommit():  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise
