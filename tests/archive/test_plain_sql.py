"""What somebody at the sqlite3 shell may write, with foreign keys off: each statement is right, is refused, or is
found and mended by `doctor --fix`. The statements are made from the schema."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.doctor.findings import Finding
from vaultembed.archive.doctor.fixes import fix_findings
from vaultembed.archive.doctor.inspect import inspect_archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.mail.lexical import rank_by_words
from vaultembed.archive.upkeep.pruning import prune_generation
from vaultembed.archive.upkeep.restore import check_copy
from vaultembed.embeddings.build import Wanted
from vaultembed.errors import UsageError
from vaultembed.message import Person, Recipient

OF_ITS_OWN: Final = """
INSERT INTO message_raw SELECT id, 'zlib', x'789c030000000001' FROM messages;
INSERT INTO message_readings SELECT id, 1, x'' FROM messages;
INSERT INTO message_sources SELECT 1, id, id, 'l', 'INBOX', 'seen', NULL, '[]', '' FROM messages;
INSERT INTO source_files VALUES (1, 'mbox', 1, 1, x'', 1, 1), (2, 'mbox', 1, 1, x'', 1, 1);
INSERT INTO attachments SELECT id, 0, 'plan.pdf', 'application/pdf', 1, x'', 0 FROM messages;
INSERT INTO reactions SELECT id, 0, 'love', sender_id FROM messages;
INSERT INTO labels VALUES (1, 'label', 'work'), (2, 'folder', 'INBOX');
INSERT INTO message_labels SELECT id, 1 + id % 2 FROM messages;
INSERT INTO problems SELECT id, 1, id, 'l' || id, 'k', 'd', 0, NULL FROM messages;
INSERT INTO applied_steps VALUES ('a_step', 0, '');
INSERT INTO repair_runs(started_at) VALUES (0);
INSERT INTO repairs SELECT id, 1, id, 'subject', '', x'00', '', 'm', 1, 0, NULL FROM messages;
INSERT INTO msgvault_messages VALUES (2, 'k', x'00', 1, NULL);
INSERT INTO adopted_generations VALUES (1, 'o', 1, 'm', 'f', 0, 'active', 1, 1, 1, 1);
INSERT INTO embed_leases SELECT 1, 1, 90, 99, NULL, id, '', '', 1, '', 0, 0, 0 FROM embed_runs LIMIT 1;
UPDATE messages SET deleted_at = 1 WHERE id = 6;
"""
"""What messages have besides what `add` and a build give them, so that no table is empty."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight messages; generation 1 is retired, 2 is active and limited to a source and a type."""
    path = tmp_path_factory.mktemp("sound") / "a.db"
    with open_archive(path) as archive:
        archive.db.execute("INSERT INTO sources VALUES (1, 'mbox', '/one', 0, NULL), (2, 'msgvault', '/two', 0, NULL)")
        fill(archive, 6)
        bob = (Recipient("to", Person("bob@example.org", "Bob")),)
        add(archive, "re: subject 1", "answer", message_id="a", references=("0", "1"), recipients=bob)
        add(archive, "", "", message_id="blank", sender=Person("eve@example.org", "Eve"))
        run(archive, WordHashEmbedder("first"))
        archive.db.execute(OF_ITS_OWN)
        scope = Scope(sources=(1,), types=("email",))
        run(archive, WordHashEmbedder("second"), wanted=Wanted(model_named=True, scope=scope))
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 5")  # with remains
        refresh_stale(archive)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "a.db"))


def at_the_shell(path: Path, *statements: str) -> str | None:
    """What the last of the statements is refused with; None where all are taken."""
    with closing(sqlite3.connect(path)) as db, db:
        try:
            for statement in statements:
                db.execute(statement)
        except sqlite3.Error as error:
            return str(error)
    return None


def inspected(path: Path) -> list[Finding]:
    with open_archive_readonly(path) as archive:
        return list(inspect_archive(archive))


def serious(path: Path) -> list[Finding]:
    return [finding for finding in inspected(path) if finding.severity != "leftover"]


