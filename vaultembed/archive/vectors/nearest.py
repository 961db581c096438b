"""Finds the nearest vectors in the file.

Two representations of the same normalised vectors: float16 rows in `vectors` (the truth) and one bit a dimension in
`vec_<generation>` (the coarse index). A search takes as candidates the chunks within a Hamming distance of the query,
and scores those exactly. A process that answers many searches keeps the coarse index in memory (`kept_bits`).
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.errors import UNREADABLE
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.coverage import Rest
from vaultembed.archive.generations.records import Generation, count_chunks
from vaultembed.archive.horizon import HORIZON
from vaultembed.archive.vector_format import NORM_TOLERANCE, Floats
from vaultembed.archive.vectors.coarse_in_memory import CANDIDATES, KeptBits
from vaultembed.errors import DamageError, NotReadyError

EXACT_CHUNKS: Final = 20_000
"""Up to so many rows, scoring all of them exactly is as fast as the coarse pass (about 30 ms)."""
SAMPLE: Final = 2_048
_UNRELATED: Final = 128
"""Chunks to draw pairs of."""
_IN_DOUBT: Final = 10
_MOST_UNRELATED: Final = 0.8
"""Where most of the messages are copies of one, there is no scale above."""
_SMALL_REST: Final = 0.2
"""Of a rest below this share too few candidates would be left by those that another generation covers."""
_BLOCK: Final = 8_192
"""Rows scored at a time: all of 10^6 would take two gigabytes."""
_VEC0_MOST: Final = 4_096  # vec0 rejects a larger k
_NO_NEIGHBOUR: Final = -2.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    message_id: int
    chunk_id: int
    char_start: int
    char_end: int
    score: float
    """Cosine similarity."""


# I5: only what is true now. A chunk counts while its message is live and its outcome is of the message's present text.
# CROSS JOIN keeps the order: the planner would rather begin with all outcomes of the generation, ten seconds a query.
_CURRENT: Final = """
CROSS JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = m.id
     AND o.content_rev = m.content_rev AND o.outcome = 'embedded'
