"""Copies made while others write, killed, cut short and refused: what bears a backup's name is always whole."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.corrupt import flip
from tests.kit.embedded import content, embedded_archive
from tests.kit.processes import environment
from vaultembed.archive.backup import Stopped, copy_archive, taking_place
from vaultembed.archive.database import open_archive, open_archive_readonly, open_older_readonly
from vaultembed.archive.upkeep.restore import check_copy, restore_copy
from vaultembed.errors import BusyError, DamageError, DiskFullError, StorageError, UsageError

COPY = """
import sys
from pathlib import Path
from vaultembed.service.backup import back_up
back_up(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded_archive(tmp_path_factory.mktemp("made") / "a.db", 300)


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return Path(shutil.copy(made, tmp_path / "home" / "a.db"))


def copy(archive: Path, destination: Path, **options: object) -> None:
    with open_older_readonly(archive) as opened, opened.snapshot():
        copy_archive(opened.db, archive, destination, **options)  # type: ignore[arg-type]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_is_one_file_for_its_owner_alone_and_holds_everything(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    copy(archive, folder / "b.db")
    assert names(folder) == {"b.db"}
    assert stat.S_IMODE((folder / "b.db").stat().st_mode) == 0o600
    with open_archive_readonly(archive) as original, open_archive_readonly(folder / "b.db") as backup:
        assert content(backup) == content(original)
        assert backup.db.pragma("page_size") == 8192
        assert backup.db.pragma("auto_vacuum") == 2
    assert names(folder) == {"b.db"}, "reading it must leave nothing beside it"
    check_invariants(folder / "b.db")


def test_a_backup_on_a_read_only_medium_can_be_checked_and_read(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    copy(archive, folder / "b.db")
    (folder / "b.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        assert check_copy(folder / "b.db").messages == 300
        with open_archive_readonly(folder / "b.db") as backup:
            assert backup.scalar("SELECT count(*) FROM messages") == 300
    finally:
        folder.chmod(0o700)


def test_a_backup_is_one_moment_of_an_archive_that_is_written_all_the_time(archive: Path, tmp_path: Path) -> None:
    """The writer adds a message and takes one away in one transaction: at every moment there are 300."""
    stop = threading.Event()
    written = []
    failed: list[BaseException] = []

    def write() -> None:
        try:
            with open_archive(archive) as opened:
                number = 1000
                while not stop.is_set():
                    with opened.transaction():
                        opened.db.execute("DELETE FROM messages WHERE id = (SELECT min(id) FROM messages)")
                        opened.db.execute("INSERT INTO messages(subject) VALUES (?)", (f"new {number}",))
                    number += 1
                    written.append(number)
        except BaseException as error:
            failed.append(error)

    with open_archive(archive) as opened:
        opened.db.execute(
            "INSERT INTO applied_steps VALUES ('ballast', 0, hex(zeroblob(2500000)))"
        )  # more than one step
    writer = threading.Thread(target=write)
    writer.start()
    steps: list[int] = []

    def on_step(done: int, _total: int) -> None:
        steps.append(done)
        before, deadline = len(written), time.monotonic() + 10
        while len(written) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(written) > before, "the writer is blocked"

    try:
        for number in range(3):
            steps.clear()
            copy(archive, tmp_path / f"{number}.db", on_step=on_step)
            assert len(steps) > 1
            assert sorted(set(steps)) == steps, "the copying began again"
            assert check_copy(tmp_path / f"{number}.db").messages == 300
    finally:
        stop.set()
        writer.join()
    assert failed == []


def test_a_file_copied_page_by_page_without_a_snapshot_is_not_one_moment(archive: Path, tmp_path: Path) -> None:
    """The twin: what `cp` does to an archive that is written, and why it is no backup."""
    with open_archive(archive) as opened:
        data = bytearray()
        with archive.open("rb") as file:
            while block := file.read(8192):
                data += block
                if len(data) == 30 * 8192:
                    with opened.transaction():
                        opened.db.execute("UPDATE messages SET subject = hex(randomblob(500))")
                    opened.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (tmp_path / "b.db").write_bytes(data)
    with pytest.raises(DamageError):
        check_copy(tmp_path / "b.db")


@pytest.mark.parametrize("failpoint", ["backup.before_step:1", "backup.before_step:2", "backup.before_rename"])
def test_a_killed_backup_leaves_nothing_that_looks_like_one_and_is_replaced(
    archive: Path, tmp_path: Path, failpoint: str
) -> None:
    with open_archive(archive) as opened:
        opened.db.execute(
            "INSERT INTO applied_steps VALUES ('ballast', 0, hex(zeroblob(1500000)))"
        )  # more than one step
    folder = tmp_path / "to"
    folder.mkdir()
    command = [sys.executable, "-c", COPY, archive, folder / "b.db"]
    done = subprocess.run(command, env=environment(failpoint=failpoint), check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [re.sub("[0-9a-f]{8}", "X", name) for name in names(folder)] == ["b.db.X.partial"]
    copy(archive, folder / "b.db")
    assert names(folder) == {"b.db"}
    assert check_copy(folder / "b.db").messages == 300


def test_a_backup_that_is_stopped_leaves_nothing_and_the_old_one_whole(archive: Path, tmp_path: Path) -> None:
    old = tmp_path / "b.db"
    old.write_bytes(b"the old one")
    with pytest.raises(Stopped):
        copy(archive, old, overwrite=True, should_stop=lambda: True)
    assert old.read_bytes() == b"the old one"
    assert names(tmp_path) == {"home", "b.db"}


def test_what_exists_is_not_overwritten_unasked(archive: Path, tmp_path: Path) -> None:
    old = tmp_path / "b.db"
    old.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--overwrite"):
        copy(archive, old)
    assert old.read_bytes() == b"precious"
    copy(archive, old, overwrite=True)
    assert check_copy(old).messages == 300


def test_what_appears_during_the_copying_is_not_overwritten_either(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.db"
    with pytest.raises(UsageError, match="exists"):
        copy(archive, other, on_check=lambda: other.write_bytes(b"precious"))
    assert other.read_bytes() == b"precious"


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_backup_is_not_put_beside_a_log_that_would_spoil_it(archive: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / f"b.db{end}").write_bytes(b"left by another file of that name")
    with pytest.raises(UsageError, match=f"b.db{end}"):
        copy(archive, tmp_path / "b.db")


def test_two_backups_to_one_place_do_not_mix(archive: Path, tmp_path: Path) -> None:
    with taking_place(tmp_path / "b.db", 0, overwrite=False), pytest.raises(BusyError):
        copy(archive, tmp_path / "b.db")


def test_too_little_space_is_said_before_anything_is_written(archive: Path, tmp_path: Path) -> None:
    needed = 1 << 60
    with pytest.raises(DiskFullError) as caught, taking_place(tmp_path / "b.db", needed, overwrite=False):
        pass
    assert caught.value.needed_bytes == needed
    assert names(tmp_path) == {"home"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(0o500)
    with pytest.raises(StorageError, match="locked"):
        copy(archive, folder / "b.db")


def test_a_damaged_archive_gives_no_backup(archive: Path, tmp_path: Path) -> None:
    with open_archive(archive) as opened:
        root = opened.scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'messages_by_sent_at'")
    flip(archive, (root - 1) * 8192 + 3)
    with pytest.raises(DamageError, match=r"a\.db"):
        copy(archive, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()
    assert not list(tmp_path.glob("b.db*"))


def test_a_copy_made_by_hand_is_checked_without_a_trace_beside_it(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "by hand"
    folder.mkdir()
    shutil.copy(archive, folder / "b.db")
    assert (folder / "b.db").read_bytes()[18] == 2, "this test wants one in WAL mode"
    before = (folder / "b.db").read_bytes()
    assert check_copy(folder / "b.db").vectors == 600
    assert names(folder) == {"b.db"}
    assert (folder / "b.db").read_bytes() == before


def test_a_missing_trigger_is_damage(archive: Path) -> None:
    with open_archive(archive) as opened:
        opened.db.execute("DROP TRIGGER work_appeared")
    with pytest.raises(DamageError, match="work_appeared"):
        check_copy(archive)


def test_a_restore_keeps_the_archive_that_was_there_with_what_stood_in_its_log(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    # a process that died leaves a log
    script = (
        "import os, sys; from pathlib import Path; from vaultembed.archive.database import open_archive;"
        " from tests.kit.archives import add\n"
        "with open_archive(Path(sys.argv[1])) as a:\n    add(a, 'the last one'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, archive], env=environment(), check=True, cwd=Path.cwd())
    assert (archive.parent / "a.db-wal").stat().st_size
    contents, aside = restore_copy(tmp_path / "b.db", archive, replace=True)
    assert contents.messages == 300
    assert aside is not None
    assert aside.name.startswith("a.db.before-restore-")
    assert names(archive.parent) == {"a.db", aside.name}
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with open_archive_readonly(aside) as old:
        assert old.scalar("SELECT count(*) FROM messages WHERE subject = 'the last one'") == 1
    with open_archive(archive) as new:
        add(new, "and on it goes")
        assert new.scalar("SELECT count(*) FROM messages") == 301
    check_invariants(archive)


def test_a_log_left_beside_does_not_get_into_the_restored_archive(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    archive.write_bytes(b"no database at all" * 1000)
    (archive.parent / "a.db-wal").write_bytes(b"its log")
    _, aside = restore_copy(tmp_path / "b.db", archive, replace=True)
    assert aside is not None
    assert aside.read_bytes().startswith(b"no database")
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"its log"
    assert not (archive.parent / "a.db-wal").exists()
    assert check_copy(archive).messages == 300


@pytest.mark.slow  # it waits for the other one: three seconds each time
@pytest.mark.parametrize("how", ["reading", "writing", "idle"])
def test_a_restore_is_refused_while_another_process_has_the_archive_open(
    archive: Path, tmp_path: Path, how: str
) -> None:
    copy(archive, tmp_path / "b.db")
    other = apsw.Connection(str(archive))
    other.execute({"reading": "BEGIN", "writing": "BEGIN IMMEDIATE", "idle": "SELECT 1"}[how])
    other.execute("SELECT count(*) FROM messages").fetchall()
    try:
        with pytest.raises(BusyError, match="open"):
            restore_copy(tmp_path / "b.db", archive, replace=True)
    finally:
        other.close()
    assert not list(archive.parent.glob("*before*"))
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 300


def test_who_opened_the_old_archive_in_the_moment_of_the_restore_cannot_spoil_the_new(
    archive: Path, tmp_path: Path
) -> None:
    copy(archive, tmp_path / "b.db")
    late = apsw.Connection(str(archive))  # has the old file, and has not looked at it yet
    restore_copy(tmp_path / "b.db", archive, replace=True)
    with pytest.raises(apsw.ReadOnlyError):
        late.pragma("journal_mode", "WAL")
    with pytest.raises(apsw.ReadOnlyError):
        late.execute("DELETE FROM messages")
    late.close()
    assert check_copy(archive).messages == 300
    check_invariants(archive)


def test_a_restore_into_an_empty_place_makes_its_folder(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    target = tmp_path / "new" / "deep" / "a.db"
    _, aside = restore_copy(tmp_path / "b.db", target, replace=False)
    assert aside is None
    assert names(target.parent) == {"a.db"}
    check_invariants(target)


def test_a_damaged_backup_is_never_restored(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    data = (tmp_path / "b.db").read_bytes()
    (tmp_path / "b.db").write_bytes(data[: len(data) // 2])
    before = archive.read_bytes()
    with pytest.raises(DamageError):
        restore_copy(tmp_path / "b.db", archive, replace=True)
    assert archive.read_bytes() == before
    assert not list(archive.parent.glob("*before*"))


def test_another_applications_database_is_not_replaced(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    other = tmp_path / "bookmarks.db"
    db = apsw.Connection(str(other))
    db.execute("CREATE TABLE bookmarks(url)")
    db.close()
    with pytest.raises(UsageError, match="another application"):
        restore_copy(tmp_path / "b.db", other, replace=True)


def test_no_file_of_anybody_else_is_written_to_or_taken_away(archive: Path, tmp_path: Path) -> None:
    """Whatever it is called: a name by itself proves nothing."""
    for name in ("b.db.partial", "c.db.restored"):
        (tmp_path / name).write_text("precious")
    copy(archive, tmp_path / "b.db")
    restore_copy(tmp_path / "b.db", tmp_path / "c.db", replace=False)
    for name in ("b.db.partial", "c.db.restored"):
        assert (tmp_path / name).read_text() == "precious"


def test_an_archive_may_be_called_as_a_half_copy_once_was(archive: Path, tmp_path: Path) -> None:
    odd = archive.rename(tmp_path / "b.db.partial")
    before = odd.read_bytes()
    copy(odd, tmp_path / "b.db")
    assert odd.read_bytes() == before
    assert check_copy(tmp_path / "b.db").messages == 300


def test_a_folder_is_not_moved_aside(archive: Path, tmp_path: Path) -> None:
    copy(archive, tmp_path / "b.db")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        restore_copy(tmp_path / "b.db", folder, replace=True)
    assert folder.is_dir()


@pytest.mark.parametrize("suffix", ["", "restored"])
def test_what_is_copied_is_kept_although_it_bears_the_name_of_a_leftover(
    archive: Path, tmp_path: Path, suffix: str
) -> None:
    """A killed copy may be whole, and all that somebody has."""
    source = archive.rename(tmp_path / f"b.db.0123abcd.{suffix or 'partial'}")
    before = source.read_bytes()
    if suffix:
        restore_copy(source, tmp_path / "b.db", replace=False)
    else:
        copy(source, tmp_path / "b.db")
    assert source.read_bytes() == before
    assert check_copy(tmp_path / "b.db").messages == 300


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_file_is_not_moved_aside_nor_waited_for(archive: Path, tmp_path: Path, kind: int) -> None:
    odd = tmp_path / "odd.db"
    os.mknod(odd, kind | 0o600)  # never a device of this machine: where this fails, it is moved aside
    with pytest.raises(UsageError, match="no regular file"):
        restore_copy(archive, odd, replace=True)
    assert names(tmp_path) == {"home", "odd.db"}


def test_a_place_that_cannot_be_made_is_told(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        restore_copy(archive, tmp_path / "file" / "a.db", replace=False)
