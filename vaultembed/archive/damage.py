"""Tells an error that damage to the file has caused from one of our own making."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Final

import apsw

from vaultembed.archive.schema_files import read_migrations
from vaultembed.archive.trust import connect, differences
from vaultembed.deadline import at_most, interruptible
from vaultembed.errors import DamageError

SECONDS: Final = 10.0
"""A whole check of a large file takes minutes, and somebody is waiting for an error message."""
_HINT: Final = "What is damaged, and what can be done: vaultembed doctor"
_COARSE_HINT: Final = (
    "Only an index over the vectors is damaged; nothing is lost. To make it anew: vaultembed doctor --fix"
)
_MOST: Final = 20
_COARSE: Final = re.compile(r"vec_\d+(_.*)?")
_TREE: Final = re.compile(r"Tree (\d+)")

# The columns that sqlite-vec asks for. It does not look whether it got them: deleting a row without vec_<n>_rowids is a
# crash in native code.
_SHADOWS: Final = {
    "chunks": "chunk_id, size, validity, rowids",
    "rowids": "rowid, id, chunk_id, chunk_offset",
    "vector_chunks00": "rowid, vectors",
}


def damage_behind(path: Path, error: Exception, seconds: float = SECONDS) -> DamageError | None:
    """The damage that explains an error; None where none was found, so that it may well be a bug of ours.

    Looks at the file itself, on a connection of its own: the type of an error says little. A flipped byte can make a
    TypeError anywhere, and so can we.
    """
    if isinstance(error, apsw.NotADBError):
        return DamageError(f"{path} is no SQLite file, or its beginning is damaged: {error}", _HINT)
    found = _look(path, seconds)
    if not found and isinstance(error, apsw.CorruptError):
        found = [("", str(error))]
    if not found and isinstance(error, UnicodeDecodeError):
        found = [("", "a stored text is not UTF-8")]
    if not found:
        return None
    where, what = found[0]
    is_coarse = all(_COARSE.fullmatch(place) for place, _ in found)
    return DamageError(
        f"{path} is damaged: {f'{where}: ' if where else ''}{what}", _COARSE_HINT if is_coarse else _HINT
    )


def check_coarse_indexes(db: apsw.Connection, path: Path) -> None:
    """
    Raises:
        DamageError: sqlite-vec would crash on the vec0 table of a generation.
    """
    tables = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'vec_[0-9]*'")}
    for name in sorted(table for table in tables if re.fullmatch(r"vec_\d+", table)):
        for shadow, columns in _SHADOWS.items():
            try:
                db.execute(f"SELECT {columns} FROM {name}_{shadow} LIMIT 0")
            except apsw.SQLError as error:
                raise DamageError(f"{path} is damaged: {name}: {error}", _COARSE_HINT) from error


def _look(path: Path, seconds: float) -> list[tuple[str, str]]:
    """What is wrong, as (table or index, what). Empty where nothing is, or where time ran out before it was found."""
    try:
        db = connect(path, apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return []
    found: list[tuple[str, str]] = []
    try:
        deadline = time.monotonic() + at_most(seconds)
        db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        with interruptible(db.interrupt):
            found += [("", str(difference)) for difference in differences(db, read_migrations())]
            if not found:  # names in a schema that is not ours may be anything, SQL too
                found += _coarse_damage(db)
                found += _content_damage(db)
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
        found.append(("", str(error)))
    except apsw.Error:
        pass  # out of time, or the disk fails: what was found stands
    finally:
        db.close()
    return found


def _coarse_damage(db: apsw.Connection) -> list[tuple[str, str]]:
    found = []
    schema = dict(_row(row) for row in db.execute("SELECT name, sql FROM sqlite_schema WHERE name GLOB 'vec_[0-9]*'"))
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'generations'").fetchall():
        return []
    rows = db.execute("SELECT id, dimension FROM generations WHERE pruned_at IS NULL").fetchall()
    for generation_id, dimension in map(_row, rows):
        name = f"vec_{generation_id}"
        if f"{name} USING vec0(embedding bit[{dimension}])" not in schema.get(name, ""):
            found.append((name, "missing or altered"))
            continue
        query = f"""SELECT count(*) FROM {name}_chunks c LEFT JOIN {name}_vector_chunks00 v ON v.rowid = c.chunk_id
            WHERE length(c.validity) IS NOT c.size / 8 OR length(c.rowids) IS NOT c.size * 8
               OR length(v.vectors) IS NOT c.size * {int(dimension) // 8}"""
        orphans = f"""SELECT count(*) FROM {name}_rowids r LEFT JOIN {name}_chunks c ON c.chunk_id = r.chunk_id
            WHERE c.chunk_id IS NULL OR typeof(r.chunk_offset) <> 'integer'
               OR r.chunk_offset NOT BETWEEN 0 AND c.size - 1"""
        try:
            if db.execute(query).fetchone() != (0,) or db.execute(orphans).fetchone() != (0,):
                found.append((name, "its parts do not fit together"))
        except apsw.SQLError as error:
            found.append((name, str(error)))
    return found


def _content_damage(db: apsw.Connection) -> list[tuple[str, str]]:
    roots = dict(_row(row) for row in db.execute("SELECT rootpage, name FROM sqlite_schema WHERE rootpage > 0"))
    found = []
    for (report,) in db.execute(f"PRAGMA integrity_check({_MOST})"):
        lines = [line for line in str(report).splitlines() if not line.startswith("***")]
        for line in lines:
            if line != "ok":
                tree = _TREE.search(line)
                found.append((str(roots.get(int(tree[1]), "")) if tree else "", line))
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
        found.append((str(table), f"row {rowid} belongs to a row of {parent} that is gone"))
        if len(found) >= _MOST:
            break
    return found


def _row(row: Any) -> tuple[Any, Any]:
    return row[0], row[1]