def fix(path: Path) -> tuple[list[str], list[Finding]]:
    """What was done, and what is found after it."""
    done: list[str] = []
    findings = inspected(path)
    for _ in range(3):  # as the command does
        if not any(finding.fix for finding in findings):
            break
        with open_archive(path) as archive:
            archive.load_vec_unchecked()
            done += fix_findings(archive, findings)
        findings = inspected(path)
    return done, findings


def words(archive: Archive, match: str) -> list[int]:
    return [found.message_id for found in rank_by_words(archive, match, 10, Filter())]


NO_PART_OF_IT: Final = re.compile(r"sqlite_|schema_migrations|messages_fts|vec_\d")


def tables(db: sqlite3.Connection) -> list[str]:
    names = (row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"))
    return [name for name in names if not NO_PART_OF_IT.match(name)]


def statements_about(db: sqlite3.Connection, table: str) -> Iterator[str]:
    columns = db.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [name for _, name, type_, _, _, place in columns if place and type_ == "INTEGER"]
    references = {row[3]: row[2] for row in db.execute(f"PRAGMA foreign_key_list({table})")}
    one = "(SELECT %s FROM {0} ORDER BY 1 LIMIT 1)".replace("{0}", table)
    first = columns[0][1]
    yield f"DELETE FROM {table} WHERE {first} = {one % first}"
    yield f"DELETE FROM {table}"
    for column in {*keys, *references}:
        yield f"UPDATE {table} SET {column} = 999 WHERE {first} = {one % first}"
        yield f"UPDATE OR REPLACE {table} SET {column} = (SELECT max({column}) FROM {table})"
    if keys:
        yield f"UPDATE OR REPLACE {table} SET {keys[0]} = {keys[0]} + 1"
    yield f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    if keys == [first]:
        rest = ", ".join(name for _, name, *_ in columns[1:])
        yield f"INSERT OR REPLACE INTO {table}({first}, {rest}) SELECT {first} + 1000, {rest} FROM {table}"
        yield f"INSERT OR REPLACE INTO {table}({first}, {rest}) SELECT {first} + 1, {rest} FROM {table}"


def all_tables() -> list[str]:
    """Of the schema files, before there is an archive."""
    from vaultembed.archive.schema_files import read_migrations

    made = {name for one in read_migrations() for name in re.findall(r"^CREATE TABLE (\w+)", one.up, re.MULTILINE)}
    return sorted(made)


@pytest.mark.parametrize("table", all_tables())
def test_each_statement_is_right_or_refused_or_mended(sound: Path, tmp_path: Path, table: str) -> None:
    with closing(sqlite3.connect(sound)) as db:
        assert set(tables(db)) == set(all_tables())
        if table not in ("vec_orphans", "fulltext_stale", "messages_in_the_way"):
            assert db.execute(f"SELECT 1 FROM {table}").fetchone(), "nothing would be tried"
        statements = list(statements_about(db, table))
    for number, statement in enumerate(statements):
        path = Path(shutil.copy(sound, tmp_path / f"{number}.db"))
        if at_the_shell(path, statement) is not None:
            continue
        done, left = fix(path)
        assert not any(sentence.startswith("Not repaired") for sentence in done), (statement, done)
        assert all(finding.severity == "leftover" for finding in left), (statement, done)
        check_invariants(path)
        check_copy(path)


def test_a_source_goes_with_what_was_read_of_it(path: Path) -> None:
    assert at_the_shell(path, "DELETE FROM sources WHERE id = 2") is None
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT source_id FROM source_files") == [(1,)]
        assert archive.rows("SELECT 1 FROM msgvault_messages") == []
    assert serious(path) == []
    check_copy(path)


def test_what_a_shell_deletes_leaves_an_archive_that_goes_on(path: Path) -> None:
    with open_archive_readonly(path) as archive:
        assert words(archive, "word2") == [3]
    assert at_the_shell(path, "DELETE FROM messages WHERE id IN (2, 3, 6, 7)") is None
    assert serious(path) == []
    check_invariants(path)
    check_copy(path)
    with open_archive(path) as archive:
        assert words(archive, "word2") == []
        assert count_stale(archive) == 0, "of a message that is gone nothing waits to be found"
        assert refresh_stale(archive) == 4
        assert archive.rows("SELECT id FROM messages_fts_docsize ORDER BY id") == [(1,), (4,), (5,), (8,)]
        add(archive, "new", "mail")
        run(archive, WordHashEmbedder("second"), wanted=Wanted())
    assert serious(path) == []
    check_invariants(path)


REFUSED: Final = [
    ("INSERT OR REPLACE INTO messages(id, subject) VALUES (3, 'other')", "never replaced"),
    (
        "INSERT OR REPLACE INTO messages(subject, content_hash) SELECT 'x', content_hash FROM messages WHERE id = 3",
        "never replaced",
    ),
    ("REPLACE INTO messages(id, subject) SELECT id, subject FROM messages", "never replaced"),
    ("UPDATE OR REPLACE messages SET id = 3 WHERE id = 4", "for good"),
    ("UPDATE OR REPLACE messages SET rowid = 3 WHERE id = 4", "for good"),
    (
        "UPDATE OR REPLACE messages SET content_hash = (SELECT content_hash FROM messages WHERE id = 3) WHERE id = 4",
        "this content_hash",
    ),
    ("UPDATE chunks SET rowid = 999 WHERE id = 1", "for good"),
    ("UPDATE vectors SET rowid = 999 WHERE chunk_id = 1", "for good"),
    ("INSERT OR REPLACE INTO chunks SELECT * FROM chunks", "such a chunk"),
    ("UPDATE OR REPLACE generations SET state = 'active' WHERE id = 1", "in that state"),
    ("DELETE FROM generations WHERE id = 1", "never deleted"),
    ("DELETE FROM conversations WHERE id = 1", "name this conversation"),
    ("DELETE FROM participants WHERE id = 1", "name this address"),
    ("DELETE FROM labels WHERE id = 1", "bear this label"),
    ("DELETE FROM sources WHERE id = 1", "limited to this source"),
    ("DELETE FROM gone_messages", "come back"),
    ("UPDATE messages SET conversation_id = 'a note'", "cannot store TEXT"),
    ("UPDATE live_count SET live = 'many'", "cannot store TEXT"),
    ("REPLACE INTO gone_messages VALUES (1, 0, 0)", "come back"),
    ("UPDATE generations SET pruned_at = 1 WHERE state = 'active'", "no vectors to use"),
    ("UPDATE generations SET pruned_at = 1, state = 'building' WHERE id = 1", "no vectors to use"),
]


@pytest.mark.parametrize(("statement", "why"), REFUSED)
def test_what_would_take_something_from_under_others_is_refused(path: Path, statement: str, why: str) -> None:
    before = path.read_bytes()
    refused = at_the_shell(path, statement)
    assert refused is not None
    assert why in refused
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM schema_migrations",
        "DELETE FROM schema_migrations WHERE version = 104",
        "INSERT INTO schema_migrations VALUES (999, 'mine', '', 0)",
    ],
)
def test_the_record_of_migrations_is_mended(path: Path, statement: str) -> None:
    assert at_the_shell(path, statement) is None
    assert fix(path)[0]
    assert serious(path) == []
    check_copy(path)


