"""Brings an archive file to the schema this vaultembed knows, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw

from vaultembed.archive.schema_files import Migration
from vaultembed.errors import DamageError, UsageError, VaultembedError

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
        "Choose another file with --archive or VAULTEMBED_ARCHIVE.",
    )


def check_not_newer(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> None:
    """Raises VaultembedError when a newer vaultembed wrote the file: guessing at its schema could damage it."""
    version = user_version(db)
    if version > len(migrations):
        raise VaultembedError(
            f"{path} has schema version {version}; this vaultembed knows versions up to {len(migrations)}",
            "Upgrade vaultembed: pip install --upgrade vaultembed",
        )


def migrate_up(db: apsw.Connection, path: object, migrations: Sequence[Migration]) -> int:
    """Apply what is missing, in one transaction; returns how many were applied.

    Raises:
        DamageError: an applied migration is not the one this vaultembed has under that number.
    """
    check_not_newer(db, path, migrations)
    if user_version(db) == len(migrations):
        return 0
    db.execute("BEGIN IMMEDIATE")
    try:
        applied = user_version(db)  # again, now that nobody else can write
        db.execute(_RECORD)
        recorded: list[tuple[Any, ...]] = db.execute("SELECT version, checksum FROM schema_migrations").fetchall()
        for version, checksum in recorded:
            if version <= len(migrations) and migrations[version - 1].checksum != checksum:
                raise DamageError(f"migration {version} of {path} differs from the one in this vaultembed")
        for migration in migrations[applied:]:
            db.execute(migration.up)
            db.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?, unixepoch())",
                (migration.version, migration.name, migration.checksum),
            )
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", len(migrations))
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return len(migrations) - applied


def migrate_down(db: apsw.Connection, to_version: int, migrations: Sequence[Migration]) -> None:
    """Undo migrations above `to_version`, newest first, in one transaction. Loses what they hold: ask before calling.

    The connection needs sqlite-vec loaded where generations exist.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        for migration in reversed(migrations[to_version : user_version(db)]):
            if migration.name == "embeddings":
                generations: list[tuple[Any, ...]] = db.execute("SELECT id FROM generations").fetchall()
                for (generation_id,) in generations:
                    db.execute(f"DROP TABLE IF EXISTS vec_{generation_id}")
            db.execute(migration.down)
            db.execute("DELETE FROM schema_migrations WHERE version = ?", (migration.version,))
        db.pragma("user_version", to_version)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
