"""`embeddings verify`: says of each part whether it is right, and never takes the word of another part for it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import fill, run
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import generation_with_id
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.verify import Verified, verify_generation
from vaultembed.errors import DamageError, ModelError

COUNT = 30


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with new_archive(tmp_path / "a.db") as opened:
        fill(opened, COUNT)
        run(opened)
        yield opened


def verify(archive: Archive, embedder: WordHashEmbedder | None = None, generation: int = 1) -> Verified:
    return verify_generation(archive, generation_with_id(archive, generation), embedder or WordHashEmbedder())


def write_vector(archive: Archive, chunk: int, values: np.ndarray, *, with_checksum: bool) -> None:
    embedding = values.astype("<f2").tobytes()
    checksum = zlib.crc32(embedding) if with_checksum else 0
    archive.db.execute(
        "UPDATE vectors SET embedding = ?, checksum = ? WHERE chunk_id = ?", (embedding, checksum, chunk)
    )


def test_a_whole_generation_is_sound(archive: Archive) -> None:
    verified = verify(archive)
    assert verified.is_sound
    assert (verified.vectors, verified.altered, verified.malformed, verified.unsound) == (COUNT, 0, 0, 0)
    assert verified.sampled > 0
    assert verified.least_cosine == pytest.approx(1, abs=1e-3)
    assert verified.coverage.missing == 0


def test_a_vector_that_was_altered_is_counted(archive: Archive) -> None:
    stored = np.full(DIMENSION, DIMENSION**-0.5)
    write_vector(archive, 7, stored, with_checksum=False)
    verified = verify(archive)
    assert (verified.altered, verified.malformed, verified.is_sound) == (1, 0, False)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 2.0])
def test_a_vector_that_is_not_finite_or_not_of_length_1_is_counted(archive: Archive, value: float) -> None:
    write_vector(archive, 7, np.full(DIMENSION, value), with_checksum=True)
    verified = verify(archive)
    assert (verified.altered, verified.malformed, verified.is_sound) == (0, 1, False)


def test_a_chunk_that_the_coarse_index_lacks_is_counted(archive: Archive) -> None:
    archive.db.execute("DELETE FROM vec_1 WHERE rowid = 7")
    assert (verify(archive).unsound, verify(archive).is_sound) == (1, False)


def test_the_vectors_of_another_model_are_told_by_the_sample_alone(archive: Archive) -> None:
    """Everything else about them is right."""
    verified = verify(archive, WordHashEmbedder("another"))
    assert (verified.altered, verified.malformed, verified.unsound) == (0, 0, 0)
    assert verified.least_cosine is not None
    assert verified.least_cosine < 0.9
    assert not verified.is_sound


def test_messages_that_are_missing_do_not_make_the_rest_unsound(archive: Archive) -> None:
    archive.db.execute("UPDATE messages SET subject = 'edited' WHERE id = 3")
    verified = verify(archive)
    assert (verified.coverage.missing, verified.is_sound) == (1, True)


def test_a_text_that_the_model_refuses_by_now_ends_nothing(archive: Archive) -> None:
    """It was embedded once: there is only nothing to compare its vector with."""
    verified = verify(archive, WordHashEmbedder(refused=[f"word{n}" for n in range(0, COUNT, 2)]))
    assert verified.refused > 0
    assert verified.sampled > 0
    assert verified.is_sound


def test_a_model_that_fails_on_everything_verifies_nothing(archive: Archive) -> None:
    with pytest.raises(ModelError, match="does not work"):
        verify(archive, WordHashEmbedder(sick=True))


def test_a_generation_that_does_not_pass_is_not_activated(archive: Archive) -> None:
    run(archive, WordHashEmbedder("two"), wanted=Wanted(model_named=True), hold=True)
    chunk = archive.scalar("SELECT min(id) FROM chunks WHERE generation_id = 2")
    write_vector(archive, chunk, np.full(DIMENSION, np.nan), with_checksum=True)
    with pytest.raises(DamageError, match="did not pass verification"):
        run(archive, WordHashEmbedder("two"), wanted=Wanted(model_named=True))
    states = archive.rows("SELECT id, state FROM generations ORDER BY id")
    assert states == [(1, "active"), (2, "building")]


def test_the_sample_is_of_its_own_generation_and_of_different_chunks(archive: Archive) -> None:
    for model in ("two", "three", "four"):
        run(archive, WordHashEmbedder(model), wanted=Wanted(model_named=True))
    for generation, model in ((1, "word-hash"), (4, "four")):
        embedder = WordHashEmbedder(model)
        verified = verify(archive, embedder, generation)
        assert len(set(embedder.texts)) == len(embedder.texts) == verified.sampled
        assert verified.sampled > COUNT / 2


def test_a_gap_that_other_generations_left_does_not_draw_the_sample(archive: Archive) -> None:
    """Topped up long after: nearly every id between its first chunk and its last is another's."""
    archive.db.execute("UPDATE sqlite_sequence SET seq = 1000000 WHERE name = 'chunks'")
    add(archive, "late", "later word", message_id="late")
    run(archive)
    assert archive.scalar("SELECT max(id) FROM chunks") == 1_000_001
    assert verify(archive).sampled == COUNT + 1


def test_every_chunk_of_a_small_generation_is_sampled_once_but_what_was_edited(archive: Archive) -> None:
    archive.db.execute("UPDATE messages SET subject = 'edited' WHERE id <= 20")
    embedder = WordHashEmbedder()
    assert verify(archive, embedder).sampled == len(set(embedder.texts)) == len(embedder.texts) == COUNT - 20
