"""The nearest messages where the coarse index takes part, is damaged, or another generation speaks for some of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import new_archive
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.coverage import not_covered, rest_beside
from vaultembed.archive.generations.records import Generation, ModelRecord, create_generation, generation_with_id
from vaultembed.archive.vector_format import to_bits, to_rows
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.nearest import EXACT_CHUNKS, nearest_messages
from vaultembed.errors import NotReadyError

DIMENSION = 64
COUNT = EXACT_CHUNKS + 1_000
EVERYTHING = Filter()


def vectors_of(name: str) -> np.ndarray:
    """(COUNT, DIMENSION), in clusters as real embeddings are."""
    rng = np.random.default_rng(len(name))
    centres = rng.standard_normal((200, DIMENSION))
    found = centres[rng.integers(0, 200, COUNT)] + 0.8 * rng.standard_normal((COUNT, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def fill(archive: Archive, name: str, message_ids: range) -> Generation:
    """A generation with a vector for each of these messages."""
    archive.load_vec()
    model = ModelRecord(name, name, "c", "bert", DIMENSION, "mean", 512, "", "", "MIT", None)
    generation = create_generation(archive, model, name, "p1:t256o32")
    rows = to_rows(vectors_of(name))
    with archive.transaction():
        first = archive.scalar("SELECT coalesce(max(id), 0) + 1 FROM chunks")
        numbered = list(enumerate(message_ids, first))
        archive.db.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?, 0, 0, 1, ?, 0)",
            ((chunk, generation.id, m, m.to_bytes(4, "big")) for chunk, m in numbered),
        )
        archive.db.executemany("INSERT INTO vectors VALUES (?, ?, 0)", ((chunk, rows[m - 1]) for chunk, m in numbered))
        archive.db.executemany(
            f"INSERT INTO vec_{generation.id}(rowid, embedding) VALUES (?, vec_bit(?))",
            ((chunk, to_bits(rows[m - 1])) for chunk, m in numbered),
        )
        archive.db.execute(
            "INSERT INTO embed_outcomes SELECT ?, id, content_rev, 'p1:r', 'embedded', NULL, 1, 0, 0 FROM messages"
            " WHERE id BETWEEN ? AND ?",
            (generation.id, message_ids[0], message_ids[-1]),
        )
        archive.db.execute(
            "UPDATE messages SET embed_gen = ? WHERE id BETWEEN ? AND ?",
            (generation.id, message_ids[0], message_ids[-1]),
        )
    return generation


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nearest") / "a.db"
    with new_archive(path) as archive:
        with archive.transaction():
            archive.db.executemany(
                "INSERT INTO messages(id, sent_at) VALUES (?, ?)", ((n + 1, n) for n in range(COUNT))
            )
        fill(archive, "old", range(1, COUNT + 1))
        archive.db.execute("UPDATE generations SET state = 'active' WHERE id = 1")
    return path


@pytest.fixture
def archive(made: Path) -> Iterator[Archive]:
    """What a test does to it is undone."""
    with open_archive(made) as opened, opened.snapshot():
        opened.load_vec()
        yield opened


@pytest.fixture
def old(archive: Archive) -> Generation:
    return generation_with_id(archive, 1)


@pytest.fixture(scope="module")
def query() -> np.ndarray:
    near = vectors_of("old")[77] + 0.02
    return (near / np.linalg.norm(near)).astype(np.float32)


def ids(found: list) -> list[int]:
    return [neighbour.message_id for neighbour in found]


def true_ids(query: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> list[int]:
    scores = vectors_of("old").astype("<f2").astype(np.float32) @ query
    if allowed is not None:
        scores[~allowed] = -2
    return [int(i) + 1 for i in np.argsort(-scores)[:limit]]


def test_a_query_of_another_dimension_is_not_compared(archive: Archive, old: Generation) -> None:
    with pytest.raises(NotReadyError, match="64 dimensions"):
        nearest_messages(archive, old, np.ones(32, np.float32), 10, EVERYTHING)


@pytest.fixture(params=["in the file", "in memory"])
def kept(request: pytest.FixtureRequest) -> KeptBits | None:
    """Where the coarse index is."""
    return KeptBits() if request.param == "in memory" else None


def test_in_memory_and_in_the_file_it_leads_to_the_same(archive: Archive, old: Generation) -> None:
    kept = KeptBits()
    rng = np.random.default_rng(5)
    vectors = vectors_of("old")
    newest = COUNT // 2
    filters = [
        EVERYTHING,
        *(Filter("m.sent_at >= ?", (COUNT - n,)) for n in (50, 3_000, newest)),
        Filter("m.id % 3 = 0"),
    ]
    steps = [
        "SELECT 1",
        "DELETE FROM chunks WHERE message_id % 5 = 1",
        "UPDATE messages SET deleted_at = 1 WHERE id % 5 = 2",
        "UPDATE messages SET subject = 'edited' WHERE id % 5 = 3 AND id < 2000",
    ]
    for step in steps:
        archive.db.execute(step)
        for only in filters:
            near = vectors[rng.integers(COUNT)] + 0.5 * rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
            asked = (near / np.linalg.norm(near)).astype(np.float32)
            for limit in (1, 10):
                in_file = nearest_messages(archive, old, asked, limit, only)
                assert len(in_file) == limit
                assert nearest_messages(archive, old, asked, limit, only, kept=kept) == in_file


def test_chunks_that_are_gone_stop_nothing(
    archive: Archive, old: Generation, query: np.ndarray, kept: KeptBits | None
) -> None:
    gone = true_ids(query, 50)
    for message_id in gone:
        archive.db.execute("DELETE FROM chunks WHERE message_id = ?", (message_id,))
    assert archive.scalar("SELECT count(*) FROM vec_1") == COUNT
    allowed = np.ones(COUNT, bool)
    allowed[[n - 1 for n in gone]] = False
    assert ids(nearest_messages(archive, old, query, 10, EVERYTHING, kept=kept)) == true_ids(query, 10, allowed)


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE vec_1",
        "DROP TABLE vec_1_vector_chunks00",
        "UPDATE vec_1_vector_chunks00 SET vectors = x'00'",
        "DELETE FROM vec_1_vector_chunks00",
    ],
)
def test_without_its_coarse_index_every_vector_is_scored(
    archive: Archive, old: Generation, query: np.ndarray, damage: str, kept: KeptBits | None
) -> None:
    archive.db.execute(damage)
    told: list[str] = []
    found = nearest_messages(archive, old, query, 10, EVERYTHING, on_damage=told.append, kept=kept)
    assert ids(found) == true_ids(query, 10)
    assert len(told) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vec_1_chunks SET validity = 'x'",
        "UPDATE vec_1_chunks SET rowids = 'x'",
        "UPDATE vec_1_chunks SET size = -1",
        "UPDATE vec_1_chunks SET size = 'x'",
        "DROP TABLE vec_1_chunks",
        "DROP TABLE vec_1_rowids",
    ],
)
def test_parts_that_do_not_fit_together_are_not_kept(
    archive: Archive, old: Generation, query: np.ndarray, damage: str
) -> None:
    kept = KeptBits()
    archive.db.execute(damage)
    for _ in range(2):
        told: list[str] = []
        found = nearest_messages(archive, old, query, 10, EVERYTHING, on_damage=told.append, kept=kept)
        assert ids(found) == true_ids(query, 10)
        assert len(told) == 1


def test_an_empty_coarse_index_is_damage_too(
    archive: Archive, old: Generation, query: np.ndarray, kept: KeptBits | None
) -> None:
    archive.db.execute("DELETE FROM vec_1_chunks")
    told: list[str] = []
    found = nearest_messages(archive, old, query, 10, EVERYTHING, on_damage=told.append, kept=kept)
    assert ids(found) == true_ids(query, 10)
    assert told


def test_a_damaged_vector_is_no_neighbour(
    archive: Archive, old: Generation, query: np.ndarray, kept: KeptBits | None
) -> None:
    first, second, *_ = true_ids(query, 3)
    archive.db.execute("DROP TRIGGER vector_keeps_dimension")
    archive.db.execute("UPDATE vectors SET embedding = x'00' WHERE chunk_id = ?", (first,))
    archive.db.execute(
        "UPDATE vectors SET embedding = ? WHERE chunk_id = ?",
        (np.full(DIMENSION, np.nan, "<f2").tobytes(), second),
    )
    allowed = np.ones(COUNT, bool)
    allowed[[first - 1, second - 1]] = False
    few = Filter("m.id <= ?", (EXACT_CHUNKS - 1,))
    assert ids(nearest_messages(archive, old, query, 5, EVERYTHING, kept=kept)) == true_ids(query, 5, allowed)
    assert not {first, second} & set(ids(nearest_messages(archive, old, query, 50, few, kept=kept)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9, 0.999])
def test_what_a_newer_generation_speaks_for_takes_no_place(made: Path, query: np.ndarray, share: float) -> None:
    with open_archive(made) as archive:
        newer = fill(archive, f"new{share}", range(1, round(COUNT * share) + 1))
        try:
            older = generation_with_id(archive, 1)
            rest = rest_beside(archive, newer)
            assert rest.share == pytest.approx(1 - share, abs=1e-4)
            allowed = np.arange(COUNT) >= round(COUNT * share)
            truth = true_ids(query, 10, allowed)
            for kept in (None, KeptBits()):  # in the file, and in memory
                found = ids(nearest_messages(archive, older, query, 200, EVERYTHING, rest=rest, kept=kept))
                assert len(found) == min(200, int(allowed.sum()))
                assert len(set(found[:10]) & set(truth)) >= 9
                # taken out of the list afterwards, they would have left that much less of it
                all_of_them = ids(nearest_messages(archive, older, query, 200, EVERYTHING, kept=kept))
                assert len([i for i in all_of_them if allowed[i - 1]]) < len(found)
                only = Filter("m.sent_at >= ?", (COUNT - 15,))
                assert sorted(ids(nearest_messages(archive, older, query, 200, only, rest=rest, kept=kept))) == list(
                    range(COUNT - 14, COUNT + 1)
                )
            assert not_covered(archive, [newer, older]).total == 0
        finally:
            archive.db.execute("UPDATE generations SET state = 'discarded' WHERE id = ?", (newer.id,))


def test_a_small_generation_is_scored_exactly_however_large_another_is(made: Path, query: np.ndarray) -> None:
    with open_archive(made) as archive:
        small = fill(archive, "small", range(1, 100))
        archive.db.execute(f"DROP TABLE vec_{small.id}")
        told: list[str] = []
        assert len(nearest_messages(archive, small, query, 200, EVERYTHING, on_damage=told.append)) == 99
        assert not told
        archive.db.execute("UPDATE generations SET state = 'discarded' WHERE id = ?", (small.id,))
