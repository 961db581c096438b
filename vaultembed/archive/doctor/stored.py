"""Checks of the file itself, and of what was imported into it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from vaultembed.archive.doctor.derived import STRAYS
from vaultembed.archive.doctor.findings import (
    EXAMPLES,
    RESTORE,
    TELL_EVERY,
    Check,
    Finding,
    OnStep,
    Severity,
    from_rows,
)
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import text_of
from vaultembed.archive.migrations import user_version
from vaultembed.archive.schema_files import read_migrations, up_to
from vaultembed.archive.trust import Difference, differences, empty_like, is_of_some_version
from vaultembed.text.mime.dates import FIRST_SECOND, LAST_SECOND, MINUTES_A_DAY
from vaultembed.text.mime.packed import unpack

_MOST_REPORTS: Final = 200
"""Lines of integrity_check: it stops there, and so would a reader."""
_TREE: Final = re.compile(r"Tree (\d+)")
_TEXT_INDEX: Final = re.compile(r"messages_fts(_.*)?")
KINDS: Final = ("table", "index", "trigger", "view")
"""What there is in a schema. The file may say anything, and SQLite goes by the definition: a "Table" is one to it."""
_COLUMNS: Final = "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?, 'main') ORDER BY cid"
_KEPT_HOW: Final = (
    "SELECT wr, strict, (SELECT json_group_array(name) FROM sqlite_schema WHERE tbl_name = t.name AND sql IS NULL)"
    " FROM pragma_table_list(?) t WHERE schema = 'main'"
)
NUMBERED: Final = ("messages", "generations", "chunks", "embed_leases", "repair_runs")
"""Whose numbers are never given twice."""
HIGHEST_ID: Final = 1 << 53
"""Beyond it, JSON has no whole numbers; and nobody comes there by counting."""
_WORD: Final = re.compile(r"\w+")
_PLAIN: Final = re.compile("[a-z_]+")
_REPAIR: Final = "Texts that were stored wrongly can be repaired: vaultembed repair-encoding"
_DERIVED_WAY_OUT: Final = (
    "It holds only what can be made again, no mail. " + RESTORE + " Without one: import the mail into a new archive"
    " (vaultembed import PATH --archive NEW), and keep this file until you have what you need."
)
_MAIL_WAY_OUT: Final = RESTORE + (
    " Without one: keep this file, and import the mail again into a new archive: vaultembed import PATH --archive NEW"
)
_ODD_WAY_OUT: Final = "Another program wrote them, and nobody can tell what it meant. " + RESTORE
_ONE_NAME: Final = (
    "Delete all of its names but this one, or make copies of them: vaultembed backup DEST. To find them:"
    " find FOLDER -samefile ARCHIVE"
)
_MAIL_TABLES: Final = (
    "sources",
    "conversations",
    "participants",
    "messages",
    "message_bodies",
    "message_readings",
    "message_sources",
    "message_recipients",
    "labels",
    "attachments",
    "reactions",
    "problems",
)
_DERIVED_TABLES: Final = (
    "chunks",
    "vectors",
    "embed_outcomes",
    "embed_coverage",
    "embed_leases",
    "embed_watermark",
    "embed_runs",
    "message_texts",
    "scope_members",
    "vec_orphans",
    "live_count",
    "fulltext_stale",
    "deleted_with_remains",
    "gone_messages",
    "messages_in_the_way",
)


def check_schema(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Tables, indexes, triggers and views that are not those that the migrations make, and what else there is."""
    odd = differences(archive.db, read_migrations())
    for difference in odd:
        if difference.kind == "table" and _TEXT_INDEX.fullmatch(difference.name):
            fix: str | None = "index all messages again"
            yield Finding("text_index", "damage", str(difference), 1, (difference.name,), fix=fix)
        else:
            fix = _way_to_mend(archive, difference, odd)
            severity: Severity = "wrong" if fix else "damage"
            way_out = None if fix else RESTORE
            yield Finding("schema", severity, str(difference), 1, (difference.name,), fix=fix, way_out=way_out)


