"""A repair that is killed, that shares the archive with others, or whose disk is full or fails: nothing is lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import run, search
from tests.kit.faulty_vfs import run_faulty
from tests.kit.garble import ODD, SUBJECT, garble_everything, import_odd, misread, store, texts
from tests.kit.processes import start, vaultembed, vaultembed_json, vaultembed_process
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.service.repair_runs import repair_runs
from vaultembed.service.repairing import RepairRequest, repair_encoding

pytestmark = pytest.mark.slow

EVERYTHING = RepairRequest()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_odd(tmp_path_factory.mktemp("imported"))


@pytest.fixture
def sound(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(imported, tmp_path / "a.db"))


@pytest.fixture
def garbled(sound: Path) -> Path:
    """One message with everything of it stored wrongly, each in its own way."""
    garble_everything(sound)
    return sound


@pytest.fixture
def many_garbled(garbled: Path) -> Path:
    for number in range(2, 14):
        store(garbled, "UPDATE messages SET subject = ? WHERE id = ?", misread(f"Größe {number}"), number)
        store(garbled, "DELETE FROM message_raw WHERE message_id = ?", number)
    return garbled


@pytest.fixture
def whole(many_garbled: Path, tmp_path: Path) -> Path:
    """Repaired without anything in between."""
    path = Path(shutil.copy(many_garbled, tmp_path / "whole.db"))
    repair_encoding(path, EVERYTHING)
    return path


def test_a_kill_anywhere_loses_nothing_and_the_same_command_goes_on(
    many_garbled: Path, whole: Path, tmp_path: Path
) -> None:
    kills = 0
    for point in range(1, 40, max(1, 5 // scaled(1))):
        path = Path(shutil.copy(many_garbled, tmp_path / f"{point}.db"))
        killed = vaultembed_process("repair-encoding", archive=path, failpoint=f"repair.step:{point}")
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
        kills += 1
        check_invariants(path)
        assert vaultembed("repair-encoding", archive=path).returncode == 0
        assert texts(path) == texts(whole)
        for found in repair_runs(path).data.runs:
            assert vaultembed("repair-encoding", "--undo", str(found.id), archive=path).returncode == 0
        assert texts(path)[:-1] == texts(many_garbled)[:-1]
        check_invariants(path)
    assert kills > 1


def test_a_kill_at_writes_to_the_log_loses_nothing(many_garbled: Path, whole: Path, tmp_path: Path) -> None:
    kills = 0
    for write in range(1, 2_000, max(1, 8 // scaled(1))):
        path = Path(shutil.copy(many_garbled, tmp_path / f"{write}.db"))
        killed = run_faulty(f"kill:wal:{write}", "repair-encoding", archive=path)
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
        kills += 1
        check_invariants(path)
        assert vaultembed("repair-encoding", archive=path).returncode == 0
        assert texts(path) == texts(whole)
        path.unlink()
    assert kills > 3


@pytest.mark.parametrize("mode", ["full:0", "full:20000", "eio:write:1", "eio:write:5", "eio:sync:1"])
def test_on_a_disk_that_is_full_or_fails_it_ends_with_74_and_completes_on_another(
    many_garbled: Path, whole: Path, mode: str
) -> None:
    done = run_faulty(mode, "repair-encoding", "--json", archive=many_garbled)
    assert done.returncode == 74, done.stdout
    assert json.loads(done.stdout)["error"]["hint"]
    check_invariants(many_garbled)
    assert vaultembed("search", "word3", "--mode", "text", archive=many_garbled).returncode == 0
    assert vaultembed("repair-encoding", archive=many_garbled).returncode == 0
    assert texts(many_garbled) == texts(whole)


def test_a_repair_that_is_interrupted_says_so_and_goes_on(many_garbled: Path, whole: Path) -> None:
    with open_archive(many_garbled) as archive:
        archive.db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
            " INSERT INTO messages(subject) SELECT 'Größe ' || hex(randomblob(20)) FROM n"
        )
    process = start("repair-encoding", archive=many_garbled)
    while not repair_runs(many_garbled).data.runs:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "goes on" in errors) == (130, True)
    assert vaultembed("repair-encoding", archive=many_garbled).returncode == 0
    with open_archive(many_garbled) as archive:
        archive.db.execute("DELETE FROM messages WHERE subject LIKE 'Größe %' AND length(subject) > 40")
    assert texts(many_garbled) == texts(whole)


def test_two_repairs_at_once_do_each_text_once(garbled: Path, imported: Path) -> None:
    processes = [start("repair-encoding", "--json", archive=garbled) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert texts(garbled) == texts(imported)
    with open_archive_readonly(garbled) as archive:
        assert archive.scalar("SELECT count(*) FROM repairs") == 8


def test_a_repair_beside_a_build_leaves_nothing_stale(garbled: Path, imported: Path) -> None:
    errors: list[BaseException] = []

    def build() -> None:
        try:
            with open_archive(garbled) as archive:
                for _ in range(4):
                    run(archive)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    done = repair_encoding(garbled, EVERYTHING)
    thread.join()
    assert errors == []
    assert done.exit_code == 0
    with open_archive(garbled) as archive:
        run(archive)
        assert search(archive, SUBJECT)[0] == ODD
    check_invariants(garbled)


def test_an_archive_that_cannot_be_written_is_refused_and_can_be_looked_at(garbled: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    path = Path(shutil.copy(garbled, folder / "a.db"))
    commands = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder])
    try:
        if any(subprocess.run(command, capture_output=True).returncode for command in commands):
            pytest.skip("nothing can be mounted here")
        done = vaultembed("repair-encoding", archive=path)
        assert done.returncode == 74, done.stderr
        assert "cannot" in done.stderr
        planned = vaultembed_json("repair-encoding", "--dry-run", archive=path)
        assert sum(planned["changed"].values()) == 8
    finally:
        subprocess.run(["umount", folder], capture_output=True)
