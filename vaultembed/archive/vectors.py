"""Vectors in the file: how they are written, and how the nearest are found.

Two representations of the same normalised vectors: float16 rows in `vectors` (the truth) and one bit a dimension in
`vec_<generation>` (the coarse index). A search takes as candidates the chunks within a Hamming distance of the query,
and scores those exactly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations import Generation

EXACT_CHUNKS: Final = 20_000
"""Up to so many rows, scoring all of them exactly is as fast as the coarse pass (about 30 ms)."""
CANDIDATES: Final = 2_000
"""Aimed at by the coarse pass; recall@10 is 0.997 with 800 at 10^6."""
SAMPLE: Final = 2_048
_VEC0_MOST: Final = 4_096  # vec0 rejects a larger k

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbour:
    message_id: int
    chunk_id: int
    char_start: int
    char_end: int
    score: float
    """Cosine similarity."""


def to_rows(vectors: Floats) -> list[bytes]:
    """(n, dimension) normalised float32 → float16 bytes, as stored."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def to_bits(embedding: bytes) -> bytes:
    """The signs of a stored embedding."""
    return np.packbits(np.frombuffer(embedding, "<f2") > 0, bitorder="little").tobytes()


# I5: only what is true now. A chunk counts while its message is live and its outcome is of the message's present text.
# CROSS JOIN keeps the order: the planner would rather begin with all outcomes of the generation, ten seconds a query.
_CURRENT: Final = """
CROSS JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = m.id
     AND o.content_rev = m.content_rev AND o.outcome = 'embedded'
CROSS JOIN vectors v ON v.chunk_id = c.id
WHERE m.deleted_at IS NULL AND ({condition})
"""
# begins with the messages that pass the filter
_OF_MESSAGES: Final = "FROM messages m CROSS JOIN chunks c ON c.generation_id = ? AND c.message_id = m.id" + _CURRENT
# begins with the candidates of the coarse pass
_OF_CHUNKS: Final = (
    "FROM json_each(?) near CROSS JOIN chunks c ON c.id = near.value CROSS JOIN messages m ON m.id = c.message_id"
    + _CURRENT
)


def nearest_messages(
    archive: Archive, generation: Generation, query: Floats, limit: int, only: Filter
) -> list[Neighbour]:
    """The best chunk of each of the `limit` nearest messages, best first. Needs `load_vec`."""
    in_archive = int(archive.scalar("SELECT coalesce(max(chunk_id), 0) FROM vectors"))
    if in_archive <= EXACT_CHUNKS:
        return _best_of_messages(_exact(archive, generation, query, only), limit)
    matching = None
    if not only.is_empty:
        matching = int(
            archive.scalar(
                f"SELECT count(*) FROM (SELECT 1 FROM messages m WHERE m.deleted_at IS NULL AND ({only.sql}) LIMIT ?)",
                (*only.bindings, EXACT_CHUNKS),
            )
        )
        if matching < EXACT_CHUNKS:
            return _best_of_messages(_exact(archive, generation, query, only), limit)
    found = _best_of_messages(_coarse(archive, generation, query, only, in_archive, limit), limit)
    if len(found) < limit and matching is not None:
        # the filter took most of the candidates: what it leaves must be looked at itself
        found = _best_of_messages(_exact(archive, generation, query, only), limit)
    return found


def _exact(archive: Archive, generation: Generation, query: Floats, only: Filter) -> list[Neighbour]:
    return _score(archive, _OF_MESSAGES.format(condition=only.sql), (generation.id, *only.bindings), query)


def _coarse(
    archive: Archive, generation: Generation, query: Floats, only: Filter, in_archive: int, limit: int
) -> list[Neighbour]:
    bits = np.packbits(query > 0, bitorder="little").tobytes()
    distances = _sampled_distances(archive, generation, bits)
    if not len(distances):
        return []
    share = max(max(CANDIDATES, 4 * limit) / in_archive, 4 / len(distances))
    threshold = int(np.sort(distances)[min(int(share * len(distances)), len(distances) - 1)])
    while True:
        # "ORDER BY distance LIMIT k" costs O(k·N); a bound on the distance costs one pass
        ids = [
            row[0]
            for row in archive.rows(
                f"SELECT rowid FROM vec_{generation.id} WHERE embedding MATCH vec_bit(?) AND k = ? AND distance <= ?",
                (bits, _VEC0_MOST, threshold),
            )
        ]
        if len(ids) >= CANDIDATES // 4 or threshold >= generation.dimension:
            break
        threshold += max(2, generation.dimension // 64)
    return _score(archive, _OF_CHUNKS.format(condition=only.sql), (json.dumps(ids), *only.bindings), query)


def _sampled_distances(archive: Archive, generation: Generation, bits: bytes) -> npt.NDArray[np.int64]:
    """Hamming distances of a random sample of the generation's chunks to the query: where to put the threshold."""
    # two look-ups: asked for both at once, SQLite walks the table
    low, high = archive.rows("SELECT (SELECT min(chunk_id) FROM vectors), (SELECT max(chunk_id) FROM vectors)")[0]
    ids = random.Random(0).choices(range(low, high + 1), k=SAMPLE)  # noqa: S311 (a sample, not a secret)
    rows = archive.rows(
        "SELECT v.embedding FROM json_each(?) pick CROSS JOIN vectors v ON v.chunk_id = pick.value"
        " CROSS JOIN chunks c ON c.id = v.chunk_id WHERE c.generation_id = ?",
        (json.dumps(ids), generation.id),
    )
    if not rows:
        return np.zeros(0, np.int64)
    signs = np.frombuffer(b"".join(row[0] for row in rows), "<f2").reshape(len(rows), -1) > 0
    packed = np.packbits(signs, axis=1, bitorder="little")
    distances: npt.NDArray[np.int64] = np.bitwise_count(packed ^ np.frombuffer(bits, np.uint8)).sum(
        axis=1, dtype=np.int64
    )
    return distances


def _score(archive: Archive, sql: str, bindings: Sequence[Any], query: Floats) -> list[Neighbour]:
    rows = archive.rows(f"SELECT c.message_id, c.id, c.char_start, c.char_end, v.embedding {sql}", bindings)
    if not rows:
        return []
    matrix = np.frombuffer(b"".join(row[4] for row in rows), "<f2").reshape(len(rows), -1)
    scores = matrix.astype(np.float32) @ query
    order = np.argsort(-scores, kind="stable")
    found = []
    for i in order:
        message_id, chunk_id, char_start, char_end, _ = rows[i]
        found.append(Neighbour(message_id, chunk_id, char_start, char_end, float(scores[i])))
    return found


def _best_of_messages(neighbours: list[Neighbour], limit: int) -> list[Neighbour]:
    best: dict[int, Neighbour] = {}
    for neighbour in neighbours:
        if neighbour.message_id not in best:
            best[neighbour.message_id] = neighbour
            if len(best) == limit:
                break
    return list(best.values())
