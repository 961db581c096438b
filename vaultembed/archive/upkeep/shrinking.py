"""Gives free space in the file back to the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import apsw

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.leases import list_workers
from vaultembed.archive.generations.records import list_generations
from vaultembed.archive.vectors.coarse_table import has_vec_table, is_misplaced, rebuild
from vaultembed.failpoints import failpoint

SCATTERED: Final = 0.05
"""Of the file may be free inside of pages before it is worth writing it anew."""
_STEP_PAGES: Final = 2_000
"""16 MB, in one transaction."""
_ROOM: Final = 2.2
"""VACUUM writes the file a second time beside it, and from there into the write-ahead log."""

Left = Literal["no-room", "busy", "reader"]


@dataclass(frozen=True, slots=True)
class Shrunk:
    bytes_before: int
    bytes_after: int
    rewritten: bool
    scattered: int
    """Bytes inside of pages that only writing the file anew would free; 0 where that was done."""
    left: Left | None
    """Why something could not be given back: no room to write the file anew, another process writes, or one reads."""


def shrink(
    archive: Archive, should_stop: Callable[[], bool] = lambda: False, *, scattered_share: float = SCATTERED
) -> Shrunk:
    """Give whole free pages back to the disk; where at least `scattered_share` of the file is free inside of pages,
    write it anew. Needs `load_vec`."""
    before = file_bytes(archive)
    scattered = scattered_bytes(archive)
    rewritten = False
    left: Left | None = None
    if scattered >= scattered_share * (before - unused_bytes(archive)) and not should_stop():
        left = _rewrite(archive)
        rewritten = left is None
        scattered = 0 if rewritten else scattered
    else:
        scattered = 0
    while archive.db.pragma("freelist_count") and not rewritten and not should_stop():
        free = archive.db.pragma("freelist_count")
        archive.db.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()
        failpoint("prune.step")
        if archive.db.pragma("freelist_count") >= free:
            break  # made by something that did not ask for auto_vacuum
    if not empty_log(archive):
        left = left or "reader"
    return Shrunk(before, file_bytes(archive), rewritten, scattered, left)


def file_bytes(archive: Archive) -> int:
    """Without the write-ahead log."""
    return int(archive.db.pragma("page_count")) * int(archive.db.pragma("page_size"))


def unused_bytes(archive: Archive) -> int:
    """In whole pages."""
    return int(archive.db.pragma("freelist_count")) * int(archive.db.pragma("page_size"))


def scattered_bytes(archive: Archive) -> int:
    """Free inside of pages, beyond what rows of that size leave unused anyway: about one row a page, and half of the
    last page of a table. Reads the whole file."""
    page = int(archive.db.pragma("page_size"))
    return sum(
        max(0, unused - payload * pages // max(cells, 1) - page // 2)
        for unused, payload, cells, pages in archive.rows(
            "SELECT sum(unused), sum(payload), sum(ncell), count(*) FROM dbstat"
            " WHERE pagetype = 'leaf' GROUP BY name HAVING count(*) > 1"
        )
    )


def empty_log(archive: Archive) -> bool:
    """Move all of the write-ahead log into the file; False where a reader keeps that from being done."""
    row = archive.row("PRAGMA wal_checkpoint(TRUNCATE)")
    return row is not None and row[0] == 0


def _rewrite(archive: Archive) -> Left | None:
    """VACUUM. None: done."""
    generations = [g.id for g in list_generations(archive) if has_vec_table(archive, g.id)]
    if any(not worker.is_gone for generation in generations for worker in list_workers(archive, generation)):
        return "busy"  # it would wait so long for the file that it gave up
    needed = _ROOM * (file_bytes(archive) - unused_bytes(archive))
    if shutil.disk_usage(archive.path.parent).free < needed:
        return "no-room"
    try:
        archive.db.limit(apsw.SQLITE_LIMIT_ATTACHED, 1)  # the file that it makes on the way
        archive.db.execute("VACUUM")
    except apsw.BusyError:
        return "busy"
    except apsw.FullError:
        return "no-room"  # where temporary files lie; the archive is as it was
    failpoint("prune.step")
    for generation in generations:
        if is_misplaced(archive, generation):
            rebuild(archive, generation)
    return None