CROSS JOIN vectors v ON v.chunk_id = c.id AND length(v.embedding) = {bytes}
WHERE {live} AND ({condition})
"""
# begins with the messages that pass the filter
_OF_MESSAGES: Final = "FROM messages m CROSS JOIN chunks c ON c.generation_id = ? AND c.message_id = m.id" + _CURRENT
# begins with the chunks of a small generation, however many messages there are
_OF_GENERATION: Final = "FROM chunks c CROSS JOIN messages m ON m.id = c.message_id AND c.generation_id = ?" + _CURRENT
# begins with chunks that are near
_OF_CHUNKS: Final = (
    "FROM json_each(?) near CROSS JOIN chunks c ON c.id = near.value AND c.generation_id = ?"
    " CROSS JOIN messages m ON m.id = c.message_id" + _CURRENT
)


def nearest_messages(
    archive: Archive,
    generation: Generation,
    query: Floats,
    limit: int,
    only: Filter,
    *,
    rest: Rest | None = None,
    on_damage: Callable[[str], None] = lambda _: None,
    kept: KeptBits | None = None,
) -> list[Neighbour]:
    """The best chunk of each of the `limit` nearest messages, best first. Needs `load_vec`, or `kept` and a `snapshot`.

    `rest`: only these messages; another generation covers the others. `on_damage` is told when the coarse index
    cannot be used; all vectors are scored then. `kept`: the coarse indexes in memory, in place of those in the file.

    Raises:
        NotReadyError: the query's vector has another dimension, so it is of another space.
    """
    if query.shape != (generation.dimension,):
        raise NotReadyError(
            f"a vector of shape {query.shape} cannot be compared with those of generation {generation.id},"
            f" which have {generation.dimension} dimensions"
        )
    everything = rest.listing if rest else Filter()
    passing = _both(only, rest.condition if rest else Filter())
    stored = count_chunks(archive, generation.id)
    if stored <= (EXACT_CHUNKS if kept is None else 2 * kept.candidates):
        sql = _sql(_OF_GENERATION, generation, passing)
        return _score(archive, sql, (generation.id, *passing.bindings), query, limit)
    if rest and rest.share < _SMALL_REST:
        return _exact(archive, generation, query, _both(only, everything), limit)
    candidates = _enough_candidates(archive, _both(only, HORIZON if archive.is_limited else Filter()), limit, kept)
    if candidates is None:
        return _exact(archive, generation, query, passing, limit)
    candidates = round(candidates / (rest.share if rest else 1))
    try:
        if kept is None:
            ids = _coarse(archive, generation, query, stored, candidates)
        else:
            ids = kept.distances(archive, generation, query).nearest(candidates)
        if not ids:
            on_damage("it is empty")
    except (*UNREADABLE, DamageError) as error:
        on_damage(str(error))
        ids = []
    found = _score_near(archive, generation, ids, query, passing, limit)
    if len(found) < limit:
        # most candidates were filtered out, deleted or edited since: what is left must be looked at itself
        found = _exact(archive, generation, query, _both(only, everything), limit)
    return found


def similarities(
    archive: Archive, generation: Generation, query: Floats, message_ids: Sequence[int]
) -> list[Neighbour]:
    """As `nearest_messages`, of these messages alone."""
    asked = Filter("m.id IN (SELECT value FROM json_each(?))", (json.dumps(list(message_ids)),))
    return _exact(archive, generation, query, asked, len(message_ids)) if message_ids else []


def unrelated_similarity(archive: Archive, generation: Generation) -> float:
    """Cosine similarity of two chunks drawn by chance, on average: what a model gives to texts that have nothing to do
    with each other. In doubt 0: a handful of messages may all be about one thing."""
    vectors = _sampled(archive, generation, _UNRELATED)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    count, total = len(vectors), vectors.sum(axis=0)
    of_pairs = float(np.vecdot(total, total)) - count
    return min(max(of_pairs, 0.0) / max(count * (count + _IN_DOUBT), 1), _MOST_UNRELATED)


def _enough_candidates(archive: Archive, only: Filter, limit: int, kept: KeptBits | None) -> int | None:
    """How many the coarse pass is to give; None where so few messages pass the filter that those are scored."""
    candidates = max(CANDIDATES if kept is None else kept.candidates, 4 * limit)
    if only.is_empty:
        return candidates
    matching = archive.scalar(
        f"SELECT count(*) FROM (SELECT 1 FROM messages m WHERE {only.live} AND ({only.sql}) LIMIT ?)",
        (*only.bindings, EXACT_CHUNKS),
    )
    few = EXACT_CHUNKS
    if kept is not None and 0 < matching < EXACT_CHUNKS:
        # so many more candidates that as many as ever pass; or all that do, where they are no more
        live = int(archive.scalar("SELECT live FROM main.live_count"))  # the index knows of no horizon
        candidates = few = candidates * live // matching
    return None if matching < few else candidates


def vector_of_message(archive: Archive, generation: Generation, message_id: int) -> Floats | None:
    """(dimension,), normalised: the mean over its chunks. None where its present text is not embedded there, or its
    vectors are damaged."""
    sql = _sql(_OF_MESSAGES, generation, Filter("m.id = ?"))
    rows = archive.rows(f"SELECT v.embedding {sql}", (generation.id, message_id))
    if not rows:
        return None
    mean = np.frombuffer(b"".join(row[0] for row in rows), "<f2").reshape(len(rows), -1).astype(np.float32).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm) or norm < NORM_TOLERANCE:
        return None
    normalised: Floats = (mean / norm).astype(np.float32)
    return normalised


def _both(one: Filter, other: Filter) -> Filter:
    hides = one.hides_set_aside or other.hides_set_aside
    if one.is_empty or other.is_empty:
        return replace(other if one.is_empty else one, hides_set_aside=hides)
    return Filter(f"({one.sql}) AND ({other.sql})", one.bindings + other.bindings, hides)


def _sql(template: str, generation: Generation, only: Filter) -> str:
    return template.format(live=only.live, condition=only.sql, bytes=2 * generation.dimension)


def _exact(archive: Archive, generation: Generation, query: Floats, only: Filter, limit: int) -> list[Neighbour]:
    sql = _sql(_OF_MESSAGES, generation, only)
    return _score(archive, sql, (generation.id, *only.bindings), query, limit)


def _coarse(archive: Archive, generation: Generation, query: Floats, stored: int, candidates: int) -> list[int]:
    """Ids of about so many chunks by Hamming distance, of whatever is in the index: also of what is gone."""
    bits = np.packbits(query > 0, bitorder="little").tobytes()
    distances = _sampled_distances(archive, generation, bits)
    threshold = generation.dimension // 4
    if len(distances):
        share = max(candidates / stored, 4 / len(distances))
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
        if len(ids) >= min(candidates, _VEC0_MOST) // 4 or threshold >= generation.dimension:
            return ids
        threshold += max(2, generation.dimension // 64)


def _sampled_distances(archive: Archive, generation: Generation, bits: bytes) -> npt.NDArray[np.int64]:
    """Hamming distances of a random sample of the generation's chunks to the query: where to put the threshold."""
    vectors = _sampled(archive, generation, SAMPLE)
    packed = np.packbits(vectors > 0, axis=1, bitorder="little")
    distances: npt.NDArray[np.int64] = np.bitwise_count(packed ^ np.frombuffer(bits, np.uint8)).sum(
        axis=1, dtype=np.int64
    )
    return distances