@pytest.mark.parametrize("table", ["messages", "thread_ids"])
@pytest.mark.parametrize("value", ["-5", "99"])
def test_a_conversation_that_is_none_is_mended(path: Path, table: str, value: str) -> None:
    assert at_the_shell(path, f"UPDATE {table} SET conversation_id = {value} WHERE id < 3") is None
    assert fix(path)[0]
    assert serious(path) == []
    check_copy(path)


def test_a_pruned_generation_stays_so(path: Path) -> None:
    with open_archive(path) as archive:
        archive.load_vec()
        prune_generation(archive, 1)
    for change in ("pruned_at = NULL", "state = 'building'"):
        assert at_the_shell(path, f"UPDATE generations SET {change} WHERE id = 1") is not None


@pytest.mark.parametrize("lost", ["application_id", "user_version", "both"])
def test_a_dump_that_was_read_in_again_is_told_from_other_databases(path: Path, tmp_path: Path, lost: str) -> None:
    """All that `.dump` loses are the two marks."""
    marks = ["application_id", "user_version"] if lost == "both" else [lost]
    assert at_the_shell(path, *(f"PRAGMA {mark} = 0" for mark in marks)) is None
    with pytest.raises(UsageError, match="lacks its marks") as caught, open_archive_readonly(path):
        pass
    (set_again,) = re.findall("'(.*)'", caught.value.hint or "")
    assert at_the_shell(path, *set_again.split(";")) is None
    assert serious(path) == []
    check_copy(path)


