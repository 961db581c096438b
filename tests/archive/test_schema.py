from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import add
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.ledger import run_once
from vaultembed.archive.migrations import migrate_down, migrate_up, user_version
from vaultembed.archive.schema_files import read_migrations, schema_dir
from vaultembed.errors import DamageError, StorageError, UsageError, VaultembedError


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
        for version in range(len(migrations) - 1, -1, -1):
            migrate_down(archive.db, version, migrations)
            assert user_version(archive.db) == version
        assert [row[1] for row in dump(archive)] == ["schema_migrations"]
        assert migrate_up(archive.db, "a.db", migrations) == len(migrations)
        assert dump(archive) == before


def test_migrating_down_keeps_the_messages_and_drops_what_was_derived(tmp_path: Path) -> None:
    migrations = read_migrations()
    with open_archive(tmp_path / "a.db") as archive:
        add(archive, "hello", "world")
        migrate_down(archive.db, 1, migrations)
        assert archive.rows("SELECT subject FROM messages") == [("hello",)]
        migrate_up(archive.db, "a.db", migrations)
        assert archive.rows("SELECT subject FROM messages") == [("hello",)]


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


def test_a_migration_edited_after_its_release_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        archive.db.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
        archive.db.pragma("user_version", 2)
    with pytest.raises(DamageError, match="migration 1"), open_archive(path):
        pass


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        archive.db.pragma("user_version", 99)
    for opened in (open_archive, open_archive_readonly):
        with pytest.raises(VaultembedError, match="schema version 99"), opened(path):
            pass


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
