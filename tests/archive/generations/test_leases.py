from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations import leases
from vaultembed.archive.generations.leases import (
    EXPIRES_SECONDS,
    GIVE_UP_AFTER,
    Worker,
    advance,
    alive_beside,
    claim,
    dead_leases,
    heartbeat,
    held_by,
    list_workers,
    release,
)
from vaultembed.archive.generations.outcomes import list_failures
from vaultembed.archive.generations.records import coverage_of
from vaultembed.archive.generations.transitions import discard
from vaultembed.archive.generations.work import watermark_of
from vaultembed.embeddings.worker import new_worker
from vaultembed.processes import Process, is_gone, this_process


@pytest.fixture
def generation(archive: Archive) -> int:
    """With nothing embedded of 200 messages."""
    fill(archive, 200)
    return run(archive, should_stop=lambda: True).generation.id


def dead_worker() -> Worker:
    """A worker whose process was real, and is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = replace(this_process(), pid=process.pid)
    process.communicate(b"\n")
    return replace(new_worker(None), process=started)


def test_this_process_is_not_gone_and_another_with_its_number_is() -> None:
    here = this_process()
    assert not is_gone(here)
    assert is_gone(replace(here, started_at="another time"))
    assert is_gone(replace(here, started_at="another time", host="as it was called in another network"))


@pytest.mark.parametrize(
    "of_whom_nothing_is_certain",
    [
        {"boot_id": "another boot", "pid": 2**22 - 1},
        {"boot_id": "", "pid": 2**22 - 1},
        {"boot_id": f"{this_process().boot_id.partition(' ')[0]} pid:[1]", "pid": 2**22 - 1},
        {"started_at": ""},
        {"host": "elsewhere"},
    ],
    ids=["an earlier boot, or another machine", "no boot id", "another container", "no start time", "another name"],
)
def test_a_process_is_gone_only_where_that_is_certain(of_whom_nothing_is_certain: dict[str, Any]) -> None:
    assert not is_gone(replace(this_process(), **of_whom_nothing_is_certain))


def test_a_process_that_may_not_be_looked_at_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of another user, where /proc is mounted with hidepid."""

    def hidden(_path: Path, *_arguments: object) -> str:
        raise FileNotFoundError

    here = this_process()
    monkeypatch.setattr(Path, "read_text", hidden)
    assert not is_gone(here)
    assert is_gone(replace(here, pid=2**22 - 1))


def test_a_process_that_died_is_gone_before_its_parent_has_noticed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from vaultembed.processes import _started_at

    alive = replace(this_process(), pid=process.pid, started_at=_started_at(process.pid) or "")
    assert not is_gone(alive)
    process.kill()
    while not is_gone(alive):  # a zombie until the next line
        pass
    process.communicate()
    assert is_gone(alive)


def test_leases_of_two_workers_do_not_overlap_and_leave_nothing_out(archive: Archive, generation: int) -> None:
    one, two = new_worker(None), new_worker(None)
    taken = []
    for worker in (one, two, one, two, one, two):
        lease = claim(archive, generation, worker, after=0)
        if lease is not None:
            taken += lease.message_ids
    assert taken == list(range(1, 201))
    assert claim(archive, generation, one, after=0) is None
    assert alive_beside(archive, generation, one) is not None
    assert len(list_workers(archive, generation)) == 2


def test_a_lease_ends_before_that_of_another_which_is_further_on(archive: Archive, generation: int) -> None:
    further = claim(archive, generation, new_worker(None), after=50, most=10)
    before = claim(archive, generation, new_worker(None), after=0, most=200)
    assert further is not None
    assert before is not None
    assert (before.message_ids, further.message_ids) == (tuple(range(1, 51)), tuple(range(51, 61)))


def test_a_generation_that_is_discarded_leaves_no_lease_behind(archive: Archive, generation: int) -> None:
    assert claim(archive, generation, new_worker(None), after=0) is not None
    discard(archive, generation)
    assert list_workers(archive, generation) == []


