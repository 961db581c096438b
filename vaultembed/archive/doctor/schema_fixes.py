"""Repairs of the schema: takes out what is not ours, makes again what is missing, and nothing of it runs meanwhile."""

from __future__ import annotations

from vaultembed.archive.doctor.findings import Finding
from vaultembed.archive.doctor.stored import KINDS, added_columns
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.migrations import record, user_version
from vaultembed.archive.schema_files import read_migrations, up_to
from vaultembed.archive.trust import Difference, differences, empty_like


def take_out_strange(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    found_odd = {finding.what for finding in found}
    odd = [difference for difference in differences(archive.db, read_migrations()) if str(difference) in found_odd]
    for difference in sorted(odd, key=lambda item: item.kind == "table"):  # an index would go with its table
        kind, name = difference.kind, difference.name
        with archive.transaction():
            if difference.state == "extra":
                take_out(archive, kind, name)
                done.append(f"Took out the {kind} {name}")
            elif difference.state == "altered" and kind == "table":
                _restore_definition(archive, difference)
                done.append(f"Restored the definition of the table {name}")
            elif difference.state == "altered":
                take_out(archive, kind, name)  # to be made again
    return done


def make_missing(archive: Archive, _found: list[Finding]) -> list[str]:
    done = []
    # tables are another matter; of the rest those first that others may stand on
    order = ("view", "index", "trigger")
    missing = [item for item in differences(archive.db, read_migrations()) if item.state == "missing"]
    for difference in sorted((item for item in missing if item.kind in order), key=lambda item: order.index(item.kind)):
        with archive.transaction():
            archive.execute(difference.sql)
        done.append(f"Made the {difference.kind} {difference.name} again")
    return done


def write_record(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        archive.execute("DELETE FROM schema_migrations")
        for migration in up_to(user_version(archive.db), read_migrations()):
            record(archive.db, migration)
    return ["Wrote the record of migrations again"]


def make_indexes(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for finding in found:
        name = (finding.fix or "").removeprefix("REINDEX ")
        with archive.transaction():
            archive.execute(f"REINDEX {_quoted(name)}")
        done.append(f"Made the index {name} again from its table")
    return done


def make_text_index(archive: Archive, _found: list[Finding]) -> list[str]:
    with empty_like(archive.db, read_migrations()) as right:
        sql = right.execute("SELECT sql FROM sqlite_schema WHERE name = 'messages_fts'").fetchall()[0][0]
    parts = "SELECT type, name FROM sqlite_schema WHERE name GLOB 'messages_fts*' AND sql IS NOT NULL"
    with archive.transaction():
        for kind, name in archive.rows(parts):
            take_out(archive, kind, name)
        archive.execute(str(sql))
        archive.execute("INSERT INTO fulltext_stale SELECT id FROM messages WHERE true ON CONFLICT DO NOTHING")
    return [f"Indexed {refresh_stale(archive):,} messages again for search by words"]


def _restore_definition(archive: Archive, altered: Difference) -> None:
    for column in added_columns(archive, altered) or ():
        archive.execute(f"ALTER TABLE {altered.name} DROP COLUMN {_quoted(column)}")
    _write_schema(archive, "UPDATE sqlite_schema SET sql = ? WHERE name = ?", (altered.sql, altered.name))
    archive.execute(f"REINDEX {altered.name}")  # it may have had another order


def take_out(archive: Archive, kind: str, name: str) -> None:
    """If it is there; nothing of it runs, nor what a virtual table would do at being dropped."""
    has_pages = archive.scalar("SELECT rootpage FROM sqlite_schema WHERE type = ? AND name = ?", (kind, name))
    if has_pages and kind in KINDS:
        archive.execute(f"DROP {kind} {_quoted(name)}")
    else:
        _write_schema(archive, "DELETE FROM sqlite_schema WHERE type = ? AND name = ?", (kind, name))


def _write_schema(archive: Archive, change: str, bindings: tuple[str, ...]) -> None:
    archive.db.pragma("writable_schema", True)
    archive.execute(change, bindings)
    archive.db.pragma("schema_version", archive.db.pragma("schema_version") + 1)  # or others would not notice
    archive.db.pragma("writable_schema", "RESET")
    archive.db.pragma("writable_schema", True)  # or what else there is might not be read


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
