"""A file from a stranger: whatever its schema has too much, too little or otherwise is seen at every opening, and put
right by doctor, before anything of it runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.later import upgrade
from tests.kit.mail import many, mbox
from vaultembed.archive.backup import copies_holding
from vaultembed.archive.database import open_archive, open_archive_readonly, open_older, open_older_readonly
from vaultembed.archive.generations.records import generation_with_id
from vaultembed.archive.migrations import APPLICATION_ID, migrate_up
from vaultembed.archive.schema_files import latest_version, read_migrations, vec_table_sql
from vaultembed.archive.trust import VEC_1, rows_made_by
from vaultembed.archive.upkeep.restore import check_copy, restore_copy
from vaultembed.archive.vectors.nearest import vector_of_message
from vaultembed.errors import DamageError, VaultembedError
from vaultembed.service.backup import back_up
from vaultembed.service.doctor import examine
from vaultembed.service.generations import list_recorded_runs
from vaultembed.service.importing import import_mail
from vaultembed.service.migration import migrate
from vaultembed.service.statistics import archive_statistics

OPENINGS: Final = (open_archive, open_archive_readonly, open_older, open_older_readonly)
MARK: Final = "evil"


def make_archive(path: Path) -> Path:
    with open_archive(path) as archive:
        fill(archive, 5)
        run(archive, WordHashEmbedder("first"))
    return path


def objects(path: Path) -> list[tuple[str, str, str]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    db.pragma("writable_schema", True)  # what is no schema is read as well
    found = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    db.close()
    return [(str(kind), str(name), str(sql)) for kind, name, sql in found]


def write(path: Path, *statements: str) -> None:
    """As somebody would who prepares a file: nothing is forbidden to them."""
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    db.pragma("foreign_keys", False)
    for statement in statements:
        db.execute(statement)
    db.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("sound") / "a.db")


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "a.db"
    copy.write_bytes(sound.read_bytes())
    return copy


def by_hand(kind: str, name: str, table: str, sql: str) -> tuple[str, ...]:
    """What no statement makes, such as a trigger on a virtual table."""
    row = ", ".join("'" + part.replace("'", "''") + "'" for part in (kind, name, table))
    quoted = sql.replace("'", "''")
    return "PRAGMA writable_schema = ON", f"INSERT INTO sqlite_schema VALUES ({row}, 0, '{quoted}')"


def added_to(path: Path) -> dict[str, tuple[str, ...]]:
    """By the name of what is added: for every table a trigger, a view and, where there can be one, an index."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, table, sql in objects(path):
        if kind == "table":
            trigger, view, index = (f"{MARK}_{what}_{table}" for what in ("trigger", "view", "index"))
            body = "BEGIN UPDATE messages SET subject = 'evil'; END"
            found[trigger] = by_hand(
                "trigger", trigger, table, f"CREATE TRIGGER {trigger} AFTER INSERT ON {table} {body}"
            )
            found[view] = by_hand("view", view, view, f"CREATE VIEW {view} AS SELECT * FROM {table}")
            if not sql.startswith("CREATE VIRTUAL") and table != "sqlite_sequence":
                first = re.findall(r"\((?:\s|--.*\n)*(\w+)", sql)[0]
                found[index] = (f"CREATE INDEX {index} ON {table}({first})",)
    found["evil"] = (
        "CREATE TABLE evil(x UNIQUE DEFAULT (randomblob(10)), y AS (x || x))",
        "INSERT INTO evil VALUES (1)",
    )
    found["evil_child"] = ("CREATE TABLE evil_child(x REFERENCES evil(x))", "INSERT INTO evil_child VALUES (1)")
    found["evil_words"] = ("CREATE VIRTUAL TABLE evil_words USING fts5(x)",)
    found["evil_module"] = by_hand(
        "table", "evil_module", "evil_module", "CREATE VIRTUAL TABLE evil_module USING evil(x)"
    )
    found['evil "name"'] = ('CREATE TABLE "evil ""name"""(x UNIQUE)',)
    for name in ("messages_fts_trigger", "vec_1_trigger"):
        found[name] = (f"CREATE TRIGGER {name} AFTER DELETE ON live_count BEGIN DELETE FROM messages; END",)
    found["evil_kind"] = by_hand("evil", "evil_kind", "messages", "CREATE VIEW evil_kind AS SELECT 1")
    for name in ("vec_evil", "vec_01", "vec_1_evil", "vec_77_rowids", "messages_fts_evil", "messages_fts_content"):
        found[name] = (f"CREATE TABLE {name}(x)",)
    return found


