"""Brings an archive file to the schema this vaultembed knows, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from vaultembed.archive.schema_files import Migration
from vaultembed.errors import DamageError, UsageError, VaultembedError
from vaultembed.failpoints import failpoint

APPLICATION_ID: Final = 0x76656D62  # "vemb"

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations(
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)
"""


def user_version(db: apsw.Connection) -> int:
    return int(db.pragma("user_version"))


def check_identity(db: apsw.Connection, path: object) -> None:
    """Say what a file is that is no archive.

    Raises:
        UsageError: another application's database.
    """
    # One transaction for both: between them another process may be creating the archive, and its tables without its
    # application_id would look like somebody else's database.
    db.execute("BEGIN")
    try:
        application_id = int(db.pragma("application_id"))
        tables = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 50")]
    finally:
        if not db.get_autocommit():
            db.execute("ROLLBACK")
    if application_id == APPLICATION_ID:
        return
    if application_id == 0 and not tables:
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


def check_not_newer(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> None:
    """Raises VaultembedError when a newer vaultembed wrote the file: guessing at its schema could damage it."""
    version = user_version(db)
    if version > len(migrations):
        raise VaultembedError(
            f"{path} has schema version {version}; this vaultembed knows versions up to {len(migrations)}",
            "Upgrade vaultembed: pip install --upgrade vaultembed",
        )


def migrate_up(
    db: apsw.Connection,
    path: object,
    migrations: Sequence[Migration],
    before: Callable[[int], object] = lambda _: None,
) -> int:
    """Apply what is missing, in one transaction; returns how many were applied.

    `before` is told the present version of a file that is not new: after the write lock is taken, before any change.

    Raises:
        DamageError: an applied migration is not the one this vaultembed has under that number.
    """
    check_not_newer(db, path, migrations)
    if user_version(db) == len(migrations):
        return 0
    db.execute("BEGIN IMMEDIATE")
    try:
        applied = user_version(db)  # again, now that nobody else can write
        if applied >= len(migrations):
            db.execute("ROLLBACK")
            check_not_newer(db, path, migrations)
            return 0
        if applied:
            _check_recorded(db, path, migrations)
            before(applied)
        db.execute(_RECORD)
        for migration in migrations[applied:]:
            db.execute(migration.up)
            if applied:
                failpoint("migrate.in_transaction")
            db.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?, unixepoch())",
                (migration.version, migration.name, migration.checksum),
            )
        if applied and any(migration.name == "fulltext" for migration in migrations[applied:]):
            # after the way down and up again: the new index knows none of the messages that are here
            db.execute("INSERT INTO fulltext_stale(message_id) SELECT id FROM messages")
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", len(migrations))
    except BaseException:
        if not db.get_autocommit():  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return len(migrations) - applied


def _check_recorded(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> None:
    for version, checksum in _rows(db, "SELECT version, checksum FROM schema_migrations"):
        if version <= len(migrations) and migrations[version - 1].checksum != checksum:
            raise DamageError(f"migration {version} of {path} differs from the one in this vaultembed")


def lost_by_migrating_down(db: apsw.Connection, to_version: int, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """What the archive holds and an older schema has no place for, as phrases. Empty: nothing of worth."""
    lost = []
    for migration in reversed(migrations[to_version : user_version(db)]):
        sql, what = _LOSSES.get(migration.name, ("", ""))
        count = _rows(db, sql)[0][0] if sql else None
        if what and count != 0:
            lost.append(what.format(count=count))
    return tuple(lost)


_LOSSES: Final = {
    "archive": ("SELECT count(*) FROM messages", "all {count:,} messages"),
    "fulltext": ("", "the index for search by words (the next import makes it again)"),
    "embeddings": ("SELECT count(*) FROM vectors", "all embeddings, {count:,} vectors, and each message's outcome"),
    "lifecycle": (
        "SELECT count(*) FROM generations WHERE scope <> ''",
        "the scope of {count:,} generations: they count as meant for every message",
    ),
    "repairs": (
        "SELECT count(*) FROM repairs WHERE undone_at IS NULL",
        "what {count:,} repaired texts were before: their repair cannot be undone any more",
    ),
    "msgvault": (
        "SELECT count(*) FROM msgvault_messages",
        "of {count:,} messages, what they were in msgvault: the next import reads them again, and its vectors, too",
    ),
}
"""By name of the migration: how much there is of what its way down drops, and what that is."""


def migrate_down(
    db: apsw.Connection,
    to_version: int,
    migrations: Sequence[Migration],
    before: Callable[[int], object] = lambda _: None,
) -> None:
    """Undo migrations above `to_version`, newest first, in one transaction. Loses what they hold: ask before calling.

    The connection needs sqlite-vec loaded where generations exist. `before` is as for `migrate_up`.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        if user_version(db) <= to_version:  # another process was faster
            db.execute("ROLLBACK")
            return
        before(user_version(db))
        for migration in reversed(migrations[to_version : user_version(db)]):
            if migration.name == "lifecycle":
                _collect_orphans(db)
            if migration.name == "embeddings":
                for (generation_id,) in _rows(db, "SELECT id FROM generations"):
                    db.execute(f"DROP TABLE IF EXISTS vec_{generation_id}")
            db.execute(migration.down)
            failpoint("migrate.in_transaction")
            db.execute("DELETE FROM schema_migrations WHERE version = ?", (migration.version,))
        db.pragma("user_version", to_version)
    except BaseException:
        if not db.get_autocommit():  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _collect_orphans(db: apsw.Connection) -> None:
    """While it is known which they are: an older schema has no list of them, and they would stay for good."""
    tables = {str(name) for (name,) in _rows(db, "SELECT name FROM sqlite_schema WHERE name LIKE 'vec_%'")}
    for generation_id, chunk_id in _rows(db, "SELECT generation_id, chunk_id FROM vec_orphans"):
        if f"vec_{generation_id}" in tables:
            db.execute(f"DELETE FROM vec_{generation_id} WHERE rowid = ?", (chunk_id,))


def _rows(db: apsw.Connection, sql: str) -> list[tuple[Any, ...]]:
    return db.execute(sql).fetchall()
