"""kill -9 at named, random and all moments of real processes, then the same command again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.mail import mail, many, mbox
from tests.kit.processes import start, vaultembed, vaultembed_json, vaultembed_process
from tests.kit.recount import check_coverage, check_equal, states
from tests.kit.runner import Runners, times_embedded
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.models.model_file import ModelFile

pytestmark = pytest.mark.slow

MESSAGES = "SELECT id, rfc822_message_id, content_hash, conversation_id, subject, snippet FROM messages ORDER BY id"
BODIES = "SELECT * FROM message_bodies ORDER BY 1"
PLACES = "SELECT source_key, message_id, folder, flags, gone_at FROM message_sources ORDER BY 1"
MAIL = 502
CHUNKS = "SELECT generation_id, message_id, chunk_index, char_start, char_end, text_hash FROM chunks ORDER BY 1, 2, 3"
VECTORS = "SELECT v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id ORDER BY message_id, chunk_index"


def content(archive: Path, *queries: str) -> list[list[tuple[object, ...]]]:
    with open_archive_readonly(archive) as opened:
        return [opened.rows(query) for query in queries]


def vectors(archive: Path) -> np.ndarray:
    (found,) = content(archive, VECTORS)
    return np.array([np.frombuffer(row[0], "<f2") for row in found], np.float32)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = " ".join(f"sentence number {n} speaks of the harbour." for n in range(120))
    messages = [*many(300), mail("long", long), mail("", ""), *many(MAIL - 302, start=300)]
    return mbox(tmp_path_factory.mktemp("mail") / "box", messages)


@pytest.fixture(scope="module")
def whole(box: Path, tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    """An archive imported and built without interruption."""
    archive = tmp_path_factory.mktemp("whole") / "a.db"
    assert vaultembed("import", box, archive=archive).returncode == 0
    assert vaultembed("embeddings", "build", archive=archive).returncode == 0
    return archive


@pytest.mark.parametrize(
    "failpoint",
    [
        "import.before_transaction:2",
        "import.in_transaction:1",
        "import.in_transaction:400",
        "import.after_transaction:1",
    ],
)
def test_a_killed_import_ends_like_one_that_was_not(box: Path, whole: Path, tmp_path: Path, failpoint: str) -> None:
    archive = tmp_path / "a.db"
    assert vaultembed_process("import", box, archive=archive, failpoint=failpoint).returncode == -signal.SIGKILL
    assert vaultembed("import", box, archive=archive).returncode == 0
    assert content(archive, MESSAGES, BODIES, PLACES) == content(whole, MESSAGES, BODIES, PLACES)
    check_invariants(archive)


def test_parsers_that_are_killed_again_and_again_cost_nothing_but_time(box: Path, whole: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    assert vaultembed_process("import", box, archive=archive, failpoint="parser.message:9").returncode == 0
    assert content(archive, MESSAGES, BODIES, PLACES) == content(whole, MESSAGES, BODIES, PLACES)
    assert content(archive, "SELECT count(*) FROM problems") == [[(0,)]]
    check_invariants(archive)


def test_parsers_killed_at_any_moment_lose_nothing_and_add_nothing_twice(
    box: Path, whole: Path, tmp_path: Path
) -> None:
    chance = random.Random(16)
    for number in range(scaled(3)):
        archive = tmp_path / f"{number}.db"
        process = start("import", box, archive=archive)
        for _ in range(4):  # three kills over one message are held against it
            time.sleep(chance.uniform(0, 0.5))
            for child in children_of(process.pid)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        assert process.communicate()[1].startswith("Text search works now")
        assert content(archive, MESSAGES, BODIES, PLACES) == content(whole, MESSAGES, BODIES, PLACES)
        check_invariants(archive)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_import_ends_soon_when_it_is_told_to_and_leaves_no_parser(tmp_path: Path, number: signal.Signals) -> None:
    box = mbox(tmp_path / "box", many(4000))
    chance = random.Random(number)
    for turn in range(scaled(2)):
        archive = tmp_path / f"{turn}.db"
        process, children = start_parsing(box, archive)
        time.sleep(chance.uniform(0, 0.8))
        told = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=30)
        assert time.monotonic() - told < 2
        assert process.returncode in (0, 128 + number)
        wait_until_gone(children)  # an idle one ends when it finds that its import has
        check_invariants(archive)


def test_parsers_outlive_no_import_that_is_killed(tmp_path: Path) -> None:
    process, children = start_parsing(mbox(tmp_path / "box", many(4000)), tmp_path / "a.db")
    process.kill()
    process.communicate()
    wait_until_gone(children)


def start_parsing(box: Path, archive: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """An import that has a parser, and its parsers."""
    process = start("import", box, archive=archive)
    while not (children := children_of(process.pid)) and process.poll() is None:
        time.sleep(0.01)
    return process, children


def wait_until_gone(processes: list[int]) -> None:
    until = time.monotonic() + 20
    while any(map(is_running, processes)):
        assert time.monotonic() < until
        time.sleep(0.05)


def children_of(process: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for parent, pid in map(str.split, found.splitlines()) if int(parent) == process]


def is_running(process: int) -> bool:
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    ).stdout
    return bool(found.strip()) and "Z" not in found


def test_a_build_killed_at_each_of_its_points_ends_like_one_that_was_not(
    box: Path, whole: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "a.db"
    vaultembed("import", box, archive=archive)
    for failpoint in (
        "build.before_transaction:1",
        "build.in_transaction:40",
        "build.after_transaction:2",
        "build.in_transaction:150",
    ):
        assert (
            vaultembed_process("embeddings", "build", archive=archive, failpoint=failpoint).returncode
            == -signal.SIGKILL
        )
        check_invariants(archive)
    compare(archive, whole)


def test_a_build_killed_at_random_moments_ends_like_one_that_was_not(box: Path, whole: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    vaultembed("import", box, archive=archive)
    moments = random.Random(3)
    for _ in range(scaled(2)):
        process = start("embeddings", "build", archive=archive)
        time.sleep(moments.uniform(0.5, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        check_invariants(archive)
    compare(archive, whole)


BATCH = 16
LONG = 6
"""Chunks at most of one message here."""


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    found = Runners(tmp_path_factory.mktemp("runners"))
    yield found
    found.close()


def imported(path: Path, count: int) -> Path:
    with open_archive(path) as archive:
        for n in range(count):
            body = " ".join(
                f"sentence{n} number{k} speaks of harbour{k}." for k in range(n * n % 90 if n % 7 == 0 else 3)
            )
            add(archive, f"subject {n}" if n % 20 else "", body if n % 20 else "", message_id=str(n))
    return path


def check_killed(path: Path) -> None:
    check_invariants(path)
    check_coverage(path)
    assert content(path, "SELECT message_id, reason FROM embed_outcomes WHERE outcome = 'failed'") == [[]]


def test_one_build_killed_again_and_again_at_random_moments(tmp_path: Path, runners: Runners) -> None:
    kills = scaled(20)
    archive = imported(tmp_path / "a.db", 45 * kills)
    whole = Path(shutil.copy(archive, tmp_path / "whole.db"))
    runners.succeed("build", whole)
    log = tmp_path / "log"
    moments = random.Random(3)
    stamps = []
    for kill in range(1, kills + 1):
        goal = times_embedded(log).total() + moments.choice((0, 1, 1, moments.randrange(2 * BATCH)))
        run = runners.start("build", archive, "--batch", BATCH, "--milliseconds", 4, "--log", log)
        while times_embedded(log).total() < goal and run.poll() is None:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.1))
        run.kill()
        assert run.wait() == -signal.SIGKILL, f"it was complete before kill {kill}: {run.errors.read_text()}"
        check_killed(archive)
        stamps.append(stamped(archive))
        check_lost(archive, log, kill)
    assert len(set(stamps)) > kills / 5, "most kills came before anything was done"
    runners.succeed("build", archive, "--batch", BATCH, "--log", log)
    check_killed(archive)
    check_lost(archive, log, kills)
    assert states(archive) == {1: "active"}
    check_equal(archive, whole)


def check_lost(archive: Path, log: Path, kills: int) -> None:
    """Each kill cost one batch at most, in two halves that the last message of each may exceed."""
    times = times_embedded(log)
    ((kept,),) = content(archive, "SELECT count(DISTINCT text_hash) FROM chunks")[0]
    assert times.total() - int(kept) <= kills * (BATCH + 2 * LONG)  # type: ignore[call-overload]


def test_a_build_killed_at_every_25th_write_to_the_log_ends_like_one_that_was_not(
    tmp_path: Path, runners: Runners
) -> None:
    """At scale 1, at some of them."""
    base = imported(tmp_path / "base.db", 80)
    whole = Path(shutil.copy(base, tmp_path / "whole.db"))
    runners.succeed("build", whole)
    step = 25 * max(1, round(5 / scaled(1)))
    number = step
    while True:
        archive = Path(shutil.copy(base, tmp_path / f"{number}.db"))
        log = tmp_path / f"{number}.log"
        options = ("--batch", BATCH, "--log", log)
        exit_code = runners.run("build", archive, *options, "--disk", f"kill:wal:{number}")
        assert exit_code in (0, -signal.SIGKILL)
        if exit_code == 0:
            break
        check_killed(archive)
        check_lost(archive, log, 1)
        runners.succeed("build", archive, *options)
        check_killed(archive)
        check_lost(archive, log, 1)
        check_equal(archive, whole)
        archive.unlink()
        number += step
    assert number > 250, "the writes were not counted"


def compare(archive: Path, whole: Path) -> None:
    """The same command again finishes it, and it is as if nothing had happened."""
    data = vaultembed_json("embeddings", "build", archive=archive)
    coverage = data["generation"]["coverage"]
    assert coverage["live"] == coverage["embedded"] + coverage["blank"] == MAIL
    assert data["generation"]["state"] == "active"
    check_invariants(archive)
    assert content(archive, CHUNKS) == content(whole, CHUNKS)
    assert cosines(vectors(archive), vectors(whole)).min() > 0.99999
    again = vaultembed_json("embeddings", "build", archive=archive)
    assert again["run"]["embedded"] == 0


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_ctrl_c_pauses_a_build_within_seconds_and_says_how_to_go_on(
    box: Path, tmp_path: Path, model: ModelFile
) -> None:
    imported = tmp_path / "imported.db"
    vaultembed("import", box, archive=imported)
    for number, exit_code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        archive = Path(shutil.copy(imported, tmp_path / f"{exit_code}.db"))
        process = start("embeddings", "build", archive=archive)
        deadline = time.monotonic() + 60
        while not stamped(archive) and time.monotonic() < deadline:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == exit_code, errors
        assert time.monotonic() - began < 5
        assert "Go on with: vaultembed embeddings build" in errors
        check_invariants(archive)
        assert 0 < stamped(archive) < MAIL


def stamped(archive: Path) -> int:
    ((count,),) = content(archive, "SELECT count(*) FROM messages WHERE embed_gen IS NOT NULL")[0:1][0]
    return int(count)  # type: ignore[call-overload]


def test_no_process_is_left_behind_by_a_killed_build(box: Path, tmp_path: Path, model: ModelFile) -> None:
    archive = tmp_path / "a.db"
    vaultembed("import", box, archive=archive)
    process = start("embeddings", "build", archive=archive)
    while stamped(archive) == 0:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{child}/exe") for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{child}/exe") for child in children)