def test_an_upsert_of_messages_passes(path: Path) -> None:
    same = "INTO messages(id, subject) VALUES (3, 'other')"
    assert at_the_shell(path, f"INSERT OR IGNORE {same}", f"INSERT {same} ON CONFLICT DO NOTHING") is None
    assert at_the_shell(path, "INSERT INTO messages(subject) VALUES ('after them')") is None
    with open_archive_readonly(path) as archive:
        before = archive.scalar("SELECT content_rev FROM messages WHERE id = 3")
    assert at_the_shell(path, f"INSERT {same} ON CONFLICT DO UPDATE SET subject = excluded.subject") is None
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT subject, content_rev FROM messages WHERE id = 3") == [("other", before + 1)]
    assert serious(path) == []
    check_invariants(path)


@pytest.mark.parametrize("forgotten", ["", "DELETE FROM sqlite_sequence"])
def test_a_message_that_comes_back_by_its_id_has_no_revision_that_was(path: Path, forgotten: str) -> None:
    with open_archive_readonly(path) as archive:
        (was,) = archive.rows("SELECT max(content_rev), max(id) FROM messages")
    again = "INSERT INTO messages(id, subject, content_rev) SELECT value, 'other', 1 FROM json_each('[3, 8]')"
    assert at_the_shell(path, "DELETE FROM messages WHERE id IN (3, 8)", *filter(None, [forgotten]), again) is None
    with open_archive_readonly(path) as archive:
        assert archive.scalar("SELECT min(content_rev) FROM messages WHERE id IN (3, 8)") > was[0]
        assert archive.scalar("SELECT content_rev FROM messages WHERE id = 1") <= was[0]
    assert serious(path) == []
    check_invariants(path)


@pytest.mark.parametrize(
    ("statement", "new", "old"),
    [
        ("UPDATE participants SET name = 'Grace' WHERE address = 'bob@example.org'", "grace", "bob"),
        ("UPDATE messages SET sender_id = (SELECT sender_id FROM messages WHERE id = 8) WHERE id = 7", "eve", "ada"),
        (
            "UPDATE message_recipients SET participant_id = (SELECT sender_id FROM messages WHERE id = 8)",
            "eve",
            "bob",
        ),
        ("UPDATE attachments SET filename = 'map.pdf' WHERE message_id = 7", "map", "plan"),
    ],
)
def test_names_that_change_are_found(path: Path, statement: str, new: str, old: str) -> None:
    with open_archive(path) as archive:
        archive.db.execute("INSERT INTO fulltext_stale VALUES (7) ON CONFLICT DO NOTHING")
        refresh_stale(archive)
        assert 7 in words(archive, old)
    assert at_the_shell(path, statement) is None
    with open_archive(path) as archive:
        assert 7 not in words(archive, old)
        assert refresh_stale(archive)
        assert 7 in words(archive, new)
        if "participants SET" not in statement:  # the address goes on saying it
            assert 7 not in words(archive, old)


def test_a_body_that_is_deleted_or_moved_is_not_found_by_its_words(path: Path) -> None:
    assert at_the_shell(path, "DELETE FROM message_bodies WHERE message_id = 3") is None
    assert at_the_shell(path, "UPDATE OR REPLACE message_bodies SET message_id = 1 WHERE message_id = 2") is None
    with open_archive(path) as archive:
        assert words(archive, "word2") == words(archive, "word1") == []
        refresh_stale(archive)
        assert words(archive, "word2") == []
        assert words(archive, "word1") == [1]