def altered_in(path: Path) -> dict[str, tuple[str, ...]]:
    """By name: every object with another text."""
    return {
        name: (
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_schema SET sql = sql || ' /* evil */' WHERE name = '{name}'",
        )
        for _, name, _ in objects(path)
    }


def removed_from(path: Path) -> dict[str, tuple[str, ...]]:
    return {
        name: (f"DROP {kind} {name}",)
        for kind, name, sql in objects(path)
        if not name.startswith(("sqlite_", "vec_1", "messages_fts_"))
    }


@pytest.mark.parametrize("tamperings", [added_to, altered_in, removed_from])
def test_no_opening_takes_a_file_whose_schema_is_not_ours(
    sound: Path, tmp_path: Path, tamperings: Callable[[Path], dict[str, tuple[str, ...]]]
) -> None:
    copy = tmp_path / "a.db"
    every = tamperings(sound)
    assert len(every) > 100
    for name, statements in every.items():
        copy.write_bytes(sound.read_bytes())
        write(copy, *statements)
        with pytest.raises(DamageError) as refused, open_older_readonly(copy):
            pytest.fail(name)
        assert name in str(refused.value)
        assert "vaultembed doctor" in str(refused.value)


@pytest.mark.parametrize("tamperings", [added_to, altered_in])
def test_doctor_takes_out_what_is_not_ours_and_restores_what_is(
    path: Path, tamperings: Callable[[Path], dict[str, tuple[str, ...]]]
) -> None:
    before, content = objects(path), dump(path)
    write(path, *(statement for statements in tamperings(path).values() for statement in statements))
    assert not examine(path).data.healthy
    done = examine(path, fix=True)
    assert {finding.kind for finding in done.data.findings} == {"model"}, done.data
    assert not [sentence for sentence in done.data.repaired if sentence.startswith("Not repaired")]
    assert sorted(objects(path)) == sorted(before)
    assert dump(path) == content
    check_invariants(path)


def dump(path: Path) -> list[tuple[object, ...]]:
    with open_archive_readonly(path) as archive:
        return archive.rows("SELECT * FROM messages") + archive.rows(
            "SELECT * FROM chunks JOIN vectors ON id = chunk_id"
        )


def test_no_command_uses_such_a_file(path: Path, tmp_path: Path) -> None:
    write(path, "CREATE TRIGGER evil AFTER INSERT ON sources BEGIN UPDATE messages SET subject = 'evil'; END")
    commands: tuple[Callable[[], object], ...] = (
        lambda: check_copy(path),
        lambda: restore_copy(path, tmp_path / "new.db", replace=False),
        lambda: back_up(path, tmp_path / "backup.db"),
        lambda: migrate(path),
        lambda: import_mail(path, [mbox(tmp_path / "box", many(3))]),
        lambda: archive_statistics(path),
    )
    openings = (lambda opening=opening: opening(path).__enter__() for opening in OPENINGS)
    for command in (*commands, *openings):
        with pytest.raises(DamageError, match="the trigger evil is not one that vaultembed makes"):
            command()
    assert sorted(file.name for file in tmp_path.iterdir() if "a.db" not in file.name) == ["box"]


MENDED: Final = {
    # table, what its definition has, what it is made to have; its rows are kept in the same way
    "a check": ("labels", "name TEXT NOT NULL", "name TEXT NOT NULL CHECK(name <> 'evil')"),
    "a default": ("messages", "subject           TEXT NOT NULL DEFAULT ''", "subject TEXT NOT NULL DEFAULT 'evil'"),
    "a conflict": ("messages", "content_hash      BLOB UNIQUE", "content_hash BLOB UNIQUE ON CONFLICT REPLACE"),
    "an order": ("participants", "address TEXT NOT NULL", "address TEXT NOT NULL COLLATE NOCASE"),
    "another reference": ("message_bodies", "REFERENCES messages", "REFERENCES evil"),
    "no reference": ("message_bodies", "REFERENCES messages ON DELETE CASCADE", ""),
    "nothing required": ("vectors", "embedding BLOB NOT NULL", "embedding BLOB"),
}
ADDED_COLUMNS: Final = (
    "ALTER TABLE messages ADD COLUMN evil TEXT DEFAULT 'evil'",
    "ALTER TABLE messages ADD COLUMN evil TEXT AS (hex(zeroblob(1000)))",
    "ALTER TABLE message_labels ADD COLUMN evil TEXT",
)


def rewritten(table: str, before: str, after: str) -> tuple[str, ...]:
    quoted = [part.replace("'", "''") for part in (before, after)]
    change = f"UPDATE sqlite_schema SET sql = replace(sql, '{quoted[0]}', '{quoted[1]}') WHERE name = '{table}'"
    return "PRAGMA writable_schema = ON", change


