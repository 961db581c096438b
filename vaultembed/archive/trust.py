"""A file may come from a stranger: opens it so that nothing in it runs, and compares its schema, object by object, with
the one that the migrations make. A trigger of theirs would rewrite mail at the next import."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import apsw

from vaultembed.archive.migrations import RECORD, check_version, migrate_up, user_version
from vaultembed.archive.schema_files import Migration, up_to, vec_table_sql
from vaultembed.errors import DamageError

_ROWS: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_Row = tuple[Any, Any, Any, Any]
_OF_SQLITE: Final[set[_Row]] = {
    ("table", name, name, f"CREATE TABLE {name}({columns})")
    for name, columns in (
        ("sqlite_sequence", "name,seq"),
        ("sqlite_stat1", "tbl,idx,stat"),
        ("sqlite_stat4", "tbl,idx,neq,nlt,ndlt,sample"),
    )
}
_OF_GENERATION: Final = re.compile(r"(?:sqlite_autoindex_)?(vec_[1-9][0-9]*)(?:_.*)?")
_KEY: Final = "INTEGER PRIMARY KEY AUTOINCREMENT"
_BITS: Final = re.compile(r"bit\[[1-9]\d*\]")
# To ask sqlite-vec for these takes 0.2 s: its package loads numpy. So it is asked only where an object is none of them:
# a later one may make its tables in another way, and an archive then has some of either kind.
VEC_1: Final[frozenset[_Row]] = frozenset(
    {
        ("table", "vec_1", "vec_1", "CREATE VIRTUAL TABLE vec_1 USING vec0(embedding bit[8])"),
        ("index", "sqlite_autoindex_vec_1_info_1", "vec_1_info", None),
        ("index", "sqlite_autoindex_vec_1_vector_chunks00_1", "vec_1_vector_chunks00", None),
        *(
            ("table", f"vec_1_{part}", f"vec_1_{part}", f'CREATE TABLE "vec_1_{part}"{columns}')
            for part, columns in (
                ("info", " (key text primary key, value any)"),
                ("chunks", f"(chunk_id {_KEY},size INTEGER NOT NULL,validity BLOB NOT NULL,rowids BLOB NOT NULL)"),
                ("rowids", f"(rowid {_KEY},id,chunk_id INTEGER,chunk_offset INTEGER)"),
                ("vector_chunks00", "(rowid PRIMARY KEY,vectors BLOB NOT NULL)"),
            )
        ),
    }
)


def connect(name: Path | str, flags: int) -> apsw.Connection:
    """SQLite's own tables and those that virtual tables consist of cannot be written, nor a journal be switched off; a
    view, trigger, index or default of the file calls no function but SQLite's harmless ones. No statement opens another
    file, whatever a name or a value in this one may do to it: VACUUM INTO writes one even where nothing can be."""
    db = apsw.Connection(str(name), flags=flags)
    db.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    return db


def connect_for_repair(name: Path | str, flags: int) -> apsw.Connection:
    """As `connect`, but what is no schema does not keep it from being opened, and the schema itself can be written."""
    db = connect(name, flags)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    db.pragma("writable_schema", True)
    return db


def load_vec(db: apsw.Connection) -> None:
    """Make vec0 tables usable on this connection."""
    import sqlite_vec

    db.enable_load_extension(True)
    try:
        db.load_extension(sqlite_vec.loadable_path())
    finally:
        db.enable_load_extension(False)


@dataclass(frozen=True, slots=True)
class Difference:
    """An object of the schema that is not as the migrations make it."""

    state: Literal["extra", "altered", "missing"]
    kind: str
    """table, index, trigger or view."""
    name: str
    sql: str
    """As it should be; "" where there should be none, or none is to be told."""

    def __str__(self) -> str:
        is_what = {"extra": "not one that vaultembed makes", "altered": "altered", "missing": "missing"}[self.state]
        return f"the {self.kind} {self.name} is {is_what}"


def check_archive(db: apsw.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """To be called before anything else of the file is used.

    Raises:
        VaultembedError: as `check_version`.
        DamageError: its schema is not the one that the migrations make.
    """
    odd = first_difference(db, path, migrations)
    if odd is not None:
        raise DamageError(
            f"{path} is not as vaultembed makes it: {odd}. Nothing of it was used",
            "If it is your own archive: vaultembed doctor says more, and vaultembed doctor --fix puts right what can"
            " be. If somebody gave it to you, do not use it.",
        )


def first_difference(db: apsw.Connection, path: Path, migrations: Sequence[Migration]) -> Difference | None:
    """
    Raises: as `check_version`.
    """
    with db:  # one state of the file: meanwhile another process may bring it to another version
        odd = differences(db, migrations)
        if not any(difference.name == "schema_migrations" for difference in odd):
            check_version(db, path, migrations)  # it reads that
    return odd[0] if odd else None


def has_record(db: apsw.Connection) -> bool:
    """Whether its record of migrations is our table, whatever else is there and of whatever version: it may be a view
    without end."""
    return _rows_wanted(()) <= set(db.execute(_ROWS))


def is_of_some_version(kind: str, name: str, migrations: Sequence[Migration]) -> bool:
    """Whether one of the versions has such an object. The one that the file names may be wrong."""
    return (kind, name) in {row[:2] for row in _rows_wanted(tuple(migrations))}


def differences(db: apsw.Connection, migrations: Sequence[Migration]) -> list[Difference]:
    """Of a schema that the migrations do not know: none. A coarse index, which can be made again, is not missed."""
    version = user_version(db)
    known = up_to(version, migrations)
    if version and (not known or known[-1].version != version):
        return []
    wanted = _rows_wanted(known)
    rows: list[Any] = db.execute("SELECT rootpage, type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    found = {row[1:] for row in rows}
    missing = {(kind, name): sql for kind, name, _, sql in wanted - found} if version else {}
    twice = _twice(rows)
    odd = [Difference("altered", str(row[0]), str(row[1]), "") for row in twice]
    for row in found - wanted - twice:
        if row not in _OF_SQLITE and not _is_of_coarse_index(row, found):
            right = missing.pop(row[:2], None)
            odd.append(Difference("extra" if right is None else "altered", str(row[0]), str(row[1]), right or ""))
    odd += [Difference("missing", kind, name, sql or "") for (kind, name), sql in missing.items()]
    if db.pragma("encoding") != "UTF-8":
        odd.append(Difference("extra", "encoding", str(db.pragma("encoding")), ""))
    return sorted(odd, key=lambda item: (item.state, item.kind != "table", item.name))


def _twice(rows: list[Any]) -> set[_Row]:
    """Objects that share their name or their pages: what is done to the one may be done to the other."""
    roots = [row[0] for row in rows if row[0]]
    names = [(row[1], str(row[2]).lower()) for row in rows]
    if len(set(roots)) == len(roots) and len(set(names)) == len(names):
        return set()
    return {row[1:] for row, name in zip(rows, names, strict=True) if roots.count(row[0]) > 1 or names.count(name) > 1}


@contextmanager
def empty_like(db: apsw.Connection, migrations: Sequence[Migration]) -> Iterator[apsw.Connection]:
    """An empty archive in memory, with the schema of the version that another has."""
    with _empty_archive(up_to(user_version(db), migrations)) as right:
        yield right


@contextmanager
def _empty_archive(migrations: Sequence[Migration]) -> Iterator[apsw.Connection]:
    db = apsw.Connection(":memory:")
    try:
        db.execute(RECORD)
        migrate_up(db, ":memory:", migrations)
        yield db
    finally:
        db.close()


@functools.cache
def _rows_wanted(migrations: tuple[Migration, ...]) -> frozenset[_Row]:
    with _empty_archive(migrations) as db:
        return frozenset(db.execute(_ROWS))


@functools.cache
def rows_made_by(sql: str) -> frozenset[_Row]:
    """What the sqlite-vec that is here makes of the definition of vec_1."""
    with _empty_archive(()) as db:
        load_vec(db)
        db.execute(sql)
        return frozenset(db.execute(f"{_ROWS} WHERE tbl_name GLOB 'vec_1*'"))


def _is_of_coarse_index(row: _Row, found: Iterable[_Row]) -> bool:
    """Whether it is, to the letter, one of the objects that the coarse index of a generation consists of."""
    generation = _OF_GENERATION.fullmatch(str(row[1]))
    if generation is None:
        return False
    of_table = next((str(other[3]) for other in found if other[1] == generation[1]), "")
    bits = _BITS.search(of_table)

    def is_like(row_of_vec_1: _Row) -> bool:
        return row == tuple(
            part and part.replace("vec_1", generation[1]).replace("bit[8]", bits[0] if bits else "")
            for part in row_of_vec_1
        )

    return any(map(is_like, VEC_1)) or any(map(is_like, rows_made_by(vec_table_sql(1, 8))))
