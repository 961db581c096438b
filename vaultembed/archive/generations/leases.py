"""Leases: which worker embeds which range of ids, so that none is embedded twice and none is forgotten.

A lease only divides the work. That no vector is stamped that should not be is up to the batch's transaction, which
asks again whether the lease is still its worker's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.work import work_ids
from vaultembed.processes import Process, is_gone

LEASE_MESSAGES: Final = 64
"""About six seconds on a slow machine: what the others wait for when a worker is frozen, at the end of a build."""
EXPIRES_SECONDS: Final = 120
"""Without a heartbeat for so long, a worker is taken for dead; a live one beats every 15."""
SPLIT_AFTER: Final = 2
"""A range over which so many workers died one after the other is halved."""
GIVE_UP_AFTER: Final = 4
"""A single message is not tried again by itself after so many: one in company, the others over it alone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Who holds leases."""

    owner: str
    """Unlike any other worker's, ever."""
    process: Process
    run_id: int | None


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
    is_expired: bool

    @property
    def is_free(self) -> bool:
        return self.owner is None or self.is_expired or is_gone(self.process)


def claim(archive: Archive, generation_id: int, worker: Worker, after: int, most: int = LEASE_MESSAGES) -> Lease | None:
    """Lease the next work: what a dead worker left, first, else the first ids above `after` that nobody has.

    None: there is no work that is not leased to a live worker.
    """
    with archive.transaction():
        rows = _rows(archive, generation_id)
        for row in rows:
            if not row.is_free:
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
    archive.execute(
        "UPDATE embed_leases SET heartbeat_at = unixepoch(), expires_at = unixepoch() + ? WHERE owner = ?",
        (EXPIRES_SECONDS, worker.owner),
    )


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


def any_alive(archive: Archive, generation_id: int, but: Worker) -> bool:
    """Whether another worker holds a part of the generation and lives, as far as one can tell."""
    return any(row.owner != but.owner and not row.is_free for row in _rows(archive, generation_id))


def list_workers(archive: Archive, generation_id: int) -> list[WorkerStatus]:
    return [
        WorkerStatus(
            owner=row[0],
            host=row[1],
            pid=row[3],
            first_id=row[5],
            last_id=row[6],
            heartbeat_at=row[7],
            started_at=row[8],
            done=row[9] or 0,
            is_gone=is_gone(Process(row[1], row[2], row[3], row[4])),
        )
        for row in archive.rows(
            "SELECT l.owner, l.host, l.boot_id, l.pid, l.pid_started_at, min(l.first_id), max(l.last_id),"
            " max(l.heartbeat_at), r.started_at, r.embedded + r.blank + r.failed"
            " FROM embed_leases l LEFT JOIN embed_runs r ON r.id = l.run_id"
            " WHERE l.generation_id = ? AND l.owner IS NOT NULL GROUP BY l.owner ORDER BY 6",
            (generation_id,),
        )
    ]


def _rows(archive: Archive, generation_id: int) -> list[_Row]:
    return [
        _Row(row[0], row[1], row[2], row[3], Process(*row[4:8]), row[8], bool(row[9]))
        for row in archive.rows(
            "SELECT id, first_id, last_id, owner, host, boot_id, pid, pid_started_at, attempts,"
            " expires_at < unixepoch() FROM embed_leases WHERE generation_id = ? ORDER BY first_id",
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
