"""Opens a file of ours beside the archive that is no archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.errors import explained_errors
from vaultembed.archive.engine.opening import wait_for_locks
from vaultembed.archive.trust import connect
from vaultembed.errors import DamageError

_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema"


@contextmanager
def open_beside(path: Path, schema: str, application_id: int) -> Iterator[Archive]:
    """Open for reading and writing; created (0600) as needed.

    Raises:
        DamageError: it is another file than `schema` makes.
        BusyError, StorageError: from SQLite, also for what happens inside the block.
    """
    with explained_errors(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite would create it by the umask
        db = connect(path, apsw.SQLITE_OPEN_READWRITE)
        try:
            wait_for_locks(db)
            db.pragma("foreign_keys", True)
            archive = Archive(path, db, writable=True)
            if path.stat().st_size == 0:
                with archive.transaction():
                    _make(db, schema, application_id)
            if not _is_made_by(db, schema, application_id):
                raise DamageError(
                    f"{path} is not as this vaultembed makes it. Nothing of it was used",
                    "Move it away; a new one is made.",
                )
            yield archive
        finally:
            db.close()


def _make(db: apsw.Connection, schema: str, application_id: int) -> None:
    if not db.execute(_SCHEMA).fetchall():  # nobody else has meanwhile
        db.execute(schema)
        db.pragma("application_id", application_id)
        db.pragma("user_version", 1)


def _is_made_by(db: apsw.Connection, schema: str, application_id: int) -> bool:
    with apsw.Connection(":memory:") as right:
        right.execute(schema)
        wanted = set(right.execute(_SCHEMA))
    try:
        return int(db.pragma("application_id")) == application_id and set(db.execute(_SCHEMA)) == wanted
    except (apsw.NotADBError, apsw.CorruptError):
        return False
