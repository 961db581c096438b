"""Disks that fill, and disks that fail, under real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.embedded import embedded_archive
from tests.kit.faulty_vfs import run_faulty
from tests.kit.later import upgrade
from tests.kit.mail import many, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive
from vaultembed.errors import DiskFullError
from vaultembed.models.model_file import ModelFile

pytestmark = pytest.mark.slow

MESSAGES = 400
TEXT_SEARCH = ("search", "thing3", "--mode", "text", "-n", "3")


class SmallDisk:
    """A tmpfs, which can be made as small as is wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = path / "a.db"

    def resize(self, free: int) -> None:
        """Leave so many bytes free."""
        pages = -(-(shutil.disk_usage(self.path).used + free) // 4096)
        subprocess.run(["mount", "-o", f"remount,size={pages * 4096}", self.path], check=True)

    def fill(self) -> Path:
        """Something else takes all there is."""
        other = self.path / "film"
        other.write_bytes(bytes(shutil.disk_usage(self.path).free))
        return other


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mbox(tmp_path_factory.mktemp("mail") / "box", many(MESSAGES))


@pytest.fixture(scope="module")
def imported(box: Path, tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    archive = tmp_path_factory.mktemp("imported") / "a.db"
    assert vaultembed("import", box, archive=archive).returncode == 0
    return archive


def check_is_imported(box: Path, archive: Path) -> None:
    """The same command completes it."""
    vaultembed_json("import", box, archive=archive)
    assert vaultembed_json("stats", archive=archive)["totals"]["messages"] == MESSAGES
    check_invariants(archive)


def check_is_built(archive: Path) -> None:
    vaultembed_json("embeddings", "build", archive=archive)
    (generation,) = vaultembed_json("embeddings", archive=archive)["generations"]
    assert generation["state"] == "active"
    assert generation["coverage"]["embedded"] == MESSAGES
    check_invariants(archive)


def full_disk_error(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    assert done.returncode == 74, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "DiskFullError"
    assert "is full: " in error["message"]
    assert " are free" in error["message"]
    if error["needed_bytes"] is not None:
        assert "are needed for the rest" in error["message"]
    assert "Make space and give the same command again" in error["hint"]
    return {name: error[name] for name in ("free_bytes", "needed_bytes")}


def test_an_import_on_a_small_disk_says_what_it_needs_and_completes_once_that_is_there(
    box: Path, small_disk: SmallDisk
) -> None:
    archive = small_disk.archive
    vaultembed_json("import", mbox(small_disk.path / "few", many(30)), archive=archive)
    small_disk.resize(free=600_000)
    facts = full_disk_error(vaultembed("import", box, "--json", archive=archive))
    assert facts["needed_bytes"] is not None
    assert facts["free_bytes"] < 610_000 < facts["needed_bytes"]
    found = vaultembed(*TEXT_SEARCH, archive=archive)
    assert found.returncode == 0, found.stderr
    assert "thing3" in found.stdout
    small_disk.resize(free=facts["needed_bytes"])
    check_is_imported(box, archive)


def test_a_build_on_a_small_disk_says_what_it_needs_and_completes_once_that_is_there(
    imported: Path, small_disk: SmallDisk
) -> None:
    archive = small_disk.archive
    shutil.copy(imported, archive)
    small_disk.resize(free=600_000)
    facts = full_disk_error(vaultembed("embeddings", "build", "--json", archive=archive))
    assert facts["needed_bytes"] is not None
    assert facts["free_bytes"] < 610_000 < facts["needed_bytes"]
    for mode in ("text", "hybrid"):
        found = vaultembed("search", "thing3", "--mode", mode, archive=archive)
        assert found.returncode == 0, found.stderr
    small_disk.resize(free=facts["needed_bytes"])
    check_is_built(archive)


def test_search_answers_on_a_disk_that_something_else_has_filled(imported: Path, small_disk: SmallDisk) -> None:
    shutil.copy(imported, small_disk.archive)
    small_disk.resize(free=100_000)
    other = small_disk.fill()
    assert shutil.disk_usage(small_disk.path).free == 0
    found = vaultembed(*TEXT_SEARCH, archive=small_disk.archive)
    assert found.returncode == 0, found.stderr
    assert "thing3" in found.stdout
    other.unlink()
    check_invariants(small_disk.archive)


def test_without_room_for_the_backup_an_archive_is_not_migrated(
    small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = embedded_archive(small_disk.archive, 5)
    upgrade(tmp_path, monkeypatch)
    before = path.read_bytes()
    small_disk.resize(free=600_000)
    with pytest.raises(DiskFullError) as caught, open_archive(path):
        pass
    assert caught.value.needed_bytes is not None
    assert caught.value.needed_bytes > 600_000
    assert [p.name for p in small_disk.path.iterdir() if p.name not in ("a.db", "a.db-wal", "a.db-shm")] == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("room", [0, 20_000, 400_000, 1_200_000])
def test_an_import_whose_files_cannot_grow_any_more_completes_later(box: Path, tmp_path: Path, room: int) -> None:
    archive = tmp_path / "a.db"
    full_disk_error(run_faulty(f"full:{room}", "import", box, "--json", archive=archive))
    check_is_imported(box, archive)


@pytest.mark.parametrize("room", [0, 300_000])
def test_a_build_whose_files_cannot_grow_any_more_completes_later(imported: Path, tmp_path: Path, room: int) -> None:
    archive = shutil.copy(imported, tmp_path / "a.db")
    full_disk_error(run_faulty(f"full:{room}", "embeddings", "build", "--json", archive=archive))
    assert vaultembed(*TEXT_SEARCH, archive=archive).returncode == 0
    check_is_built(archive)


FAULTS = ("write:1", "write:30", "write:200", "sync:1", "sync:2", "read:1", "read:20")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_import_on_a_failing_disk_ends_with_74_and_completes_on_a_whole_one(
    box: Path, tmp_path: Path, fault: str
) -> None:
    archive = tmp_path / "a.db"
    check_says_the_disk_fails(run_faulty(f"eio:{fault}", "import", box, archive=archive))
    check_is_imported(box, archive)


@pytest.mark.parametrize("fault", ["write:1", "write:150", "read:20"])
def test_a_build_on_a_failing_disk_ends_with_74_and_completes_on_a_whole_one(
    imported: Path, tmp_path: Path, fault: str
) -> None:
    archive = shutil.copy(imported, tmp_path / "a.db")
    check_says_the_disk_fails(run_faulty(f"eio:{fault}", "embeddings", "build", archive=archive))
    assert vaultembed(*TEXT_SEARCH, archive=archive).returncode == 0
    check_is_built(archive)


def check_says_the_disk_fails(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 74, done.stderr
    assert "cannot read or write" in done.stderr
    assert "disk I/O error" in done.stderr
    assert "Check the disk" in done.stderr


def test_a_search_on_a_failing_disk_says_so(imported: Path, tmp_path: Path) -> None:
    archive = shutil.copy(imported, tmp_path / "a.db")
    check_says_the_disk_fails(run_faulty("eio:read:4", *TEXT_SEARCH, archive=archive))


def test_the_faulty_disk_kills_at_the_write_it_was_told(box: Path, tmp_path: Path) -> None:
    """Of the writes of one import, at which the process is killed; whatever it leaves is completed."""
    archive = tmp_path / "a.db"
    for number in range(1, 10_000, max(1, 400 // scaled(4))):
        done = run_faulty(f"kill:wal:{number}", "import", box, archive=archive)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        if os.stat(archive).st_size > 100_000:
            check_invariants(archive)
    assert number > 1
    check_is_imported(box, archive)