def _way_to_mend(archive: Archive, difference: Difference, odd: list[Difference]) -> str | None:
    kind, name = difference.kind, difference.name
    if difference.state == "extra":
        of_its_own = "SELECT NOT rootpage FROM sqlite_schema WHERE type = ? AND name = ? AND sql IS NOT NULL"
        is_empty = archive.row(of_its_own, (kind, name))
        has_sql = is_empty is not None and (kind in KINDS or is_empty == (1,))
        # it may be one that is missing, by another name or kind, with mail in it
        may_be_ours = kind not in KINDS[1:] and any(o.kind == "table" and o.state == "missing" for o in odd)
        may_be_ours |= is_of_some_version(kind, name, read_migrations())
        with_all = ", with what is in it" if kind == "table" else ""
        return f"take it out{with_all}" if has_sql and not may_be_ours else None
    if kind == "table":
        is_known = difference.state == "altered" and added_columns(archive, difference) is not None
        return "restore its definition" if is_known else None
    return f"make the {kind} again" if difference.sql else None


def added_columns(archive: Archive, altered: Difference) -> list[str] | None:
    """Columns without which the rows of a table would be kept as they are to be; None where they are kept otherwise."""
    if not altered.sql:
        return None
    with empty_like(archive.db, read_migrations()) as right:
        columns, wanted_columns = (list(db.execute(_COLUMNS, (altered.name,))) for db in (archive.db, right))
        kept, wanted_kept = (list(db.execute(_KEPT_HOW, (altered.name,))) for db in (archive.db, right))
    if kept != wanted_kept or [column for column in columns if column in wanted_columns] != wanted_columns:
        return None
    return [str(column[0]) for column in columns if column not in wanted_columns]


