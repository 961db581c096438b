"""Leases: which worker embeds which range of ids, so that none is embedded twice and none is forgotten.

A lease only divides the work. That no vector is stamped that should not be is up to the batch's transaction, which
asks again whether the lease is still its worker's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import count_of, number_of, text_of, word_of
from vaultembed.archive.generations.work import work_ids
from vaultembed.processes import Process, is_gone

LEASE_MESSAGES: Final = 64
"""About six seconds on a slow machine: what the others wait for when a worker is frozen, at the end of a build."""
EXPIRES_SECONDS: Final = 120
"""A worker whose heartbeat has stood still for so long is taken for dead; a live one beats every 15."""
SPLIT_AFTER: Final = 2
"""A range over which so many workers died one after the other is halved."""
GIVE_UP_AFTER: Final = 4
"""A single message is not tried again by itself after so many: one in company, the others over it alone."""


class Watch:
    """When a worker is dead, as one observer sees it: at once where its process is gone for certain, else when its
    heartbeat has stood still by the observer's own clock. What a lease says of the time is by the clock of whoever
    wrote it, which may be a year off, and is only ever compared for equality."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        """Of each owner, the last heartbeat, and since when it has been the last."""

    def is_dead(self, owner: str, process: Process, heartbeat: int) -> bool:
        return self.silence(owner, heartbeat) >= EXPIRES_SECONDS or is_gone(process)

    def silence(self, owner: str, heartbeat: int) -> float:
        """For how many seconds the heartbeat has been seen to stand still."""
        now = time.monotonic()
        last, since = self._seen.get(owner, (None, now))
        if last != heartbeat:
            since = now
        self._seen[owner] = (heartbeat, since)
        return now - since


class Glance(Watch):
    """Of who looks once, and sees nothing change: goes by the clocks, and grants them a day of difference."""

    def silence(self, _owner: str, heartbeat: int) -> float:
        return abs(time.time() - heartbeat) - 24 * 3600


@dataclass(frozen=True, slots=True)
class Worker:
    """Who holds leases."""

    owner: str
    """Unlike any other worker's, ever."""
    process: Process
    run_id: int | None
    watch: Watch = field(default_factory=Watch, compare=False)
    """What it has seen of the others."""


@dataclass(frozen=True, slots=True)
class Lease:
    id: int
    message_ids: tuple[int, ...]
    """The work in it, in order."""
    attempts: int
    """Workers that died over it."""

    @property
    def is_hopeless(self) -> bool:
        return len(self.message_ids) == 1 and self.attempts >= GIVE_UP_AFTER


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as others see it."""

    owner: str
    host: str
    pid: int
    first_id: int
    last_id: int
    heartbeat_at: int
    started_at: int | None
    done: int
    """Messages of its run so far."""
    is_gone: bool


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    first_id: int
    last_id: int
    owner: str | None
    process: Process
    attempts: int
    heartbeat: int
    """The latest of its owner."""

    def is_free(self, watch: Watch) -> bool:
        return self.owner is None or watch.is_dead(self.owner, self.process, self.heartbeat)


def claim(archive: Archive, generation_id: int, worker: Worker, after: int, most: int = LEASE_MESSAGES) -> Lease | None:
    """Lease the next work: what a dead worker left, first, else the first ids above `after` that nobody has.

    None: there is no work that is not leased to a live worker.
    """
    with archive.transaction():
        rows = _rows(archive, generation_id)
        for row in rows:
            if not row.is_free(worker.watch):
                continue
            lease = _take_over(archive, generation_id, row, worker, most)
            if lease is not None:
                return lease
        held = [row for row in _rows(archive, generation_id) if row.owner is not None]
        found = _first_unleased(archive, generation_id, after, held, most)
        if not found:
            return None
        lease_id = archive.insert(
            "INSERT INTO embed_leases(generation_id, first_id, last_id, owner, run_id, host, boot_id, pid,"
            " pid_started_at, heartbeat_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, unixepoch(), unixepoch() + ?) RETURNING id",
            (generation_id, found[0], found[-1], worker.owner, worker.run_id, *_identity(worker), EXPIRES_SECONDS),
        )
        return Lease(lease_id, tuple(found), 0)


def heartbeat(archive: Archive, worker: Worker) -> None:
    """Changes it for certain: a clock may stand still, or be set back."""
    archive.execute(
        "UPDATE embed_leases SET heartbeat_at = max(heartbeat_at + 1, unixepoch()), expires_at = unixepoch() + ?"
        " WHERE owner = ?",
        (EXPIRES_SECONDS, worker.owner),
    )


def absolve(archive: Archive, lease_id: int, worker: Worker) -> None:
    """No message of it kills whoever works on it."""
    archive.execute("UPDATE embed_leases SET attempts = 0 WHERE id = ? AND owner = ?", (lease_id, worker.owner))


def release(archive: Archive, worker: Worker) -> None:
    """Give back what is not done; the work itself is unstamped and will be found again."""
    archive.execute("DELETE FROM embed_leases WHERE owner = ?", (worker.owner,))


def held_by(archive: Archive, worker: Worker, lease_ids: Iterable[int]) -> set[int]:
    """Those of the leases that are still the worker's. Asked in the batch's transaction."""
    return {
        lease_id
        for lease_id in lease_ids
        if archive.scalar("SELECT owner FROM embed_leases WHERE id = ?", (lease_id,)) == worker.owner
    }


def advance(archive: Archive, lease_id: int, last_done: int) -> None:
    """What is written of a lease is done with; it ends with its last message. In the batch's transaction."""
    archive.execute("DELETE FROM embed_leases WHERE id = ? AND last_id <= ?", (lease_id, last_done))
    archive.execute(
        "UPDATE embed_leases SET first_id = ?, attempts = 0, heartbeat_at = unixepoch(), expires_at = unixepoch() + ?"
        " WHERE id = ?",
        (last_done + 1, EXPIRES_SECONDS, lease_id),
    )


