"""The commands `backup`, `restore` and `migrate` as a person gives them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import check_invariants
from tests.kit.corrupt import PAGE, flip
from tests.kit.embedded import content, embedded_archive
from tests.kit.faulty_vfs import run_faulty
from tests.kit.later import upgrade
from tests.kit.mail import many, mbox
from tests.kit.processes import COMMAND, environment, start, vaultembed, vaultembed_json, vaultembed_process
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.upkeep.restore import check_copy
from vaultembed.errors import UsageError
from vaultembed.failpoints import action_at
from vaultembed.service.backup import back_up, migration_notes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded_archive(tmp_path_factory.mktemp("made") / "a.db", 100)


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return Path(shutil.copy(made, tmp_path / "home" / "a.db"))


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    back_up(made, tmp_path / "b.db")
    return tmp_path / "b.db"


def answer(text: str, *arguments: str | Path, archive: Path) -> tuple[int, str]:
    """Run a command in a terminal and type `text`; its exit code and what the terminal shows."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=environment(archive), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(mine, text.encode())
    shown = b""
    try:
        while block := os.read(mine, 4096):
            shown += block
    except OSError:
        pass  # how a terminal says that nobody is there any more
    finally:
        os.close(mine)
    return process.wait(60), shown.decode()


@pytest.mark.slow
def test_a_backup_made_during_an_import_holds_whole_messages_and_can_be_searched(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    box = mbox(tmp_path / "box", many(3000))
    importing = start("import", box, archive=archive)
    held = []
    try:
        while importing.poll() is None:
            destination = tmp_path / f"{len(held)}.db"
            done = vaultembed("backup", destination, archive=archive)
            if done.returncode == 0:
                held.append(check_copy(destination).messages)
            else:  # before the archive was made, or while it was
                assert not held
                assert (done.returncode, "no archive" in done.stderr) in ((1, True), (5, False)), done.stderr
    finally:
        importing.communicate(timeout=60)
    assert importing.returncode == 0
    assert held == sorted(held)
    vaultembed_json("backup", tmp_path / "last.db", archive=archive)
    found = vaultembed_json("search", "--mode", "text", "word2999", archive=tmp_path / "last.db")
    assert [result["subject"] for result in found["results"]] == ["subject 2999"]


def test_a_backup_and_a_check_say_what_is_held(archive: Path, tmp_path: Path) -> None:
    data = vaultembed_json("backup", tmp_path / "b.db", archive=archive)
    assert data["contents"]["messages"] == 100
    assert data["contents"]["vectors"] == 200
    assert data["contents"]["bytes"] == (tmp_path / "b.db").stat().st_size
    checked = vaultembed_json("restore", tmp_path / "b.db", "--check", archive=tmp_path / "none.db")
    assert checked["contents"] == data["contents"]
    assert not (tmp_path / "none.db").exists()
    shown = vaultembed("restore", tmp_path / "b.db", "--check", archive=archive).stdout
    assert "is whole" in shown
    assert "100 messages, sent 2001-09-09 to 2001-09-09" in shown
    assert "200 vectors in 2 generations" in shown


def test_backup_refuses_what_would_destroy_something(archive: Path, backup: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(archive)
    before = archive.read_bytes()
    for arguments, code, what in [
        ((archive,), 2, "the archive itself"),
        ((link, "--overwrite"), 2, "the archive itself"),
        ((f"{archive}-wal",), 2, "the archive itself"),
        ((backup,), 2, "--overwrite"),
        ((tmp_path,), 2, "folder"),
        ((tmp_path / "no" / "b.db",), 2, "does not exist"),
    ]:
        done = vaultembed("backup", *arguments, archive=archive)
        assert done.returncode == code, done.stderr
        assert what in done.stderr
    assert archive.read_bytes() == before
    assert vaultembed("backup", backup, "--overwrite", archive=archive).returncode == 0


def test_a_backup_of_nothing_says_so(tmp_path: Path) -> None:
    done = vaultembed("backup", tmp_path / "b.db", archive=tmp_path / "none.db")
    assert done.returncode == 1
    assert "no archive" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_backup_that_is_interrupted_leaves_nothing(
    archive: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with open_archive(archive) as opened:  # about a second to copy and check
        opened.db.execute(
            "INSERT INTO applied_steps WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 150)"
            " SELECT n, 0, hex(zeroblob(500000)) FROM c"
        )
    folder = tmp_path / "to"
    folder.mkdir()
    process = start("backup", folder / "b.db", "--json", archive=archive)
    while not list(folder.glob("b.db.*.partial")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads(output)["data"]["contents"] is None
    assert list(folder.iterdir()) == []


def test_a_disk_that_fills_is_told_with_what_is_needed_and_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    done = run_faulty("full:300000", "backup", tmp_path / "b.db", "--json", archive=archive)
    assert done.returncode == 74, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "DiskFullError"
    assert error["needed_bytes"] == archive.stat().st_size
    assert "b.db" in error["message"]
    assert not list(tmp_path.glob("b.db*"))
    assert vaultembed("backup", tmp_path / "b.db", archive=archive).returncode == 0


@pytest.mark.parametrize("mode", ["eio:write:3", "eio:read:40"])
def test_a_disk_that_fails_is_told(archive: Path, tmp_path: Path, mode: str) -> None:
    done = run_faulty(mode, "backup", tmp_path / "b.db", archive=archive)
    assert done.returncode == 74, done.stderr
    assert done.stderr.startswith("Error: cannot")
    assert not list(tmp_path.glob("b.db*"))


@pytest.mark.parametrize("mode", ["full:300000", "eio:write:20"])
def test_a_restore_to_a_disk_that_fills_or_fails_leaves_the_archive(archive: Path, backup: Path, mode: str) -> None:
    before = archive.read_bytes()
    done = run_faulty(mode, "restore", backup, "--yes", archive=archive)
    assert done.returncode == 74, done.stderr
    assert archive.read_bytes() == before
    assert not list(archive.parent.glob("*restore*"))


DAMAGES = {
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a page": lambda path: os.truncate(path, path.stat().st_size - PAGE),
    "a byte too short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "first byte": lambda path: flip(path, 0),
    "page size": lambda path: flip(path, 16),
    "application id": lambda path: flip(path, 68),
    "schema version": lambda path: flip(path, 63),
    "first page": lambda path: flip(path, 105),
    "root of the schema": lambda path: flip(path, 100),
    "text": lambda path: path.write_text("Buy milk. " * 1000),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_said_to_be_and_not_restored(
    archive: Path, backup: Path, tmp_path: Path, damage: str
) -> None:
    DAMAGES[damage](backup)
    before = archive.read_bytes()
    for arguments in (["--check"], ["--yes"]):
        done = vaultembed("restore", backup, *arguments, archive=archive)
        assert done.returncode in (2, 5), done.stderr
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
        assert "b.db" in done.stderr
    assert archive.read_bytes() == before
    assert not list(archive.parent.glob("*before*"))


def test_flips_in_pages_of_structure_are_found(backup: Path) -> None:
    db = apsw.Connection(str(backup))
    roots = [row[0] for row in db.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND rootpage > 0")]
    db.close()
    for root in roots[:3]:
        damaged = backup.with_name(f"{root}.db")
        shutil.copy(backup, damaged)
        flip(damaged, (root - 1) * PAGE + 3)  # how many cells it has
        assert vaultembed("restore", damaged, "--check").returncode == 5


def test_a_restore_asks_first_and_no_is_no(archive: Path, backup: Path) -> None:
    before = archive.read_bytes()
    code, shown = answer("n\n", "restore", backup, archive=archive)
    assert code == 1
    assert "Cancelled; nothing was changed." in shown
    assert "Error" not in shown
    assert "100 messages" in shown
    assert "moved aside, not deleted" in shown
    assert archive.read_bytes() == before
    code, shown = answer("y\n", "restore", backup, archive=archive)
    assert code == 0, shown
    assert len(list(archive.parent.glob("a.db.before-restore-*"))) == 1


def test_without_anybody_to_ask_a_restore_wants_yes(archive: Path, backup: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "restore", str(backup)],
        env=environment(archive),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not list(archive.parent.glob("*before*"))


def test_what_was_backed_up_comes_back(archive: Path, tmp_path: Path) -> None:
    with open_archive_readonly(archive) as opened:
        before = content(opened)
    vaultembed_json("backup", tmp_path / "b.db", archive=archive)
    with open_archive(archive) as opened:
        opened.db.execute("DELETE FROM messages WHERE id > 50")
    data = vaultembed_json("restore", tmp_path / "b.db", "--yes", archive=archive)
    with open_archive_readonly(archive) as opened:
        assert content(opened) == before
    check_invariants(archive)
    with open_archive_readonly(Path(data["replaced"])) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 50


@pytest.mark.parametrize("failpoint", ["backup.before_step", "backup.before_rename", "restore.after_aside"])
def test_a_killed_restore_leaves_an_archive_at_its_place_and_can_be_repeated(
    archive: Path, backup: Path, failpoint: str
) -> None:
    with open_archive(archive) as opened:
        opened.db.execute("DELETE FROM messages WHERE id > 50")
    done = vaultembed_process("restore", backup, "--yes", archive=archive, failpoint=failpoint)
    assert done.returncode == -signal.SIGKILL
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 50
    data = vaultembed_json("restore", backup, "--yes", archive=archive)
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 100
    with open_archive_readonly(Path(data["replaced"])) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 50
    assert not list(archive.parent.glob("*.restored*"))
    check_invariants(archive)


def test_restoring_the_archive_over_itself_is_refused(archive: Path) -> None:
    done = vaultembed("restore", archive, "--yes", archive=archive)
    assert done.returncode == 2
    assert "itself" in done.stderr


def test_an_older_archive_can_be_backed_up_and_restored_before_it_is_migrated(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = upgrade(tmp_path, monkeypatch)
    vaultembed_json("backup", tmp_path / "b.db", archive=archive)
    done = vaultembed("restore", tmp_path / "b.db", archive=tmp_path / "new.db")
    assert done.returncode == 0
    assert f"vaultembed migrate --archive {tmp_path / 'new.db'}" in done.stderr
    refused = vaultembed("stats", archive=tmp_path / "new.db")
    assert refused.returncode == 1
    assert "vaultembed migrate" in refused.stderr
    data = vaultembed_json("migrate", archive=tmp_path / "new.db")
    assert (data["from_version"], data["to_version"], data["latest"]) == (later - 1, later, later)
    assert check_copy(Path(data["backup"])).schema_version == later - 1
    assert vaultembed("stats", archive=tmp_path / "new.db").returncode == 0


def test_migrating_an_up_to_date_archive_does_nothing(archive: Path) -> None:
    data = vaultembed_json("migrate", archive=archive)
    assert data["backup"] is None
    assert data["from_version"] == data["to_version"] == data["latest"]
    assert "nothing to do" in vaultembed("migrate", archive=archive).stdout


def test_migrating_down_asks_says_what_is_lost_and_makes_a_backup(archive: Path) -> None:
    refused = vaultembed("migrate", "--to", "101", archive=archive)
    assert refused.returncode == 2
    assert "all embeddings, 200 vectors" in refused.stderr
    assert "--yes" in refused.stderr
    assert check_copy(archive).vectors == 200
    data = vaultembed_json("migrate", "--to", "101", "--yes", archive=archive)
    kept = check_copy(Path(data["backup"]))
    assert (kept.schema_version, kept.vectors, kept.messages) == (data["from_version"], 200, 100)
    assert check_copy(archive).schema_version == 101
    assert check_copy(archive).messages == 100
    again = vaultembed_json("migrate", archive=archive)
    assert check_copy(Path(again["backup"])).schema_version == 101
    check_invariants(archive)


@pytest.mark.parametrize("failpoint", ["migrate.after_backup", "migrate.in_transaction:1", "migrate.in_transaction:2"])
def test_a_killed_migration_down_leaves_everything_and_can_be_repeated(archive: Path, failpoint: str) -> None:
    with open_archive_readonly(archive) as opened:
        before = content(opened)
    done = vaultembed_process("migrate", "--to", "101", "--yes", archive=archive, failpoint=failpoint)
    assert done.returncode == -signal.SIGKILL
    with open_archive_readonly(archive) as opened:
        assert content(opened) == before
    vaultembed_json("migrate", "--to", "101", "--yes", archive=archive)
    assert check_copy(archive).schema_version == 101


def test_versions_that_are_not_there_are_refused(archive: Path) -> None:
    for version in ("99", "107"):
        done = vaultembed("migrate", "--to", version, archive=archive)
        assert done.returncode == 2
        assert "versions 100 to" in done.stderr
    with open_archive(archive) as opened:
        opened.db.pragma("user_version", 107)
    for command in (["migrate"], ["migrate", "--to", "100", "--yes"], ["backup", archive.parent / "b.db"]):
        done = vaultembed(*command, archive=archive)
        assert done.returncode == 1
        assert "schema version 107" in done.stderr
        assert "Upgrade vaultembed" in done.stderr


def test_what_a_command_says_whose_opening_migrated(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = upgrade(tmp_path, monkeypatch)
    with open_archive(archive) as opened:
        (note,) = migration_notes(opened)
    assert f"from schema version {later - 1} to {later}." in note
    assert f"a.db.v{later - 1}.bak" in note
    with open_archive(archive) as opened:
        assert migration_notes(opened) == ()


def test_a_service_refuses_the_archive_as_its_own_backup(archive: Path) -> None:
    with pytest.raises(UsageError, match="itself"):
        back_up(archive, archive, overwrite=True)


@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_restore_to_a_folder_is_refused_before_anything_is_asked(
    archive: Path, backup: Path, tmp_path: Path, yes: tuple[str, ...]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    done = vaultembed("restore", backup, *yes, "--json", archive=folder)
    assert done.returncode == 2
    assert "is a folder, not an archive file" in json.loads(done.stdout)["error"]["message"]
    assert folder.is_dir()


@pytest.mark.parametrize("name", ["x" * 300, "\udcff.db"])
def test_names_that_no_file_can_have_are_usage_errors(archive: Path, backup: Path, tmp_path: Path, name: str) -> None:
    place = str(tmp_path / name)
    for arguments in (["backup", place, "-a", str(archive)], ["restore", str(backup), "-a", place, "--yes"]):
        done = vaultembed(*arguments, "--json")
        assert done.returncode == 2, done.stderr
        assert "cannot be the name" in json.loads(done.stdout)["error"]["message"]


def test_an_archive_that_appears_after_the_look_is_not_replaced_unasked(
    made: Path, backup: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.db"
    with action_at("restore.after_look", lambda: shutil.copy(made, target)):
        done = vaultembed("restore", backup, archive=target)
    assert done.returncode == 2
    assert "there is an archive" in done.stderr
    assert target.read_bytes() == made.read_bytes()
