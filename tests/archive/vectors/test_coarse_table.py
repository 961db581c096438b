"""The coarse pass over a larger archive of synthetic vectors: what it may miss, and what it must not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from tests.kit.archives import new_archive
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import Generation, ModelRecord, create_generation
from vaultembed.archive.vector_format import to_bits, to_rows
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.nearest import EXACT_CHUNKS, nearest_messages

DIMENSION = 128
COUNT = EXACT_CHUNKS + 10_000


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    """(COUNT, DIMENSION), in clusters as real embeddings are."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((300, DIMENSION))
    vectors = centres[rng.integers(0, 300, COUNT)] + 0.8 * rng.standard_normal((COUNT, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, clustered: np.ndarray) -> Iterator[tuple[Archive, Generation]]:
    with new_archive(tmp_path_factory.mktemp("coarse") / "a.db") as archive:
        archive.load_vec()
        model = ModelRecord("m", "sha", "c", "bert", DIMENSION, "mean", 512, "", "", "MIT", None)
        generation = create_generation(archive, model, "s", "p1:t256o32")
        with archive.transaction():
            rows = list(enumerate(to_rows(clustered), 1))
            many = archive.db.executemany
            many("INSERT INTO messages(id, sent_at) VALUES (?1, ?1)", ((n,) for n, _ in rows))
            many("INSERT INTO chunks VALUES (?1, 1, ?1, 0, 0, 1, x'00', 0)", ((n,) for n, _ in rows))
            many("INSERT INTO vectors VALUES (?, ?, ?)", ((n, row, zlib.crc32(row)) for n, row in rows))
            many("INSERT INTO vec_1(rowid, embedding) VALUES (?, vec_bit(?))", ((n, to_bits(row)) for n, row in rows))
            archive.db.execute(
                "INSERT INTO embed_outcomes SELECT 1, id, content_rev, 'r', 'embedded', NULL, 1, 0, 0 FROM messages"
            )
        yield archive, generation


@pytest.fixture(params=["in the file", "in memory"])
def kept(request: pytest.FixtureRequest) -> KeptBits | None:
    """Where the coarse index is."""
    return KeptBits() if request.param == "in memory" else None


def recall(
    filled: tuple[Archive, Generation],
    clustered: np.ndarray,
    only: Filter,
    allowed: np.ndarray,
    kept: KeptBits | None,
) -> float:
    archive, generation = filled
    rng = np.random.default_rng(1)
    found_of = []
    for pick in rng.integers(0, COUNT, 20):
        query = clustered[pick] + 0.5 * rng.standard_normal(DIMENSION).astype(np.float32) / np.sqrt(DIMENSION)
        query = (query / np.linalg.norm(query)).astype(np.float32)
        ids = np.flatnonzero(allowed)
        best = ids[np.argsort(-(clustered[ids] @ query))[:10]] + 1
        found = [n.message_id for n in nearest_messages(archive, generation, query, 10, only, kept=kept)]
        found_of.append(len(set(found) & set(best.tolist())) / 10)
    return float(np.mean(found_of))


def test_recall_at_10_of_the_coarse_pass(
    filled: tuple[Archive, Generation], clustered: np.ndarray, kept: KeptBits | None
) -> None:
    assert recall(filled, clustered, Filter(), np.ones(COUNT, bool), kept) >= 0.99


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.95])
def test_recall_at_10_with_a_filter(
    filled: tuple[Archive, Generation], clustered: np.ndarray, share: float, kept: KeptBits | None
) -> None:
    allowed = np.arange(1, COUNT + 1) <= share * COUNT
    only = Filter("m.sent_at <= ?", (share * COUNT,))
    assert recall(filled, clustered, only, allowed, kept) >= 0.99


def test_a_filter_that_leaves_less_than_asked_for_gives_all_it_leaves(
    filled: tuple[Archive, Generation], clustered: np.ndarray, kept: KeptBits | None
) -> None:
    archive, generation = filled
    found = nearest_messages(archive, generation, clustered[0], 10, Filter("m.sent_at <= ?", (4,)), kept=kept)
    assert sorted(n.message_id for n in found) == [1, 2, 3, 4]