def test_what_a_worker_gives_back_is_claimed_again(archive: Archive, generation: int) -> None:
    one, two = new_worker(None), new_worker(None)
    assert claim(archive, generation, one, after=0) is not None
    release(archive, one)
    lease = claim(archive, generation, two, after=0)
    assert lease is not None
    assert lease.message_ids[0] == 1
    assert lease.attempts == 0


def test_the_range_of_a_dead_process_is_taken_over_at_once(archive: Archive, generation: int) -> None:
    assert claim(archive, generation, dead_worker(), after=0) is not None
    two = new_worker(None)
    lease = claim(archive, generation, two, after=0)
    assert lease is not None
    assert lease.message_ids[0] == 1
    assert lease.attempts == 1


class Clock:
    """The observer's own, that only grows."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("vaultembed.archive.generations.leases.time.monotonic", found)
    return found


FAR_AWAY = Process("another-host", "boot", 1, "then")


@pytest.mark.parametrize("says", ["0", "unixepoch()", "unixepoch() + 1000000000"])
@pytest.mark.parametrize("process", [FAR_AWAY, this_process(), replace(this_process(), boot_id="")])
def test_a_worker_is_dead_once_its_heartbeat_has_stood_still_whatever_its_lease_says(
    archive: Archive, generation: int, clock: Clock, process: Process, says: str
) -> None:
    frozen, here = replace(new_worker(None), process=process), new_worker(None)
    lease = claim(archive, generation, frozen, after=0)
    assert lease is not None
    archive.db.execute(f"UPDATE embed_leases SET heartbeat_at = {says}, expires_at = {says}")
    beside = claim(archive, generation, here, after=0, most=10)
    assert beside is not None
    assert beside.message_ids[0] == lease.message_ids[-1] + 1
    clock.now += EXPIRES_SECONDS - 1
    awaited = alive_beside(archive, generation, here)
    assert awaited is not None
    assert awaited == (EXPIRES_SECONDS - 1, process)
    clock.now += 2
    assert alive_beside(archive, generation, here) is None
    taken = claim(archive, generation, here, after=0)
    assert taken is not None
    assert taken.message_ids == lease.message_ids
    assert held_by(archive, frozen, [lease.id]) == set()


@pytest.mark.parametrize("beats", [range(10**10, 0, -(10**9)), range(10**9, 10**9 + 9), [0, 2**40] * 6])
def test_a_worker_whose_clock_is_wrong_or_jumps_keeps_its_lease_while_its_heart_beats(
    archive: Archive, generation: int, clock: Clock, beats: Sequence[int]
) -> None:
    far, here = replace(new_worker(None), process=FAR_AWAY), new_worker(None)
    assert claim(archive, generation, far, after=0, most=200) is not None
    for beat in beats:
        archive.db.execute("UPDATE embed_leases SET heartbeat_at = ?, expires_at = 0", (beat,))
        assert claim(archive, generation, here, after=0) is None
        clock.now += EXPIRES_SECONDS - 1


@pytest.mark.parametrize("says", ["0", "unixepoch()", "unixepoch() + 1000000000"])
def test_a_heartbeat_changes_whatever_the_clock_says(archive: Archive, generation: int, says: str) -> None:
    worker = new_worker(None)
    assert claim(archive, generation, worker, after=0) is not None
    archive.db.execute(f"UPDATE embed_leases SET heartbeat_at = {says}")
    seen = [archive.scalar("SELECT heartbeat_at FROM embed_leases")]
    for _ in range(3):
        heartbeat(archive, worker)
        seen.append(archive.scalar("SELECT heartbeat_at FROM embed_leases"))
    assert len(set(seen)) == 4


def test_a_build_says_whom_it_waits_for(archive: Archive, generation: int, clock: Clock) -> None:
    far = replace(new_worker(None), process=FAR_AWAY)
    assert claim(archive, generation, far, after=0) is not None
    said: list[str] = []

    def wait(what: str) -> None:
        said.append(what)
        clock.now += 40

    assert run(archive, on_wait=wait).coverage.missing == 0
    assert said[1].startswith("waiting for worker 1 on another-host: last heartbeat 40 s ago")
    assert len(said) < 6
    check_invariants(archive.path)


def test_who_looks_once_goes_by_the_clock_generously(archive: Archive, generation: int) -> None:
    lease = claim(archive, generation, replace(new_worker(None), process=FAR_AWAY), after=0)
    assert lease is not None
    for hours, is_dead in ((-30, True), (-20, False), (0, False), (20, False), (30, True)):
        archive.db.execute("UPDATE embed_leases SET heartbeat_at = unixepoch() + ?", (hours * 3600,))
        assert [worker.is_gone for worker in list_workers(archive, generation)] == [is_dead]
        assert dead_leases(archive) == ([(lease.id,)] if is_dead else [])


def test_the_watermark_does_not_pass_an_open_lease(archive: Archive, generation: int) -> None:
    other = replace(new_worker(None), process=Process("another-host", "boot", 1, "then"))
    lease = claim(archive, generation, other, after=0)
    assert lease is not None
    stopped: list[int] = []

    def stop_when_idle() -> bool:
        stopped.append(coverage_of(archive, generation).missing)
        return stopped[-1] == len(lease.message_ids)

    run(archive, should_stop=stop_when_idle)
    assert coverage_of(archive, generation).missing == len(lease.message_ids)
    assert watermark_of(archive, generation) == lease.message_ids[0] - 1
    release(archive, other)
    assert run(archive).coverage.missing == 0
    check_invariants(archive.path)


def test_a_range_over_which_workers_die_is_halved_down_to_the_message(archive: Archive, generation: int) -> None:
    sizes = []
    while True:
        lease = claim(archive, generation, dead_worker(), after=0)
        assert lease is not None
        sizes.append(len(lease.message_ids))
        if lease.is_hopeless:
            break
    assert sizes[0] == leases.LEASE_MESSAGES
    assert sizes == sorted(sizes, reverse=True)
    assert lease.message_ids == (1,)
    assert lease.attempts == GIVE_UP_AFTER
    assert len(sizes) <= 12
    embedder = WordHashEmbedder()
    built = run(archive, embedder, max_failed=1)
    assert [failure.message_id for failure in list_failures(archive, generation)] == [1]
    assert "processes died" in list_failures(archive, generation)[0].reason
    assert built.coverage.embedded == 199
    check_invariants(archive.path)


def test_a_range_that_came_forward_is_under_no_suspicion(archive: Archive, generation: int) -> None:
    for _ in range(4):
        lease = claim(archive, generation, dead_worker(), after=0)
    assert lease is not None
    assert lease.attempts == 1
    assert len(lease.message_ids) < leases.LEASE_MESSAGES
    advance(archive, lease.id, lease.message_ids[0])
    again = claim(archive, generation, new_worker(None), after=0)
    assert again is not None
    assert again.attempts == 1


def test_a_build_of_a_worker_that_lost_its_lease_writes_nothing_of_it(archive: Archive, generation: int) -> None:
    class LosesLease(WordHashEmbedder):
        def embed(self, texts, role="document"):  # type: ignore[no-untyped-def]
            if any("word1 " in text for text in texts):
                with open_archive(archive.path) as other:
                    other.db.execute("UPDATE embed_leases SET owner = 'a thief', host = 'elsewhere'")
                    thieves.append(other.scalar("SELECT count(*) FROM embed_leases"))
            return super().embed(texts, role)

    thieves: list[int] = []
    paused = run(archive, LosesLease(), should_stop=lambda: bool(thieves))
    assert thieves
    stolen = archive.rows("SELECT first_id, last_id FROM embed_leases")
    assert stolen
    for first, last in stolen:
        assert (
            archive.rows("SELECT 1 FROM messages WHERE embed_gen IS NOT NULL AND id BETWEEN ? AND ?", (first, last))
            == []
        )
    assert paused.coverage.missing > 0
    archive.db.execute("UPDATE embed_leases SET owner = NULL")
    assert run(archive).coverage.missing == 0
    check_invariants(archive.path)


def test_a_build_leaves_no_lease_behind(archive: Archive) -> None:
    fill(archive, 100)
    run(archive)
    assert archive.rows("SELECT * FROM embed_leases") == []
