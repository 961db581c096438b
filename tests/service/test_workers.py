"""Several processes build at once: each message is embedded by one of them, whatever happens to the others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.mail import many, mbox
from tests.kit.processes import start, vaultembed, vaultembed_json, vaultembed_process
from tests.kit.recount import check_coverage, check_equal, states
from tests.kit.runner import Run, Runners, times_embedded
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.models.frames import pack_model
from vaultembed.models.model_file import ModelFile
from vaultembed.processes import python_command

pytestmark = pytest.mark.slow

BATCH = 16
COUNT = 300
SLOWLY = ("--milliseconds", 4, "--batch", BATCH, "--lease", 24)


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    found = Runners(tmp_path_factory.mktemp("runners"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imported") / "a.db"
    with open_archive(path) as opened:
        for n in range(COUNT):
            add(opened, f"subject {n}", f"word{n} body{n % 7} text", message_id=str(n))
    return path


@pytest.fixture(scope="module")
def whole(imported: Path, runners: Runners) -> Path:
    """Built by one process, uninterrupted."""
    path = Path(shutil.copy(imported, imported.with_name("whole.db")))
    runners.succeed("build", path)
    return path


@pytest.fixture
def archive(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(imported, tmp_path / "a.db"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def scalar(path: Path, sql: str, *bindings: object) -> object:
    with open_archive_readonly(path) as opened:
        return opened.scalar(sql, bindings)


def check_complete(path: Path, log: Path, whole: Path, *, lost: int = 0) -> None:
    """Everything is embedded, and nothing twice but for so many texts."""
    times = times_embedded(log)
    assert len(times) == COUNT, "a message was missed"
    assert times.total() - COUNT <= lost, "messages were embedded twice"
    assert states(path) == {1: "active"}
    assert scalar(path, "SELECT max(attempts) FROM embed_outcomes") == 1, "a message was written twice"
    assert scalar(path, "SELECT count(*) FROM embed_leases") == 0
    check_invariants(path)
    check_coverage(path)
    check_equal(path, whole)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_build_at_once_embed_each_message_once(
    processes: int, runners: Runners, imported: Path, whole: Path, tmp_path: Path
) -> None:
    for attempt in range(scaled(2)):
        path = Path(shutil.copy(imported, tmp_path / f"{attempt}.db"))
        log = tmp_path / f"{attempt}.log"
        with open_archive(path) as opened, opened.transaction():  # nobody can begin before all are there
            running = [runners.start("build", path, *SLOWLY, "--log", log) for _ in range(processes)]
            time.sleep(0.2)
        for run in running:
            assert run.wait() == 0, run.errors.read_text()
        check_complete(path, log, whole)
        busy = scalar(path, "SELECT count(*) FROM embed_runs WHERE embedded > 0")
        assert busy in range(2, processes + 1), "there was work for one only"


def first_busy(path: Path, running: list[Run]) -> Run:
    """The first process that has written something, and holds more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid = scalar(
            path,
            "SELECT l.pid FROM embed_leases l JOIN embed_runs r ON r.id = l.run_id WHERE r.embedded > 0 LIMIT 1",
        )
        for run in running:
            if run.pid == pid:
                return run
        time.sleep(0.002)
    raise AssertionError(f"none ever got to work: {[run.errors.read_text() for run in running]}")


@pytest.mark.parametrize("processes", [2, 4])
def test_the_others_finish_the_work_of_one_that_was_killed(
    processes: int, runners: Runners, imported: Path, whole: Path, tmp_path: Path
) -> None:
    for attempt in range(scaled(2)):
        path = Path(shutil.copy(imported, tmp_path / f"{attempt}.db"))
        log = tmp_path / f"{attempt}.log"
        running = [runners.start("build", path, *SLOWLY, "--log", log) for _ in range(processes)]
        victim = first_busy(path, running)
        victim.kill()
        assert victim.wait() == -signal.SIGKILL
        for run in running:
            if run is not victim:
                assert run.wait() == 0, run.errors.read_text()
        check_complete(path, log, whole, lost=BATCH)


