"""`embeddings verify`: says of each part whether it is right, and never takes the word of another part for it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import numpy as np
import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import fill, run
from tests.kit.builds import verify as passes
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.records import generation_with_id
from vaultembed.archive.generations.transitions import activate, rollback
from vaultembed.archive.upkeep.pruning import collect_garbage
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.verify import Verified, verify_generation
from vaultembed.errors import DamageError, IncompleteError, ModelError
from vaultembed.models.protocol import Embedded, Role

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


@pytest.fixture
def held(archive: Archive) -> Archive:
    """Generation 1 in use; 2 complete, verified and held."""
    run(archive, WordHashEmbedder("two"), hold=True)
    passes(archive, 2, WordHashEmbedder("two"))
    return archive


ANOTHER = np.full(DIMENSION, DIMENSION**-0.5).astype("<f2").tobytes()
WRITTEN = [
    "UPDATE vectors SET embedding = :vector, checksum = :crc WHERE chunk_id = :chunk",
    "UPDATE OR REPLACE vectors SET embedding = :vector WHERE chunk_id = :chunk",
    "UPDATE vectors SET checksum = :crc WHERE rowid = :chunk",
    "REPLACE INTO vectors VALUES (:chunk, :vector, :crc)",
    "INSERT INTO vectors VALUES (:chunk, :vector, :crc) ON CONFLICT DO UPDATE SET embedding = excluded.embedding",
    "UPDATE chunks SET char_start = char_start + 1 WHERE id = :chunk",
    "UPDATE chunks SET text_hash = randomblob(16) WHERE id = :chunk",
    """INSERT INTO chunks SELECT NULL, generation_id, message_id, 9, 0, 5, x'00', 0 FROM chunks WHERE id = :chunk;
    INSERT INTO vectors VALUES (last_insert_rowid(), :vector, :crc)""",
]


@pytest.mark.parametrize("sql", WRITTEN)
def test_what_was_verified_counts_until_a_vector_is_written_by_whomever(held: Archive, sql: str) -> None:
    chunk = held.scalar("SELECT max(id) FROM chunks WHERE generation_id = 2")
    shell = apsw.Connection(str(held.path))  # foreign keys off
    try:
        shell.execute(sql, {"chunk": chunk, "vector": ANOTHER, "crc": zlib.crc32(ANOTHER)})
    finally:
        shell.close()
    assert generation_with_id(held, 2).verification == "outdated"
    with pytest.raises(IncompleteError, match="has not passed verification since"):
        activate(held, 2, 0)
    assert activate(held, 2, 0, force=True)


def test_what_goes_leaves_the_others_as_good_as_they_were(held: Archive) -> None:
    held.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 3; DELETE FROM messages WHERE id = 4")
    collect_garbage(held)
    assert activate(held, 2, 0)


def test_the_last_verification_counts_and_not_the_best(held: Archive) -> None:
    with pytest.raises(DamageError, match="did not pass"):  # no statement changed it: a bit that fell over, say
        passes(held, 2, WordHashEmbedder("one"))
    with pytest.raises(IncompleteError, match="has not passed"):
        activate(held, 2, 0)


def test_a_write_during_the_verification_is_not_vouched_for(held: Archive) -> None:
    class Meanwhile(WordHashEmbedder):
        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            with open_archive(held.path) as other:
                other.db.execute("UPDATE vectors SET checksum = checksum WHERE chunk_id = ?", (chunk,))
            return super().embed(texts, role)

    chunk = held.scalar("SELECT max(id) FROM chunks WHERE generation_id = 2")
    passes(held, 2, Meanwhile("two"))
    with pytest.raises(IncompleteError, match="has not passed"):
        activate(held, 2, 0)


def test_what_was_in_use_can_be_gone_back_to_as_it_was_and_not_otherwise(held: Archive) -> None:
    activate(held, 2, 0)
    assert rollback(held).id == 1
    assert rollback(held).id == 2
    held.db.execute("UPDATE vectors SET embedding = ?, checksum = ? WHERE chunk_id = 1", (ANOTHER, zlib.crc32(ANOTHER)))
    with pytest.raises(IncompleteError, match="has not passed"):
        rollback(held)
    with pytest.raises(DamageError, match="did not pass"):
        passes(held, 1)
    with pytest.raises(IncompleteError, match="activate 1 --force"):
        rollback(held)


UNCOMPARED = [
    "DELETE FROM message_texts",
    "UPDATE message_texts SET preparation = 'p0'",
    "UPDATE embed_outcomes SET recipe = 'msgvault' WHERE generation_id = 2",
]


@pytest.mark.parametrize("sql", UNCOMPARED)
def test_what_could_not_be_compared_is_not_vouched_for(held: Archive, sql: str) -> None:
    held.db.execute(sql)
    held.db.execute("UPDATE vectors SET embedding = ?, checksum = ?", (ANOTHER, zlib.crc32(ANOTHER)))
    with pytest.raises(IncompleteError, match="none of its vectors could be compared"):
        passes(held, 2, WordHashEmbedder("two"))
    with pytest.raises(IncompleteError, match="has not passed"):
        activate(held, 2, 0)


def test_the_very_first_generation_is_verified_as_any(tmp_path: Path) -> None:
    class Changing(WordHashEmbedder):
        """Gives a text another vector each time, but for those that are known to be good."""

        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            is_mail = any("word" in text for text in texts)
            self.calls = getattr(self, "calls", 0) + is_mail
            return super().embed([f"{text} {self.calls}" if is_mail else text for text in texts], role)

    with new_archive(tmp_path / "b.db") as opened:
        fill(opened, COUNT)
        with pytest.raises(DamageError, match="did not pass"):
            run(opened, Changing())
        assert generation_with_id(opened, 1).state == "building"


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
