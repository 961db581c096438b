"""Reads a generation whole, to see whether it is sound."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from vaultembed.archive.database import Archive


@dataclass(frozen=True, slots=True)
class StoredVector:
    chunk_id: int
    embedding: bytes
    checksum: int


def vectors_of_generation(archive: Archive, generation_id: int) -> Iterator[StoredVector]:
    """Every vector, in the order of ids; streams."""
    for row in archive.db.execute(
        "SELECT v.chunk_id, v.embedding, v.checksum FROM vectors v CROSS JOIN chunks c ON c.id = v.chunk_id"
        " WHERE c.generation_id = ? ORDER BY v.chunk_id",
        (generation_id,),
    ):
        yield StoredVector(*row)


def read_sample(archive: Archive, generation_id: int, count: int, pick: random.Random) -> list[tuple[str, bytes]]:
    """Text and stored vector of chunks picked at random, of messages whose outcome is current and whose stored text is
    the one that was embedded."""
    # by vec0's table of ids, which has the generation's own alone; those of `chunks` are anybody's
    rowids = f"vec_{generation_id}_rowids"
    low, high = archive.rows(f"SELECT (SELECT min(rowid) FROM {rowids}), (SELECT max(rowid) FROM {rowids})")[0]
    if low is None:
        return []
    sample: list[tuple[str, bytes]] = []
    seen: set[int] = set()
    for _ in range(count * 4):
        chunk = archive.scalar(
            f"SELECT rowid FROM {rowids} WHERE rowid >= ? ORDER BY rowid LIMIT 1", (pick.randint(low, high),)
        )
        if chunk in seen:
            continue
        seen.add(chunk)
        row = archive.row(
            "SELECT c.char_start, c.char_end, t.text, v.embedding FROM chunks c"
            " CROSS JOIN messages m ON m.id = c.message_id AND m.deleted_at IS NULL"
            " CROSS JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = c.message_id"
            "      AND o.content_rev = m.content_rev"
            " CROSS JOIN message_texts t ON t.message_id = c.message_id"
            "      AND t.preparation = substr(o.recipe, 1, instr(o.recipe, ':') - 1)"
            " CROSS JOIN vectors v ON v.chunk_id = c.id"
            " WHERE c.id = ? AND c.generation_id = ?",
            (chunk, generation_id),
        )
        if row is not None:
            sample.append((row[2][row[0] : row[1]], row[3]))
        if len(sample) == count:
            break
    return sample


def count_unsound(archive: Archive, generation_id: int) -> int:
    """Messages embedded without chunks, or with chunks and no embedded outcome; chunks without a vector, or without a
    row in the coarse index. Needs `load_vec`."""
    embedded = "SELECT 1 FROM embed_outcomes o WHERE o.generation_id = ?1 AND o.outcome = 'embedded'"
    chunks = "SELECT 1 FROM chunks c WHERE c.generation_id = ?1"
    # vec0's table of ids is an ordinary one: joining the virtual table itself would take a scan a chunk
    queries = (
        f"{embedded} AND NOT EXISTS ({chunks} AND c.message_id = o.message_id)",
        f"{chunks} AND NOT EXISTS ({embedded} AND o.message_id = c.message_id)",
        f"{chunks} AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk_id = c.id)",
        f"{chunks} AND NOT EXISTS (SELECT 1 FROM vec_{generation_id}_rowids r WHERE r.rowid = c.id)",
    )
    return sum(int(archive.scalar(f"SELECT count(*) FROM ({query})", (generation_id,))) for query in queries)