def test_a_frozen_process_loses_its_work_to_the_others_and_writes_nothing_when_it_goes_on(
    runners: Runners, archive: Path, log: Path
) -> None:
    options = (*SLOWLY, "--expires", 1, "--log", log)
    running = [runners.start("build", archive, *options) for _ in range(2)]
    frozen = first_busy(archive, running)
    (other,) = (run for run in running if run is not frozen)
    with open_archive(archive) as opened, opened.transaction():
        # nobody else is within a transaction now: frozen there, it would keep the file locked
        frozen.kill(signal.SIGSTOP)
        held = opened.row("SELECT min(first_id), max(last_id) FROM embed_leases WHERE pid = ?", (frozen.pid,))
        assert held is not None
        assert held[0], "it was frozen while it held nothing"
        # of what it is embedding just now, something is not true any more
        opened.db.execute("UPDATE messages SET subject = 'edited meanwhile' WHERE id = ?", (held[0],))
    assert other.wait() == 0, other.errors.read_text()
    before = chunk_ids(archive)
    assert len(before) == COUNT
    frozen.kill(signal.SIGCONT)
    assert frozen.wait() == 0, frozen.errors.read_text()
    assert chunk_ids(archive) == before, "what it had embedded while frozen was written"
    assert "edited meanwhile" in str(scalar(archive, "SELECT text FROM message_texts WHERE message_id = ?", held[0]))
    assert scalar(archive, "SELECT max(attempts) FROM embed_outcomes") == 1
    assert scalar(archive, "SELECT count(*) FROM embed_leases") == 0
    assert states(archive) == {1: "active"}
    check_invariants(archive)
    check_coverage(archive)


def chunk_ids(path: Path) -> list[tuple[object, ...]]:
    with open_archive_readonly(path) as opened:
        return opened.rows("SELECT id, message_id, text_hash FROM chunks ORDER BY id")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("bad", [1, 37, COUNT])
def test_a_message_that_kills_its_worker_is_found_and_everything_else_embedded(
    bad: int, processes: int, runners: Runners, archive: Path, log: Path
) -> None:
    options = ("--failpoint", f"build.prepare.{bad}", "--max-failed", 1, "--log", log)
    running = [runners.start("build", archive, *options) for _ in range(processes)]
    deaths = 0
    while running:
        run = running.pop(0)
        exit_code = run.wait()
        assert exit_code in (0, -signal.SIGKILL), run.errors.read_text()
        check_invariants(archive)
        if exit_code:
            deaths += 1
            assert deaths <= 15, "it is not found"
            running.append(runners.start("build", archive, *options))
    assert deaths >= 4, "it was given up too early to be sure"
    with open_archive_readonly(archive) as opened:
        failed = opened.rows("SELECT message_id, reason FROM embed_outcomes WHERE outcome = 'failed'")
        assert [row[0] for row in failed] == [bad]
        assert "processes died" in failed[0][1]
        assert opened.scalar("SELECT count(*) FROM embed_outcomes WHERE outcome = 'embedded'") == COUNT - 1
    check_coverage(archive)
    # its cause is gone: asked for, it is embedded
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = 'mended' WHERE id = ?", (bad,))
    runners.succeed("build", archive)
    assert scalar(archive, "SELECT count(*) FROM embed_outcomes WHERE outcome = 'embedded'") == COUNT
    check_invariants(archive)


# The command itself, with the real model.


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mbox(tmp_path_factory.mktemp("mail") / "box", many(400))


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children_of(child)]
    return found


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]


def start_workers(archive: Path, workers: int) -> tuple[subprocess.Popen[str], list[int]]:
    """Wait until all are at work. Returns the command, and its children: the other workers, and a model for each."""
    process = start("embeddings", "build", "--workers", str(workers), "--rate-limit", "40", archive=archive)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        children = children_of(process.pid)
        at_work = scalar(archive, "SELECT count(DISTINCT owner) FROM embed_leases WHERE owner IS NOT NULL")
        if at_work == workers and len(children) == 2 * workers - 1:
            return process, children
        time.sleep(0.05)
    process.kill()
    _, errors = process.communicate()
    raise AssertionError(f"they never came to work: {errors}")


