"""The coarse index of a generation as a table: making it anew from the vectors, and closing its holes.

sqlite-vec keeps rows in vec0 chunks of 1024 slots, and fills only the newest one: a slot that a deletion leaves in an
older one stays empty until that whole chunk is. So random deletions make the table grow for ever, and VACUUM does not
help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.archive.vector_format import to_bits
from vaultembed.failpoints import failpoint

TOLERATED: Final = 0.5
"""Of the slots may be holes before a build closes them: they cost a search the time of as many rows, but only about 3 %
of what the rows take in the file."""
_ALWAYS_TOLERATED: Final = 2_048
_WORTH_MOVING: Final = 0.9
"""A vec0 chunk that is fuller is left alone."""


def has_vec_table(archive: Archive, generation_id: int) -> bool:
    name = f"vec_{generation_id}"
    return archive.scalar("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)) is not None


def holes(archive: Archive, generation_id: int) -> tuple[int, int]:
    """(holes, all slots) of a generation's table, by the counters: cheap."""
    chunks = int(archive.scalar(f"SELECT count(*) FROM vec_{generation_id}_chunks"))
    size = int(archive.scalar(f"SELECT size FROM vec_{generation_id}_chunks LIMIT 1") or 0)
    rows = int(archive.scalar("SELECT chunks FROM embed_coverage WHERE generation_id = ?", (generation_id,)) or 0)
    return max(chunks * size - rows, 0), chunks * size


def close_holes(
    archive: Archive,
    generation_id: int,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    tolerated: float = TOLERATED,
    always: int = _ALWAYS_TOLERATED,
) -> int:
    """Move the rows of sparse vec0 chunks into the newest one, which frees those; returns how many. Needs `load_vec`.

    One vec0 chunk a transaction: a search never lacks a row, and a build beside this waits some 20 ms. Nothing is done
    while no more than the share `tolerated` of the slots, or `always` of them, are holes.
    """
    if _has_few_holes(archive, generation_id, tolerated, always):
        return 0
    empty, slots = holes(archive, generation_id)
    if empty <= max(always, tolerated * slots):
        return 0
    moved = 0
    # not the newest: the rows go there
    chunks = archive.rows(f"SELECT chunk_id FROM vec_{generation_id}_chunks ORDER BY chunk_id")[:-1]
    for (chunk_id,) in chunks:
        if should_stop():
            break
        with archive.transaction():
            rows = _rows_of_chunk(archive, generation_id, chunk_id)
            if rows is None:
                continue
            for row_id in rows:
                archive.execute(f"DELETE FROM vec_{generation_id} WHERE rowid = ?", (row_id,))
                _insert(archive, generation_id, row_id)
            moved += len(rows)
            failpoint("prune.step")
        failpoint("prune.step")
    return moved


def _has_few_holes(archive: Archive, generation_id: int, tolerated: float, always: int) -> bool:
    """True only where it is so even if every number from the oldest vec0 chunk's to the newest's were one.

    A few seeks, at each build: counting the vec0 chunks walks the table.
    """
    table = f"vec_{generation_id}_chunks"
    first, last, size, rows = archive.rows(
        f"SELECT (SELECT min(chunk_id) FROM {table}), (SELECT max(chunk_id) FROM {table}),"
        f" (SELECT size FROM {table} WHERE chunk_id = (SELECT max(chunk_id) FROM {table})),"
        " (SELECT chunks FROM embed_coverage WHERE generation_id = ?)",
        (generation_id,),
    )[0]
    if first is None:
        return True
    slots = (last - first + 1) * size
    return bool(slots - (rows or 0) <= max(always, tolerated * slots))


def rebuild(archive: Archive, generation_id: int) -> int:
    """Make a generation's table anew from its vectors, in one transaction; returns how many rows. Needs
    `load_vec_unchecked`: it may be there, missing or damaged."""
    dimension = int(archive.scalar("SELECT dimension FROM generations WHERE id = ?", (generation_id,)))
    with archive.transaction():
        archive.execute(f"DROP TABLE IF EXISTS vec_{generation_id}")
        archive.execute(vec_table_sql(generation_id, dimension))
        ids = archive.rows("SELECT id FROM chunks WHERE generation_id = ? ORDER BY id", (generation_id,))
        for (chunk_id,) in ids:
            _insert(archive, generation_id, chunk_id)
        archive.execute("DELETE FROM vec_orphans WHERE generation_id = ?", (generation_id,))
    return len(ids)


def is_misplaced(archive: Archive, generation_id: int) -> bool:
    """Whether blobs are not where sqlite-vec looks for them. It goes by the row number of a table without an INTEGER
    PRIMARY KEY, and VACUUM does not promise to keep that."""
    found = archive.scalar(f"SELECT 1 FROM vec_{generation_id}_vector_chunks00 WHERE _rowid_ <> rowid LIMIT 1")
    return found is not None


def _rows_of_chunk(archive: Archive, generation_id: int, chunk_id: int) -> list[int] | None:
    """None where the chunk is gone, or too full to be worth moving."""
    found = archive.row(f"SELECT validity, rowids FROM vec_{generation_id}_chunks WHERE chunk_id = ?", (chunk_id,))
    if found is None:
        return None
    valid = np.unpackbits(np.frombuffer(found[0], np.uint8), bitorder="little").astype(bool)
    if valid.mean() > _WORTH_MOVING:
        return None
    return [int(row_id) for row_id in np.frombuffer(found[1], "<i8")[valid]]


def _insert(archive: Archive, generation_id: int, chunk_id: int) -> None:
    """The row of a chunk, from its vector: the truth. Without one there is to be no row."""
    embedding = archive.scalar(
        "SELECT v.embedding FROM vectors v JOIN chunks c ON c.id = v.chunk_id WHERE c.id = ? AND c.generation_id = ?",
        (chunk_id, generation_id),
    )
    if embedding is not None:
        archive.execute(
            f"INSERT INTO vec_{generation_id}(rowid, embedding) VALUES (?, vec_bit(?))", (chunk_id, to_bits(embedding))
        )