def alive_beside(archive: Archive, generation_id: int, worker: Worker) -> tuple[float, Process] | None:
    """Of the others that hold a part of the generation and live, as far as one can tell, the one that has been silent
    for longest, and for how many seconds."""
    alive = [
        (worker.watch.silence(row.owner, row.heartbeat), row.process)
        for row in _rows(archive, generation_id)
        if row.owner not in (None, worker.owner) and not row.is_free(worker.watch)
    ]
    return max(alive, key=lambda one: one[0], default=None)


def dead_leases(archive: Archive) -> list[tuple[int]]:
    """Of all generations."""
    watch = Glance()
    return [(row.id,) for row in _rows(archive) if row.owner is not None and row.is_free(watch)]


def list_workers(archive: Archive, generation_id: int) -> list[WorkerStatus]:
    watch = Glance()
    return [
        WorkerStatus(
            owner=row[0],
            host=row[1],
            pid=row[3],
            first_id=row[5],
            last_id=row[6],
            heartbeat_at=row[7],
            started_at=row[8],
            done=row[9],
            is_gone=watch.is_dead(row[0], Process(*row[1:5]), row[7]),
        )
        for row in archive.rows(
            f"SELECT {text_of('l.owner')}, {word_of('l.host')}, {word_of('l.boot_id')}, {count_of('l.pid')},"
            f" {word_of('l.pid_started_at')}, min({count_of('l.first_id')}), max({count_of('l.last_id')}),"
            f" max({count_of('l.heartbeat_at')}), {number_of('r.started_at')},"
            f" {count_of('r.embedded')} + {count_of('r.blank')} + {count_of('r.failed')}"
            " FROM embed_leases l LEFT JOIN embed_runs r ON r.id = l.run_id"
            " WHERE l.generation_id = ? AND l.owner IS NOT NULL GROUP BY l.owner ORDER BY 6",
            (generation_id,),
        )
    ]


def _rows(archive: Archive, generation_id: int | None = None) -> list[_Row]:
    """None: of all generations."""
    return [
        _Row(row[0], row[1], row[2], row[3], Process(*row[4:8]), *row[8:])
        for row in archive.rows(
            f"SELECT id, {count_of('first_id')}, {count_of('last_id')}, {text_of('owner')}, {word_of('host')},"
            f" {word_of('boot_id')}, {count_of('pid')}, {word_of('pid_started_at')}, {count_of('attempts')},"
            f" max({count_of('heartbeat_at')}) OVER (PARTITION BY owner) FROM embed_leases"
            " WHERE generation_id = coalesce(?, generation_id) ORDER BY first_id",
            (generation_id,),
        )
    ]


def _take_over(archive: Archive, generation_id: int, row: _Row, worker: Worker, most: int) -> Lease | None:
    ids = work_ids(archive, generation_id, row.first_id - 1, most + 1, last=row.last_id)
    if not ids:  # done, deleted or edited meanwhile: what there is elsewhere is found as any work is
        archive.execute("DELETE FROM embed_leases WHERE id = ?", (row.id,))
        return None
    attempts = row.attempts + (row.owner is not None)
    if len(ids) > most:
        ids = ids[:most]
    if attempts >= SPLIT_AFTER and len(ids) > 1:
        ids = ids[: (len(ids) + 1) // 2]
        attempts = 1  # of either half it is not known whether anybody died over it
    if ids[-1] < row.last_id:
        archive.execute(
            "INSERT INTO embed_leases(generation_id, first_id, last_id, owner, host, boot_id, pid, pid_started_at,"
            " attempts, heartbeat_at, expires_at) SELECT generation_id, ?, last_id, NULL, host, boot_id, pid,"
            " pid_started_at, ?, heartbeat_at, expires_at FROM embed_leases WHERE id = ?",
            (ids[-1] + 1, attempts, row.id),
        )
    archive.execute(
        "UPDATE embed_leases SET first_id = ?, last_id = ?, owner = ?, run_id = ?, host = ?, boot_id = ?, pid = ?,"
        " pid_started_at = ?, attempts = ?, heartbeat_at = unixepoch(), expires_at = unixepoch() + ? WHERE id = ?",
        (ids[0], ids[-1], worker.owner, worker.run_id, *_identity(worker), attempts, EXPIRES_SECONDS, row.id),
    )
    return Lease(row.id, tuple(ids), attempts)


def _first_unleased(archive: Archive, generation_id: int, after: int, held: list[_Row], most: int) -> list[int]:
    while True:
        ids = work_ids(archive, generation_id, after, most)
        if not ids:
            return []
        inside = next((row for row in held if row.first_id <= ids[0] <= row.last_id), None)
        if inside is None:
            ahead = min((row.first_id for row in held if row.first_id > ids[0]), default=None)
            return ids if ahead is None else [i for i in ids if i < ahead]
        after = inside.last_id


def _identity(worker: Worker) -> tuple[str, str, int, str]:
    process = worker.process
    return (process.host, process.boot_id, process.pid, process.started_at)