def test_workers_of_one_command_are_shown_paused_and_never_left_behind(
    box: Path, tmp_path: Path, model: ModelFile
) -> None:
    archive = tmp_path / "a.db"
    vaultembed_json("import", box, archive=archive)
    vaultembed_json("embeddings", "build", "--limit", "10", archive=archive, exit_code=3)

    process, children = start_workers(archive, 2)
    shown = vaultembed_json("embeddings", archive=archive)["generations"][0]["workers"]
    assert len({worker["pid"] for worker in shown}) == 2
    assert process.pid in {worker["pid"] for worker in shown}
    assert not any(worker["is_gone"] for worker in shown)
    process.send_signal(signal.SIGINT)
    check_paused(archive, process, 130, children)

    process, children = start_workers(archive, 2)
    process.send_signal(signal.SIGTERM)
    check_paused(archive, process, 143, children)

    process, children = start_workers(archive, 2)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while living(children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not living(children)
    check_invariants(archive)

    done = vaultembed_json("embeddings", "build", "--workers", "2", archive=archive)
    assert done["generation"]["coverage"] == {
        "live": 400,
        "embedded": 400,
        "blank": 0,
        "failed": 0,
        "missing": 0,
        "in_part": 0,
        "outside_scope": 0,
    }
    assert done["generation"]["state"] == "active"
    assert scalar(archive, "SELECT max(attempts) FROM embed_outcomes") == 1
    check_invariants(archive)
    check_coverage(archive)


def check_paused(archive: Path, process: subprocess.Popen[str], exit_code: int, children: list[int]) -> None:
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == exit_code, errors
    assert "Go on with: vaultembed embeddings build" in errors
    assert "Traceback" not in errors
    assert not living(children)
    assert scalar(archive, "SELECT count(*) FROM embed_leases") == 0
    check_invariants(archive)
    check_coverage(archive)


def test_what_a_worker_says_at_its_end_is_nothing_that_a_terminal_obeys(tmp_path: Path, model: ModelFile) -> None:
    folder = tmp_path / "\x1b[2J\nmail"
    folder.mkdir()
    order = {"archive": str(folder), "model": json.loads(pack_model(model)), "workers": 2, "limits": {}}
    done = subprocess.run(
        python_command("vaultembed.embeddings.helpers"),
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("A worker stopped: ")
    assert "\\u{1b}[2J mail is a folder" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("limit", ["--limit=4", "--max-time=2s", "--limit=9999"])
def test_a_helper_that_comes_to_its_end_by_itself_says_nothing(tmp_path: Path, limit: str) -> None:
    archive = tmp_path / "a.db"
    vaultembed_json("import", mbox(tmp_path / "box", many(200)), archive=archive)
    done = vaultembed_process("embeddings", "build", "--workers", "3", limit, archive=archive)
    assert done.returncode in {"--limit=4": (3,), "--max-time=2s": (0, 3), "--limit=9999": (0,)}[limit], done.stderr
    assert "Fatal" not in done.stderr, "Python aborts where a thread still holds the lock of standard input"


def test_a_limit_a_rate_and_a_time_are_kept_and_are_pauses(tmp_path: Path, model: ModelFile) -> None:
    archive = tmp_path / "a.db"
    vaultembed_json("import", mbox(tmp_path / "box", many(200)), archive=archive)

    paused = vaultembed_json("embeddings", "build", "--limit", "30", archive=archive, exit_code=3)
    assert paused["run"]["embedded"] == paused["generation"]["coverage"]["embedded"] == 30
    paused = vaultembed_json("embeddings", "build", "--limit", "31", "--workers", "2", archive=archive, exit_code=3)
    assert paused["run"]["embedded"] == 31
    found = vaultembed_json("stats", archive=archive)["vector_search"]["building_generation"]
    assert found["last_build"]["outcome"] == "limited"
    assert paused["generation"]["coverage"]["embedded"] == 61

    paused = vaultembed_json(
        "embeddings", "build", "--limit", "40", "--rate-limit", "20/s", archive=archive, exit_code=3
    )
    assert paused["run"]["embedded"] == 40
    assert 1.45 <= paused["run"]["seconds"] <= 6

    began = time.monotonic()
    process = vaultembed("embeddings", "build", "--rate-limit", "10/s", "--max-time", "2s", archive=archive)
    assert process.returncode == 3, process.stderr
    assert "Go on with: vaultembed embeddings build" in process.stderr
    assert time.monotonic() - began < 12

    done = vaultembed_json("embeddings", "build", archive=archive)
    assert done["generation"]["coverage"]["missing"] == 0
    again = vaultembed_json("embeddings", "build", archive=archive)
    assert again["run"]["embedded"] == 0
    assert not again["interrupted"]
    check_invariants(archive)