@pytest.mark.parametrize("what", [*MENDED, *ADDED_COLUMNS])
def test_the_definition_of_a_table_is_restored_and_its_rows_are_kept(path: Path, what: str) -> None:
    before, content = objects(path), dump(path)
    write(path, *(rewritten(*MENDED[what]) if what in MENDED else (what,)))
    assert objects(path) != before
    done = examine(path, fix=True)
    assert {finding.kind for finding in done.data.findings} == {"model"}, done.data
    assert any(sentence.startswith("Restored the definition of the table") for sentence in done.data.repaired)
    assert sorted(objects(path)) == sorted(before)
    assert dump(path) == content
    check_invariants(path)


BEYOND_REPAIR: Final = {
    "a table by another name": (
        "PRAGMA legacy_alter_table = ON",
        "ALTER TABLE messages RENAME TO evil",
        "CREATE VIEW messages AS SELECT * FROM evil",
    ),
    "a table without a column": ("ALTER TABLE attachments DROP COLUMN inline",),
    "a column of another type": rewritten("message_bodies", "body_text  TEXT", "body_text BLOB"),
    "two tables in one place": (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = 5 WHERE name IN ('labels', 'message_raw')",
    ),
    "a table of ours by another name beside it": (
        *by_hand("table", "evil", "evil", "CREATE TABLE evil(x)"),
        "UPDATE sqlite_schema SET rootpage = 5 WHERE name = 'evil'",
    ),
    "a table of the same name": by_hand("table", "messages", "messages", "CREATE TABLE messages(x)"),
    "a table of the same name in capitals": by_hand("table", "MESSAGES", "MESSAGES", "CREATE TABLE MESSAGES(x)"),
    "an index twice": (
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = 'messages_by_sender'",
    ),
    "a table twice": (
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = 'labels'",
    ),
}


@pytest.mark.parametrize("what", BEYOND_REPAIR)
def test_what_may_be_mail_is_never_taken_out(path: Path, what: str) -> None:
    write(path, *BEYOND_REPAIR[what])
    before = objects(path)
    for opening in OPENINGS:
        with pytest.raises(DamageError, match="vaultembed doctor"), opening(path):
            pytest.fail(opening.__name__)
    found = examine(path, fix=True)
    assert found.exit_code == 5
    assert any("restore BACKUP" in note for note in found.notes)
    assert {name for kind, name, _ in before if kind == "table"} <= {name for _, name, _ in objects(path)}
    assert b"subject 4" in path.read_bytes()


WRITES_A_FILE: Final = "COMMIT; VACUUM INTO 'written'; BEGIN; --"
NAMES_THAT_ARE_SQL: Final = {
    "a column": (f'ALTER TABLE labels ADD COLUMN "id),0,0) FROM labels; {WRITES_A_FILE}" TEXT',),
    "a kind": (
        "CREATE TABLE evil(x)",
        "PRAGMA writable_schema = ON",
        f'UPDATE sqlite_schema SET type = "VIEW IF EXISTS x; {WRITES_A_FILE}" WHERE name = "evil"',
    ),
}


