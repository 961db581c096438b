from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.embedded import at_version, content, embedded_archive
from tests.kit.later import upgrade
from tests.kit.processes import environment
from vaultembed.archive.database import (
    Archive,
    open_archive,
    open_archive_readonly,
    open_older,
    open_older_readonly,
)
from vaultembed.archive.ledger import run_once
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.migrations import lost_by_migrating_down, migrate_down, migrate_up, user_version
from vaultembed.archive.schema_files import latest_version, read_migrations, schema_dir
from vaultembed.archive.trust import differences
from vaultembed.archive.upkeep.restore import check_copy
from vaultembed.errors import (
    ArchiveOutdatedError,
    BusyError,
    DamageError,
    StorageError,
    UsageError,
    VaultembedError,
)

PRESENT: Final = latest_version()


def dump(archive: Archive) -> list[tuple[object, ...]]:
    return sorted(
        archive.rows("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"), key=str
    )


def test_a_new_archive_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "archive.db"
    with open_archive(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for beside in path.parent.iterdir():
            assert stat.S_IMODE(beside.stat().st_mode) == 0o600, beside


def test_the_file_has_the_settings_that_cannot_be_changed_later(tmp_path: Path) -> None:
    with open_archive(tmp_path / "a.db") as archive:
        assert archive.db.pragma("page_size") == 8192
        assert archive.db.pragma("auto_vacuum") == 2
        assert archive.db.pragma("journal_mode") == "wal"
        assert archive.db.pragma("foreign_keys") == 1


def test_down_and_up_again_gives_the_same_schema(tmp_path: Path) -> None:
    migrations = read_migrations()
    with open_archive(tmp_path / "a.db") as archive:
        before = dump(archive)
        for version in (*reversed([migration.version for migration in migrations[:-1]]), 0):
            migrate_down(archive.db, version, migrations)
            assert user_version(archive.db) == version
        assert [row[1] for row in dump(archive)] == ["schema_migrations"]
        assert migrate_up(archive.db, "a.db", migrations) == len(migrations)
        assert dump(archive) == before


def test_migrating_down_keeps_the_messages_and_drops_what_was_derived(tmp_path: Path) -> None:
    migrations = read_migrations()
    with open_archive(tmp_path / "a.db") as archive:
        add(archive, "hello", "world")
        migrate_down(archive.db, 100, migrations)
        assert archive.rows("SELECT subject FROM messages") == [("hello",)]
        migrate_up(archive.db, "a.db", migrations)
        assert archive.rows("SELECT subject FROM messages") == [("hello",)]


def test_going_below_generations_and_up_again_leaves_messages_that_all_are_work(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 101)
    with open_archive(path) as archive:
        assert archive.scalar("SELECT count(*) FROM messages WHERE embed_gen IS NULL") == 20
        assert archive.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'vec_1%'") == []
        assert archive.scalar("SELECT live FROM live_count") == 20
    check_invariants(path)


def test_an_index_for_words_that_went_down_is_made_again(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 100)
    with open_archive(path) as archive:
        assert count_stale(archive) == 20
        assert refresh_stale(archive) == 20
        assert archive.rows("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'word7'") == [(8,)]


def test_all_the_way_down_and_up_gives_an_empty_archive(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 0)
    with open_archive(path) as archive:
        assert archive.migrated is None, "there was nothing to back up"
        assert archive.scalar("SELECT count(*) FROM messages") == 0
    assert [p.name for p in tmp_path.glob("*.bak")] == []
    check_invariants(path)


def test_a_process_whose_archive_is_taken_to_another_schema_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(BusyError, match="another schema"), open_archive(path) as archive:  # noqa: PT012
        add(archive, "hello")
        at_version(path, 101)
        archive.scalar("SELECT count(*) FROM generations")


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of before the upgrade, after it: 20 messages in two generations."""
    path = embedded_archive(tmp_path / "archive" / "a.db", 20)
    upgrade(tmp_path, monkeypatch)
    return path


def test_an_upgrade_and_the_way_back_keep_all_that_was_there(older: Path) -> None:
    with open_older(older) as archive:
        before = content(archive)
    with open_archive(older) as archive:
        assert content(archive) == before
        assert archive.scalar("SELECT note FROM notes WHERE message_id = 20") == "about subject 19"
        assert differences(archive.db, read_migrations()) == []
    check_invariants(older)
    at_version(older, PRESENT)
    with open_older(older) as archive:
        assert content(archive) == before
        assert user_version(archive.db) == PRESENT


def test_what_the_way_down_loses_and_drops_is_said_in_its_file(older: Path) -> None:
    migrations = read_migrations()
    with open_archive(older) as archive:
        archive.db.execute("CREATE TABLE notes_1(x); CREATE TABLE notes_of_mine(x)")
        assert lost_by_migrating_down(archive.db, PRESENT, migrations) == ("20 notes",)
        assert lost_by_migrating_down(archive.db, 101, migrations)[1:] == (
            "all embeddings, 40 vectors, and each message's outcome",
        )
        archive.db.execute("DELETE FROM notes")
        assert lost_by_migrating_down(archive.db, PRESENT, migrations) == ()
        migrate_down(archive.db, PRESENT, migrations)
        assert archive.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'notes%'") == [("notes_of_mine",)]


def test_an_outdated_archive_is_not_read_as_if_it_were_not(older: Path) -> None:
    with pytest.raises(ArchiveOutdatedError, match="vaultembed migrate"), open_archive_readonly(older):
        pass
    with open_older_readonly(older) as archive:
        assert archive.scalar("SELECT count(*) FROM messages") == 20


def test_opening_an_older_archive_makes_a_backup_first(older: Path) -> None:
    backup = older.with_name(f"a.db.v{PRESENT}.bak")
    with open_archive(older) as archive:
        assert archive.migrated is not None
        assert archive.migrated.from_version == PRESENT
        assert archive.migrated.backup == backup
    assert check_copy(backup).schema_version == PRESENT
    assert check_copy(backup).vectors == 40
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with open_archive(older) as archive:
        assert archive.migrated is None
    assert list(older.parent.glob("*.bak*")) == [backup]


def test_a_backup_that_is_there_is_never_overwritten(older: Path) -> None:
    taken = older.with_name(f"a.db.v{PRESENT}.bak")
    taken.write_bytes(b"precious")
    with open_archive(older) as archive:
        assert archive.migrated is not None
        assert archive.migrated.backup.name == f"a.db.v{PRESENT}.2.bak"
    assert taken.read_bytes() == b"precious"


def test_a_damaged_archive_is_not_migrated(older: Path) -> None:
    with open_older(older) as archive:
        archive.db.execute("PRAGMA foreign_keys = OFF; INSERT INTO message_raw VALUES (999, 'zlib', x'')")
    with pytest.raises(DamageError, match=r"a\.db is damaged"), open_archive(older):
        pass
    assert list(older.parent.glob("*.bak*")) == []
    with open_older(older) as archive:
        assert user_version(archive.db) == PRESENT


OPEN = """
import sys
from pathlib import Path
from vaultembed.archive.database import open_archive
sys.stdin.readline()
with open_archive(Path(sys.argv[1])) as archive:
    print(archive.migrated is not None)
"""


@pytest.mark.parametrize(
    ("failpoint", "backups"),
    [
        ("backup.before_step", 0),
        ("backup.before_rename", 0),
        ("migrate.after_backup", 1),
        ("migrate.in_transaction", 1),
    ],
)
def test_a_migration_killed_at_any_point_repeats_cleanly(older: Path, failpoint: str, backups: int) -> None:
    with open_older_readonly(older) as archive:
        before = content(archive)
    command = [sys.executable, "-c", OPEN, str(older)]
    done = subprocess.run(command, env=environment(failpoint=failpoint), input="\n", text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with open_older(older) as archive:
        assert user_version(archive.db) == PRESENT
    assert len(list(older.parent.glob("*.bak"))) == backups
    with open_archive(older) as archive:
        assert content(archive) == before
        assert archive.migrated is not None
        assert check_copy(archive.migrated.backup).schema_version == PRESENT
    assert len(list(older.parent.glob("*.bak*"))) == backups + 1, "no half one is left"
    check_invariants(older)


def test_of_processes_opening_at_once_one_migrates_and_makes_the_backup(older: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(older)]
    processes = [
        subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(said) == ["False", "False", "False", "True"]
    assert [p.name for p in older.parent.glob("*.bak*")] == [f"a.db.v{PRESENT}.bak"]
    check_invariants(older)


def test_a_migration_that_fails_half_way_leaves_nothing_and_repeats(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    db = apsw.Connection(str(path))
    migrations = read_migrations()
    # the last statement of the last migration collides with what is there
    db.execute("CREATE TABLE embed_runs(x)")
    with pytest.raises(apsw.SQLError):
        migrate_up(db, path, migrations)
    assert user_version(db) == 0
    db.execute("DROP TABLE embed_runs")
    assert migrate_up(db, path, migrations) == len(migrations)
    db.close()


OPENINGS: Final = (open_archive, open_archive_readonly, open_older, open_older_readonly)


def test_an_archive_of_another_edition_of_a_migration_is_refused_however_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        archive.db.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 102")
    for opened in OPENINGS:
        with pytest.raises(VaultembedError, match="another migration 102"), opened(path):
            pass


@pytest.mark.parametrize(
    ("version", "way_out"),
    [(1, "import PATH"), (99, "import PATH"), (PRESENT + 1, "Upgrade vaultembed"), (1000, "Upgrade vaultembed")],
)
def test_a_file_of_before_the_first_release_or_of_a_newer_one_is_refused(
    tmp_path: Path, version: int, way_out: str
) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        archive.db.pragma("user_version", version)
    for opened in OPENINGS:
        with pytest.raises(VaultembedError, match=f"schema version {version}") as caught, opened(path):
            pass
        assert way_out in str(caught.value)


SEARCHED_BY_NOTHING: Final = {
    ("messages", "embed_gen"): "generations are never deleted; messages_by_embed_gen finds the live ones",
    ("generations", "model_id"): "a row a generation",
    ("generation_sources", "source_id"): "a row a generation, or a few",
    ("embed_leases", "run_id"): "a row a worker",
    ("problems", "source_id"): "sources are never deleted, and problems are listed whole",
}


def test_foreign_keys_that_are_searched_by_have_an_index(tmp_path: Path) -> None:
    with open_archive(tmp_path / "a.db") as archive:
        keys = archive.rows(
            "SELECT t.name, f.\"from\" FROM sqlite_schema t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'"
        )
        leading = archive.rows(
            "SELECT t.name, i.name FROM sqlite_schema t, pragma_index_list(t.name) l, pragma_index_info(l.name) i"
            " WHERE t.type = 'table' AND i.seqno = 0 AND NOT l.partial"
            " UNION SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND c.pk = 1"
        )
    assert set(keys) - set(leading) == set(SEARCHED_BY_NOTHING)


def test_every_table_opens_with_what_one_row_is() -> None:
    for migration in read_migrations():
        for above in re.findall(r"((?:^--.*\n)*)^CREATE (?:VIRTUAL )?TABLE", migration.up, re.MULTILINE):
            assert above.startswith("-- One row "), migration.name


def test_another_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE bookmarks(url)")
    db.close()
    before = path.read_bytes()
    for opened in (open_archive, open_archive_readonly):
        with pytest.raises(UsageError, match="bookmarks"), opened(path):
            pass
    assert path.read_bytes() == before


def test_what_is_no_database_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk. " * 1000)
    for opened in (open_archive, open_archive_readonly):
        with pytest.raises(DamageError, match=r"notes\.txt"), opened(path):
            pass


def test_a_folder_or_a_missing_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"), open_archive(tmp_path):
        pass
    with pytest.raises(VaultembedError, match="vaultembed import"), open_archive_readonly(tmp_path / "none.db"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), open_archive(tmp_path / "file" / "a.db"):
        pass


def test_an_archive_on_a_read_only_medium_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    path = folder / "a.db"
    with open_archive(path) as archive:
        add(archive, "hello")
    path.chmod(0o400)
    folder.chmod(0o500)
    try:
        with open_archive_readonly(path) as archive:
            assert archive.scalar("SELECT subject FROM messages") == "hello"
    finally:
        folder.chmod(0o700)


def test_the_schema_of_a_wheel_is_preferred_to_the_folder_of_a_checkout(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout" / "vaultembed"
    installed = tmp_path / "site-packages" / "vaultembed"
    (installed / "_schema").mkdir(parents=True)
    checkout.mkdir(parents=True)
    assert schema_dir(installed) == installed / "_schema"
    assert schema_dir(checkout) == tmp_path / "checkout" / "schema"


def test_a_step_of_the_ledger_runs_once_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    ran: list[str] = []

    def step() -> str:
        ran.append("now")
        return "3 rows"

    def broken() -> str:
        archive.db.execute("INSERT INTO labels(kind, name) VALUES ('label', 'half')")
        raise OSError("the power went")

    with open_archive(tmp_path / "a.db") as archive:
        assert run_once(archive, "step_v1", step)
        assert not run_once(archive, "step_v1", step)
        with pytest.raises(OSError, match="power"):
            run_once(archive, "broken_v1", broken)
        assert archive.rows("SELECT name, detail FROM applied_steps") == [("step_v1", "3 rows")]
        assert archive.rows("SELECT * FROM labels") == []
    assert ran == ["now"]


CUT_WHILE_READ: Final = """
import sys
from pathlib import Path
from vaultembed.archive.database import open_archive_readonly
from vaultembed.errors import VaultembedError
path = Path(sys.argv[1])
try:
    with open_archive_readonly(path) as archive, archive.snapshot():
        archive.scalar("SELECT count(*) FROM labels")
        with path.open("r+b") as file:
            file.truncate(8192)
        archive.rows("SELECT * FROM messages, message_bodies, vectors")
except VaultembedError as error:
    sys.exit(error.exit_code)
"""


def test_a_file_that_is_overwritten_in_place_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    path = embedded_archive(tmp_path / "a.db", 200)
    done = subprocess.run([sys.executable, "-c", CUT_WHILE_READ, str(path)], check=False, timeout=60)
    assert done.returncode in (5, 74)