def _sampled(archive: Archive, generation: Generation, draws: int) -> Floats:
    """(n, dimension): vectors of the generation, as far as so many draws among those of all generations hit it."""
    # two look-ups: asked for both at once, SQLite walks the table
    low, high = archive.rows("SELECT (SELECT min(chunk_id) FROM vectors), (SELECT max(chunk_id) FROM vectors)")[0]
    if low is None:
        return np.zeros((0, generation.dimension), np.float32)
    ids = sorted(set(random.Random(0).choices(range(low, high + 1), k=draws)))  # noqa: S311 (a sample, not a secret)
    rows = archive.rows(
        "SELECT v.embedding FROM json_each(?) pick CROSS JOIN vectors v ON v.chunk_id = pick.value"
        " CROSS JOIN chunks c ON c.id = v.chunk_id WHERE c.generation_id = ? AND length(v.embedding) = ?",
        (json.dumps(ids), generation.id, 2 * generation.dimension),
    )
    sampled: Floats = np.frombuffer(b"".join(row[0] for row in rows), "<f2").reshape(-1, generation.dimension)
    return sampled.astype(np.float32)


def _score_near(
    archive: Archive, generation: Generation, ids: Sequence[int], query: Floats, only: Filter, limit: int
) -> list[Neighbour]:
    """As `_score`, among these chunks. Whether they count is asked of the best alone, unless too few of those do."""
    rows = archive.rows(
        "SELECT v.chunk_id, v.embedding FROM json_each(?) near CROSS JOIN vectors v ON v.chunk_id = near.value"
        " AND length(v.embedding) = ?",
        (json.dumps(ids), 2 * generation.dimension),
    )
    if not rows:
        return []
    scores = _scores([row[1] for row in rows], query)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > _NO_NEIGHBOUR]
    sql = _sql(_OF_CHUNKS, generation, only)
    best: list[Neighbour] = []
    for some in (order[: 2 * limit].tolist(), order[2 * limit :].tolist()):
        if some and len(best) < limit:
            ranked = {rows[i][0]: float(scores[i]) for i in some}
            found = archive.rows(
                f"SELECT c.message_id, c.id, c.char_start, c.char_end {sql}",
                (json.dumps(list(ranked)), generation.id, *only.bindings),
            )
            found.sort(key=lambda row: -ranked[row[1]])
            best = _best_of_messages([*best, *(_neighbour(row, ranked[row[1]]) for row in found)], limit)
    return best


def _scores(embeddings: Sequence[bytes], query: Floats) -> Floats:
    """Of each, (n,); _NO_NEIGHBOUR for a damaged vector, which must not stop the search."""
    matrix = np.frombuffer(b"".join(embeddings), "<f2").reshape(len(embeddings), -1)
    # not "@": BLAS would take every core for a millisecond's work, and threads that ask at once wait for each other
    scores: Floats = np.vecdot(matrix.astype(np.float32), query)
    scores[~np.isfinite(scores)] = _NO_NEIGHBOUR
    return scores


def _score(archive: Archive, sql: str, bindings: Sequence[Any], query: Floats, limit: int) -> list[Neighbour]:
    """The best chunk of each of the best messages, best first."""
    rows = archive.stream(f"SELECT c.message_id, c.id, c.char_start, c.char_end, v.embedding {sql}", tuple(bindings))
    best: list[Neighbour] = []
    while block := list(itertools.islice(rows, _BLOCK)):
        archive.check_limit()
        scores = _scores([row[4] for row in block], query)
        order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > _NO_NEIGHBOUR]
        of_block = _best_of_messages((_neighbour(block[i], float(scores[i])) for i in order), limit)
        best = _best_of_messages(sorted([*best, *of_block], key=lambda neighbour: -neighbour.score), limit)
    return best


def _neighbour(row: tuple[Any, ...], score: float) -> Neighbour:
    message_id, chunk_id, char_start, char_end, *_ = row
    return Neighbour(message_id, chunk_id, char_start, char_end, score)


def _best_of_messages(neighbours: Iterable[Neighbour], limit: int) -> list[Neighbour]:
    """`neighbours`: best first."""
    best: dict[int, Neighbour] = {}
    for neighbour in neighbours:
        if neighbour.message_id not in best:
            best[neighbour.message_id] = neighbour
            if len(best) == limit:
                break
    return list(best.values())