def check_migrations(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """The record of migrations names those that made the schema; no copy is made that says otherwise."""
    applied = {migration.version for migration in up_to(user_version(archive.db), read_migrations())}
    recorded = {row[0] for row in archive.rows("SELECT version FROM schema_migrations")}
    what = "the record of migrations does not say what was applied"
    differing = [(version,) for version in sorted(applied ^ recorded)]
    yield from from_rows(differing, Finding("migrations", "wrong", what, fix="write it again"), name="migration")


def check_integrity(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """SQLite's own check of its pages, of indexes against tables, and of the text index."""
    kinds = dict(archive.stream("SELECT name, type FROM sqlite_schema"))
    roots = dict(archive.stream("SELECT rootpage, name FROM sqlite_schema WHERE rootpage > 0"))
    lines_of: dict[str, list[str]] = {}
    for (report,) in archive.stream(f"PRAGMA integrity_check({_MOST_REPORTS})"):
        for line in str(report).splitlines():
            if line != "ok" and not line.startswith("***"):
                lines_of.setdefault(_object_of(line, roots, kinds), []).append(line)
    for name, lines in sorted(lines_of.items()):
        yield _structural(name, str(kinds.get(name, "")), lines)


def _object_of(line: str, roots: dict[Any, Any], kinds: dict[Any, Any]) -> str:
    """The table or index a line of integrity_check is about; "" where it does not say."""
    tree = _TREE.search(line)
    if tree:
        return str(roots.get(int(tree[1]), ""))
    # "row 5 missing from index x", "NULL value in t.c", 'fts5: … from table "t"'
    return next((word for word in _WORD.findall(line) if word in kinds), "")


def _structural(name: str, type_: str, lines: list[str]) -> Finding:
    examples = tuple(lines[:EXAMPLES])
    if type_ == "index":
        what = f"the index {name} is damaged; its table is another matter"
        return Finding("index", "damage", what, len(lines), examples, fix=f"REINDEX {name}")
    if coarse := re.fullmatch(r"vec_(\d+)(_.*)?", name):
        what = f"the coarse index vec_{coarse[1]} is damaged (its table {name})"
        fix = "make the coarse index again from the vectors"
        return Finding("coarse_index", "damage", what, len(lines), examples, int(coarse[1]), fix)
    if _TEXT_INDEX.fullmatch(name):
        what = f"the text index is damaged (its table {name})"
        return Finding("text_index", "damage", what, len(lines), examples, fix="index all messages again")
    if name:
        way_out = _DERIVED_WAY_OUT if name in _DERIVED_TABLES else _MAIL_WAY_OUT
        return Finding("structure", "damage", f"the table {name} is damaged", len(lines), examples, way_out=way_out)
    return Finding("structure", "damage", "the file is damaged", len(lines), examples, way_out=_MAIL_WAY_OUT)


def check_references(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Foreign keys of what was imported: derived rows and stamps have checks of their own."""
    own = {(table, parent) for table, _, parent, _, _ in STRAYS} | {("messages", "generations")}
    found: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for table, rowid, parent, _ in archive.stream("PRAGMA foreign_key_check"):
        if (table, parent) in own:
            continue
        count, examples = found.get((table, parent), (0, []))
        if len(examples) < EXAMPLES and rowid is not None:
            examples.append(f"row {rowid}")
        found[table, parent] = (count + 1, examples)
    for (table, parent), (count, examples) in sorted(found.items()):
        what = f"rows of {table} belong to {parent} that are not there"
        if (table, parent) == ("generations", "models"):
            yield Finding("references", "damage", what, count, tuple(examples), way_out=_MAIL_WAY_OUT)
        else:
            fix = "make empty conversations for them" if parent == "conversations" else "take them out"
            yield Finding("references", "damage", what, count, tuple(examples), fix=fix)


def mended_references(archive: Archive) -> Iterator[tuple[str, str, str]]:
    """(table, table it refers to, statement that leaves no reference to a row that is not there) of each foreign key.
    Messages go on being one conversation; what else can be without is kept; generations are never deleted."""
    columns = archive.rows(
        'SELECT t.name, f."from", f."table", NOT c."notnull" AND NOT c.pk AND f.on_delete <> \'CASCADE\''
        " FROM sqlite_schema t, pragma_foreign_key_list(t.name) f, pragma_table_info(t.name) c"
        " WHERE t.type = 'table' AND c.name = f.\"from\" AND t.name <> 'generations' ORDER BY t.name, f.id"
    )
    for table, column, parent, can_be_without in columns:
        gone = f"{column} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.id = {table}.{column})"
        change = f"UPDATE {table} SET {column} = NULL" if can_be_without else f"DELETE FROM {table}"
        if parent == "conversations":
            # what is no number can be no conversation's id: each such row gets one of its own, or none
            instead = "NULL" if can_be_without else "-id"
            odd = f"typeof({column}) NOT IN ('integer', 'null')"
            yield str(table), str(parent), f"UPDATE {table} SET {column} = {instead} WHERE {odd}"
            change = f"INSERT INTO conversations(id, thread_key, subject) SELECT DISTINCT {column}, '', '' FROM {table}"
        yield str(table), str(parent), f"{change} WHERE {gone}"


def check_ids(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """There are numbers left to give to what comes: SQLite gives none below the highest, and then says that the disk is
    full."""
    for table in NUMBERED:
        if archive.row(f"SELECT 1 FROM sqlite_sequence WHERE name = '{table}' AND seq > {HIGHEST_ID}") is None:
            continue
        is_given = archive.row(f"SELECT 1 FROM {table} WHERE id > {HIGHEST_ID}") is not None
        what = f"no numbers are left for new rows of {table}"
        fix, way_out = (None, RESTORE) if is_given else ("go on from the highest that is in use", None)
        yield Finding("ids", "wrong", what, 1, (table,), fix=fix, way_out=way_out)


def check_names(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """The file has one name: SQLite keeps a log for each."""
    names = archive.path.stat().st_nlink
    if names > 1:
        what = f"the file has {names} names (hard links); what is written by one of them spoils what is by another"
        yield Finding("names", "wrong", what, names, way_out=_ONE_NAME)


def check_texts(archive: Archive, on_step: OnStep) -> Iterator[Finding]:
    """Subjects and bodies are UTF-8."""
    total = int(archive.scalar("SELECT count(*) FROM messages"))

    def unreadable() -> Iterator[tuple[Any, ...]]:
        rows = archive.stream(
            "SELECT m.id, CAST(m.subject AS BLOB), CAST(coalesce(b.body_text, '') AS BLOB) FROM messages m"
            " LEFT JOIN message_bodies b ON b.message_id = m.id ORDER BY m.id"
        )
        for done, row in enumerate(rows):
            if done % TELL_EVERY == 0:
                on_step("texts of messages", done, total)
            try:
                row[1].decode()
                row[2].decode()
            except UnicodeDecodeError:
                yield row

    yield from from_rows(
        unreadable(), Finding("text", "damage", "messages have a text that is not UTF-8", way_out=_REPAIR)
    )


@dataclass(frozen=True, slots=True)
class OddColumn:
    """A column of imported mail, and what it should not hold."""

    table: str
    name: str
    odd: str
    """SQL: whether a row has something there that no import writes."""
    right: str | None
    """SQL for what is meant by it; None where nobody can tell."""
    repairable: str
    """SQL: whether `right` is known of a row."""


def mail_columns(archive: Archive) -> list[OddColumn]:
    return [
        _column(table, str(name), str(type_))
        for table in _MAIL_TABLES
        for name, type_ in archive.rows("SELECT name, type FROM pragma_table_info(?)", (table,))
        if _PLAIN.fullmatch(str(name))  # another is none of ours, and would be SQL below
    ]


def _column(table: str, name: str, type_: str) -> OddColumn:
    odd = f"typeof({name}) NOT IN ('{type_.lower()}', 'null')"
    if name == "zone_minutes":
        odd = f"({odd} OR {name} NOT BETWEEN {1 - MINUTES_A_DAY} AND {MINUTES_A_DAY - 1})"
        return OddColumn(table, name, odd, "NULL", odd)
    if name.endswith("_at"):
        outside = f"{name} NOT BETWEEN {FIRST_SECOND} AND {LAST_SECOND}"
        odd = f"({odd} OR {outside})"
        seconds = (
            f"CASE typeof({name}) WHEN 'text' THEN iif({name} GLOB '[0-9][0-9][0-9][0-9]-*', unixepoch({name}), NULL)"
            f" WHEN 'blob' THEN NULL ELSE CAST(iif({outside}, {name} / 1000, {name}) AS INTEGER) END"
        )
        return OddColumn(table, name, odd, seconds, f"{odd} AND {seconds} BETWEEN 0 AND unixepoch() + 172800")
    if type_ == "TEXT":
        return OddColumn(table, name, odd, f"CAST({name} AS TEXT)", f"typeof({name}) = 'blob'")
    return OddColumn(table, name, odd, None, "0")


def check_odd_values(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Values that no import writes: a date in milliseconds, a text where a number belongs."""
    columns = mail_columns(archive)
    for table in _MAIL_TABLES:
        of_table = [column for column in columns if column.table == table]
        names = {column.name for column in of_table}
        key, word = ("id", "message" if table == "messages" else "row") if "id" in names else ("message_id", "message")
        found: dict[int, list[str]] = {}
        counts: Counter[int] = Counter()
        # all columns in one walk; numbers are told, texts may be private
        told = ", ".join(
            f"iif({c.odd}, CASE typeof({c.name}) WHEN 'integer' THEN {c.name} ELSE typeof({c.name}) END, NULL)"
            for c in of_table
        )
        any_odd = " OR ".join(c.odd for c in of_table)
        for row_key, *values in archive.stream(f"SELECT {text_of(key)}, {told} FROM {table} WHERE {any_odd}"):
            for index, value in enumerate(values):
                if value is not None:
                    counts[index] += 1
                    if counts[index] <= EXAMPLES:
                        found.setdefault(index, []).append(f"{word} {row_key}: {value}")
        for index, count in sorted(counts.items()):
            column = of_table[index]
            is_repairable = archive.row(f"SELECT 1 FROM {table} WHERE {column.repairable} LIMIT 1") is not None
            what = f"{table}.{column.name} holds values that no import writes; they are read as none"
            yield Finding(
                "odd_values",
                "wrong",
                what,
                count,
                tuple(found[index]),
                fix="put right what can be told" if is_repairable else None,
                way_out=None if is_repairable else _ODD_WAY_OUT,
            )


def check_raw(archive: Archive, on_step: OnStep) -> Iterator[Finding]:
    """Messages as they were sent can be read; zlib has a checksum."""
    total = int(archive.scalar("SELECT count(*) FROM message_raw"))

    def unreadable() -> Iterator[tuple[Any, ...]]:
        for done, row in enumerate(
            archive.stream("SELECT message_id, CAST(mime AS BLOB) FROM message_raw ORDER BY message_id")
        ):
            if done % TELL_EVERY == 0:
                on_step("messages as they were sent", done, total)
            try:
                unpack(row[1] or b"")
            except ValueError:
                yield row

    what = "messages as they were sent cannot be decompressed, or are larger than an import takes"
    yield from from_rows(unreadable(), Finding("raw", "damage", what, way_out=RESTORE))


STORED_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("the schema", check_schema),
    ("the record of migrations", check_migrations),
    ("numbers of rows", check_ids),
    ("names of the file", check_names),
    ("the structure of the file", check_integrity),
    ("references", check_references),
    ("texts of messages", check_texts),
    ("odd values", check_odd_values),
    ("messages as they were sent", check_raw),
)
