"""Search by meaning with the coarse index in memory, and with that in the file: time, recall, and what following costs.

    python -m tests.benchmarks.vector_search [--chunks 100000] [--queries 40] [--archive FILE]

Synthetic vectors of 384 dimensions in clusters, one a message; queries are near some of them. Both ways answer each
query before the next, in turns, in one process. Recall@10 is against all vectors scored. At the end chunks are written
and removed, and the next search must follow.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import ModelRecord, create_generation, generation_with_id
from vaultembed.archive.vector_format import to_bits, to_rows
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.nearest import nearest_messages

DIMENSION: Final = 384
CLUSTERS: Final = 2_000
SLICE: Final = 20_000
TOP: Final = 10
T = TypeVar("T")


def normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slices(count: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first id, vectors), as they are stored."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION), dtype=np.float32)
    for first in range(1, count + 1, SLICE):
        rng = np.random.default_rng(first)
        size = min(SLICE, count + 1 - first)
        noise = 0.8 * rng.standard_normal((size, DIMENSION), dtype=np.float32)
        yield first, normalised(centres[rng.integers(0, CLUSTERS, size)] + noise)


def write(archive: Archive, first: int, vectors: np.ndarray) -> None:
    last = first + len(vectors) - 1
    rows = list(enumerate(to_rows(vectors), first))
    with archive.transaction():
        archive.db.executemany("INSERT INTO messages(id, sent_at) VALUES (?, ?)", ((i, i) for i, _ in rows))
        archive.db.executemany(
            "INSERT INTO chunks VALUES (?, 1, ?, 0, 0, 1, ?, 0)", ((i, i, i.to_bytes(4, "big")) for i, _ in rows)
        )
        archive.db.executemany("INSERT INTO vectors VALUES (?, ?, 0)", rows)
        archive.db.executemany(
            "INSERT INTO vec_1(rowid, embedding) VALUES (?, vec_bit(?))", ((i, to_bits(row)) for i, row in rows)
        )
        archive.db.execute(
            "INSERT INTO embed_outcomes SELECT 1, id, content_rev, 'p1:r', 'embedded', NULL, 1, 0, 0 FROM messages"
            " WHERE id BETWEEN ? AND ?",
            (first, last),
        )
        archive.db.execute("UPDATE messages SET embed_gen = 1 WHERE id BETWEEN ? AND ?", (first, last))


def make_archive(path: Path, count: int) -> None:
    with open_archive(path) as archive:
        archive.load_vec()
        model = ModelRecord("m", "m", "c", "bert", DIMENSION, "mean", 512, "", "", "MIT", None)
        create_generation(archive, model, "s", "p1:t256o32")
        with without_triggers(archive):
            for first, vectors in slices(count):
                write(archive, first, vectors)
        archive.db.execute("UPDATE live_count SET live = ?", (count,))
        archive.db.execute("UPDATE embed_coverage SET live = ?1, embedded = ?1, chunks = ?1", (count,))
        archive.db.execute("UPDATE generations SET state = 'active'")


@contextmanager
def without_triggers(archive: Archive) -> Iterator[None]:
    """They would take longer than all the rest."""
    triggers = archive.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    for name, _ in triggers:
        archive.db.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        archive.db.execute(sql)


def queries_and_truth(count: int, number: int) -> tuple[np.ndarray, list[set[int]]]:
    rng = np.random.default_rng(7)
    _, some = next(slices(count))
    near = some[rng.integers(0, len(some), number)]
    queries = normalised(near + 0.5 * rng.standard_normal(near.shape) / np.sqrt(DIMENSION))
    scores, ids = np.zeros((number, 0), np.float32), np.zeros((number, 0), np.int64)
    for first, vectors in slices(count):
        of_slice = queries @ vectors.astype("<f2").astype(np.float32).T
        scores = np.concatenate([scores, of_slice], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(np.arange(first, first + len(vectors)), of_slice.shape)], axis=1)
        best = np.argsort(-scores, axis=1)[:, :TOP]
        scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
    return queries, [set(row.tolist()) for row in ids]


def timed(what: Callable[[], T]) -> tuple[T, float, float]:
    """And the milliseconds waited, and of processor time."""
    began, cpu = time.perf_counter(), time.process_time()
    found = what()
    return found, 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - cpu)


def search(path: Path, query: np.ndarray, kept: KeptBits | None) -> set[int]:
    """As a call to the server, or a command, does it."""
    with open_archive_readonly(path) as archive, archive.snapshot():
        if kept is None:
            archive.load_vec()
        found = nearest_messages(archive, generation_with_id(archive, 1), query, TOP, Filter(), kept=kept)
    return {neighbour.message_id for neighbour in found}


def scan(path: Path, query: np.ndarray, kept: KeptBits) -> None:
    """The coarse pass alone."""
    with open_archive_readonly(path) as archive, archive.snapshot():
        kept.distances(archive, generation_with_id(archive, 1), query).nearest(2_000)


def measure(path: Path, count: int, number: int) -> None:
    queries, truth = queries_and_truth(count, number)
    kept = KeptBits()
    _, first, _ = timed(lambda: scan(path, queries[0], kept))
    _, then, _ = timed(lambda: scan(path, queries[0], kept))
    print(f"{count:,} chunks, {path.stat().st_size / 1e9:.2f} GB; first read of the bits: {first - then:.0f} ms")
    ways: dict[str, KeptBits | None] = {"in the file": None, "in memory": kept}
    waited: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    recall: dict[str, list[float]] = {way: [] for way in ways}
    scans = []
    for query, true in zip(queries, truth, strict=True):
        for way in random.sample(sorted(ways), 2):
            found, wall, own = timed(lambda query=query, way=way: search(path, query, ways[way]))  # type: ignore[misc]
            waited[way].append(wall)
            cpu[way].append(own)
            recall[way].append(len(found & true) / TOP)
        scans.append(timed(lambda query=query: scan(path, query, kept))[1])  # type: ignore[misc]
    for way in ways:
        print(
            f"  {way:<12} p50 {statistics.median(waited[way]):6.1f} ms  p95 {np.percentile(waited[way], 95):6.1f} ms"
            f"  processor {statistics.median(cpu[way]):6.1f} ms  recall@10 {np.mean(recall[way]):.4f}"
        )
    ratio = statistics.median(waited["in the file"]) / statistics.median(waited["in memory"])
    print(
        f"  {ratio:.1f} times as fast; of it opening the file and comparing the bits: {statistics.median(scans):.1f} ms"
    )
    follow(path, count, queries, kept)


def follow(path: Path, count: int, queries: np.ndarray, kept: KeptBits) -> None:
    """Another connection commits, and the next search shows it."""

    def tell(what: str) -> None:
        first, *others = (timed(lambda: scan(path, queries[0], kept))[1] for _ in range(6))
        print(f"  following a commit {what}: {first - statistics.median(others):+.1f} ms")

    with open_archive(path) as archive:
        archive.load_vec()
        write(archive, count + 1, queries[:1])
        tell("of a new chunk")
        assert count + 1 in search(path, queries[0], kept)
        with archive.transaction():
            archive.db.execute("DELETE FROM chunks WHERE id = ?", (count + 1,))
            archive.db.execute("DELETE FROM vec_1 WHERE rowid = ?", (count + 1,))
            archive.db.execute("DELETE FROM vec_orphans")
        tell("of a chunk that went")
        assert count + 1 not in search(path, queries[0], kept)
        archive.db.execute("DELETE FROM messages WHERE id = ?", (count + 1,))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--archive", type=Path, help="made before with as many chunks; kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.archive or Path(folder) / "a.db"
        if not path.exists():
            began = time.monotonic()
            make_archive(path, given.chunks)
            print(f"archive made in {time.monotonic() - began:.0f} s")
        measure(path, given.chunks, given.queries)


if __name__ == "__main__":
    main()
