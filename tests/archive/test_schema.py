from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedded import at_version, content, embedded_archive
from tests.kit.embedder import WordHashEmbedder
from tests.kit.processes import environment
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, open_older
from vaultembed.archive.doctor.inspect import inspect_archive
from vaultembed.archive.generations.transitions import discard
from vaultembed.archive.ledger import run_once
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.migrations import migrate_down, migrate_up, user_version
from vaultembed.archive.schema_files import read_migrations, schema_dir
from vaultembed.archive.upkeep.pruning import prune_generation
from vaultembed.archive.upkeep.restore import check_copy
from vaultembed.errors import BusyError, DamageError, StorageError, UsageError, VaultembedError


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


def test_a_generation_goes_down_and_up_again_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = embedded_archive(tmp_path / "a.db", 20)
    with open_archive_readonly(path) as archive:
        before = content(archive)
        coverage = archive.rows("SELECT * FROM embed_coverage ORDER BY 1")
    at_version(path, 3)
    with open_archive(path) as archive:
        assert content(archive) == before
        assert archive.rows("SELECT * FROM embed_coverage ORDER BY 1") == coverage
        assert archive.rows("SELECT pruned_at FROM generations") == [(None,), (None,)]
    check_invariants(path)


def test_going_below_generations_and_up_again_leaves_messages_that_all_are_work(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 2)
    with open_archive(path) as archive:
        assert archive.scalar("SELECT count(*) FROM messages WHERE embed_gen IS NULL") == 20
        assert archive.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'vec_1%'") == []
        assert archive.scalar("SELECT live FROM live_count") == 20
    check_invariants(path)


def test_an_index_for_words_that_went_down_is_made_again(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 1)
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


def test_a_pruned_generation_stays_pruned_on_the_way_down_and_up(tmp_path: Path) -> None:
    path = embedded_archive(tmp_path / "a.db", 5)
    with open_archive(path) as archive:
        archive.load_vec()
        archive.db.execute("DROP TABLE vec_1")
        archive.db.execute("DELETE FROM chunks WHERE generation_id = 1")
        archive.db.execute("DELETE FROM vec_orphans")
        archive.db.execute("UPDATE generations SET pruned_at = 9 WHERE id = 1")
    at_version(path, 3)
    with open_archive(path) as archive:
        assert archive.rows("SELECT id, pruned_at IS NOT NULL FROM generations") == [(1, 1), (2, 0)]


def test_after_the_way_down_and_up_pruned_is_pruned_and_nothing_is_embedded_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 5)
        run(archive)
        run(archive, WordHashEmbedder("two"))
        prune_generation(archive, 1)
        run(archive, WordHashEmbedder("three"), hold=True)
        discard(archive, None)  # and is killed before the stamps of the active one are renewed
    at_version(path, 3)
    with open_archive(path) as archive:
        check_invariants(path)
        assert [finding.kind for finding in inspect_archive(archive)] == []
        embedder = WordHashEmbedder("two")
        run(archive, embedder)
        assert embedder.texts == []


def test_a_process_whose_archive_is_taken_to_another_schema_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(BusyError, match="another schema"), open_archive(path) as archive:  # noqa: PT012
        add(archive, "hello")
        at_version(path, 3)
        archive.scalar("SELECT retired_order FROM generations")


def test_going_down_takes_along_what_only_the_newer_schema_knows_to_be_waste(tmp_path: Path) -> None:
    path = embedded_archive(tmp_path / "a.db", 5)
    with open_archive(path) as archive:
        archive.db.execute("DELETE FROM messages WHERE id = 3")
        assert archive.scalar("SELECT count(*) FROM vec_orphans") == 2
    at_version(path, 3)
    with open_archive(path) as archive:
        archive.load_vec()
        assert archive.scalar("SELECT count(*) FROM vec_2") == 4
    check_invariants(path)


def test_opening_an_older_archive_makes_a_backup_first(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 3)
    backup = tmp_path / "a.db.v3.bak"
    with open_archive(path) as archive:
        assert archive.migrated is not None
        assert archive.migrated.from_version == 3
        assert archive.migrated.backup == backup
    assert check_copy(backup).schema_version == 3
    assert check_copy(backup).vectors == 40
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with open_archive(path) as archive:
        assert archive.migrated is None
    assert list(tmp_path.glob("*.bak*")) == [backup]


def test_a_backup_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 5), 3)
    (tmp_path / "a.db.v3.bak").write_bytes(b"precious")
    with open_archive(path) as archive:
        assert archive.migrated is not None
        assert archive.migrated.backup.name == "a.db.v3.2.bak"
    assert (tmp_path / "a.db.v3.bak").read_bytes() == b"precious"


def test_a_damaged_archive_is_not_migrated(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 5), 3)
    with open_older(path) as archive:
        archive.db.execute("PRAGMA foreign_keys = OFF; DELETE FROM messages WHERE id = 3")
    with pytest.raises(DamageError, match=r"a\.db is damaged"), open_archive(path):
        pass
    assert list(tmp_path.glob("*.bak*")) == []
    with open_older(path) as archive:
        assert user_version(archive.db) == 3


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
def test_a_migration_killed_at_any_point_repeats_cleanly(tmp_path: Path, failpoint: str, backups: int) -> None:
    path = embedded_archive(tmp_path / "a.db", 20)
    with open_archive_readonly(path) as archive:
        before = content(archive)
    at_version(path, 3)
    command = [sys.executable, "-c", OPEN, str(path)]
    done = subprocess.run(command, env=environment(failpoint=failpoint), input="\n", text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with open_older(path) as archive:
        assert user_version(archive.db) == 3
    assert len(list(tmp_path.glob("*.bak"))) == backups
    with open_archive(path) as archive:
        assert content(archive) == before
        assert archive.migrated is not None
        assert check_copy(archive.migrated.backup).schema_version == 3
    assert len(list(tmp_path.glob("*.bak*"))) == backups + 1, "no half one is left"
    check_invariants(path)


def test_of_processes_opening_at_once_one_migrates_and_makes_the_backup(tmp_path: Path) -> None:
    path = at_version(embedded_archive(tmp_path / "a.db", 20), 3)
    command = [sys.executable, "-c", OPEN, str(path)]
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
    assert [p.name for p in tmp_path.glob("*.bak*")] == ["a.db.v3.bak"]
    check_invariants(path)


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