@pytest.mark.parametrize("what", NAMES_THAT_ARE_SQL)
def test_no_name_in_a_file_is_run_as_sql(path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    write(path, *NAMES_THAT_ARE_SQL[what])
    examine(path)
    done = examine(path, fix=True)
    assert not (path.parent / "written").exists(), done.data.repaired


def test_no_value_in_a_file_is_run_as_sql(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text where STRICT allows none: it was written while the table had another definition, and no schema tells."""
    monkeypatch.chdir(path.parent)
    definition = next(sql for _, name, sql in objects(path) if name == "generations")
    trigger = next(sql for _, name, sql in objects(path) if name == "generation_keeps_space")
    write(path, "DROP TRIGGER generation_keeps_space", *rewritten("generations", ") STRICT", ")"))
    value = f"0; {WRITES_A_FILE.replace('--', 'SELECT ?; --')}".replace("'", "''")
    write(path, f"UPDATE generations SET dimension = '{value}'", trigger)
    write(path, *rewritten("generations", definition.removesuffix(" STRICT"), definition))
    with open_archive_readonly(path) as archive, archive.snapshot():
        assert vector_of_message(archive, generation_with_id(archive, 1), 1) is None
    assert not (path.parent / "written").exists()


def test_the_numbers_of_a_run_are_numbers(path: Path) -> None:
    definition = next(sql for _, name, sql in objects(path) if name == "embed_runs")
    write(path, *rewritten("embed_runs", ") STRICT", ")"))
    write(path, "UPDATE embed_runs SET embedded = 'some', seconds = 'long'")
    write(path, *rewritten("embed_runs", definition.removesuffix(" STRICT"), definition))
    (run,) = list_recorded_runs(path, limit=9).data.runs
    assert (run.embedded, run.chunks, run.seconds) == (0, 5, 0)


@pytest.mark.parametrize("kind", ["Table", "TABLE", "index", "view", "evil", "table "])
def test_a_table_by_another_kind_is_still_a_table(path: Path, kind: str) -> None:
    write(path, "PRAGMA writable_schema = ON", f"UPDATE sqlite_schema SET type = '{kind}' WHERE name = 'messages'")
    assert examine(path, fix=True).exit_code == 5
    write(path, "PRAGMA writable_schema = ON", "UPDATE sqlite_schema SET type = 'table' WHERE name = 'messages'")
    assert examine(path, fix=True).exit_code == 4  # a model is missing, and nothing else
    with open_archive_readonly(path) as archive:
        assert archive.scalar("SELECT count(*) FROM messages") == 5


def test_what_a_later_schema_has_is_not_taken_out_where_the_version_lies(path: Path) -> None:
    before = objects(path)
    write(path, f"PRAGMA user_version = {latest_version() - 1}")
    assert examine(path, fix=True).exit_code == 5
    assert objects(path) == before
    write(path, f"PRAGMA user_version = {latest_version()}")
    assert examine(path).exit_code == 4  # a model is missing, and nothing else


def test_an_archive_of_an_older_schema_is_looked_at_before_it_is_migrated(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, "CREATE TABLE evil(x)", "ALTER TABLE labels ADD COLUMN evil TEXT", "DROP INDEX messages_by_sender")
    upgrade(tmp_path, monkeypatch)
    with pytest.raises(DamageError, match="the table labels is altered"):
        migrate(path)
    assert {finding.kind for finding in examine(path).data.findings} == {"schema", "model"}
    repaired = examine(path, fix=True).data.repaired
    assert "Took out the table evil" in repaired
    assert repaired[-1].startswith("The archive was brought from schema version")
    assert examine(path).data.counted


@pytest.mark.parametrize("version", [latest_version(), 9999, 50])
def test_a_record_of_migrations_that_has_no_end_is_not_read(path: Path, version: int) -> None:
    endless = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS version, n AS checksum FROM c"
    )
    write(
        path,
        "DROP TABLE schema_migrations",
        f"CREATE VIEW schema_migrations AS {endless}",
        f"PRAGMA user_version = {version}",
    )
    for command in (check_copy, migrate):
        with pytest.raises(VaultembedError, match=r"migrations|schema version"):
            command(path)
    if version == latest_version():
        assert examine(path).exit_code == 5


@pytest.mark.parametrize("version", [latest_version(), 9999])
def test_a_strange_file_beside_the_archive_is_named_as_a_copy_and_not_asked(path: Path, version: int) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS content_hash FROM c"
    strange = path.with_name("strange.db")
    write(
        strange,
        f"CREATE VIEW messages AS {endless}",
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {version}",
    )
    assert copies_holding(path, [(b"hash", None)]) == [strange]


def test_a_file_that_waits_to_become_an_archive_brings_nothing_along(tmp_path: Path) -> None:
    write(tmp_path / "a.db", f"PRAGMA application_id = {APPLICATION_ID}", "CREATE VIEW evil AS SELECT 1")
    with pytest.raises(DamageError, match="the view evil"), open_archive(tmp_path / "a.db"):
        pass


def test_texts_in_another_encoding_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    db = apsw.Connection(str(path))
    db.pragma("encoding", "UTF-16")
    migrate_up(db, path, read_migrations())
    db.close()
    with pytest.raises(DamageError, match="encoding UTF-16"), open_archive(path):
        pass


def test_statistics_that_sqlite_keeps_are_nothing_strange(path: Path) -> None:
    write(path, "ANALYZE", "PRAGMA optimize")
    with open_archive(path):
        pass
    write(path, *rewritten("sqlite_stat1", "stat)", "evil)"))
    with pytest.raises(DamageError, match="sqlite_stat1"), open_archive(path):
        pass


def test_sqlite_vec_makes_the_tables_that_are_expected_of_it() -> None:
    assert rows_made_by(vec_table_sql(1, 8)) == VEC_1


def test_nothing_that_stands_in_a_file_is_trusted_and_none_of_it_is_mapped_into_memory(path: Path) -> None:
    for opening in OPENINGS:
        with opening(path) as archive:
            assert not archive.db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1)
            assert archive.db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1)
            assert not archive.db.pragma("mmap_size")
            for statement in (f"VACUUM INTO '{path}.written'", f"ATTACH '{path}' AS another"):
                with pytest.raises(apsw.SQLError, match="too many attached databases"):
                    archive.db.execute(statement)
