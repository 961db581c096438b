from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run, search
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.outcomes import list_failures
from vaultembed.archive.generations.records import (
    Coverage,
    coverage_of,
    create_generation,
    generation_in_state,
    list_generations,
)
from vaultembed.archive.generations.runs import RunCounts
from vaultembed.archive.generations.work import watermark_of, work_ids
from vaultembed.errors import BusyError, IncompleteError, ModelError
from vaultembed.models.protocol import Embedded, Role


def test_the_first_build_covers_everything_and_activates(archive: Archive) -> None:
    fill(archive, 40)
    blank = add(archive, "", "", message_id="blank")
    built = run(archive)
    assert built.activated
    assert built.coverage == Coverage(live=41, embedded=40, blank=1, failed=0)
    assert generation_in_state(archive, "active") is not None
    assert watermark_of(archive, built.generation.id) == blank
    assert search(archive, "word7 body0")[0] == 8
    check_invariants(archive.path)


def test_a_second_build_does_nothing(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    embedder = WordHashEmbedder()
    again = run(archive, embedder)
    assert embedder.texts == []
    assert again.run.embedded == 0
    assert len(list_generations(archive)) == 1


def test_new_and_edited_messages_top_up_the_active_generation(archive: Archive) -> None:
    fill(archive, 10)
    first = run(archive).generation
    fill(archive, 3, start=10)
    archive.db.execute("UPDATE message_bodies SET body_text = 'elephants' WHERE message_id = 2")
    assert coverage_of(archive, first.id).missing == 4
    embedder = WordHashEmbedder()
    built = run(archive, embedder)
    assert built.generation.id == first.id
    assert built.run.embedded == 4
    assert search(archive, "elephants")[0] == 2
    assert archive.scalar("SELECT count(*) FROM vec_orphans") == 0, "an old vector stays in the coarse index"
    check_invariants(archive.path)


def test_an_edited_message_is_in_no_result_until_it_is_embedded_again(archive: Archive) -> None:
    fill(archive, 3)
    run(archive)
    archive.db.execute("UPDATE message_bodies SET body_text = 'elephants' WHERE message_id = 2")
    assert 2 not in search(archive, "word1 body1 text")
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 3")
    assert search(archive, "word2 body2 text") == [1]


class EditsWhileEmbedding(WordHashEmbedder):
    """Lets another connection edit a message between its reading and its commit."""

    def __init__(self, edit: Callable[[], None]) -> None:
        super().__init__()
        self._edit: Callable[[], None] | None = edit

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        embedded = super().embed(texts, role)
        if self._edit is not None and any("word1" in text for text in texts):
            edit, self._edit = self._edit, None
            edit()
        return embedded


def test_an_edit_during_embedding_is_not_stamped_and_not_lost(archive: Archive) -> None:
    fill(archive, 3)

    def edit() -> None:
        with open_archive(archive.path) as other:
            other.db.execute("UPDATE message_bodies SET body_text = 'elephants' WHERE message_id = 2")

    embedder = EditsWhileEmbedding(edit)
    built = run(archive, embedder, hold=True)  # to verify it, a sample would be embedded again
    assert built.coverage.missing == 0
    assert sum("word1" in text for text in embedder.texts) == 1
    assert sum("elephants" in text for text in embedder.texts) == 1
    assert search(archive, "elephants")[0] == 2
    check_invariants(archive.path)


def test_a_message_deleted_during_embedding_gets_no_vectors(archive: Archive) -> None:
    fill(archive, 3)

    def delete() -> None:
        with open_archive(archive.path) as other:
            other.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 2")

    run(archive, EditsWhileEmbedding(delete))
    assert archive.rows("SELECT 1 FROM chunks WHERE message_id = 2") == []
    check_invariants(archive.path)


@pytest.mark.parametrize("kind", ["refused", "fatal"])
def test_one_bad_message_fails_with_its_reason_and_the_rest_goes_through(archive: Archive, kind: str) -> None:
    fill(archive, 30)
    bad = add(archive, "poison", "mushroom soup", message_id="bad")
    fill(archive, 5, start=50)
    embedder = WordHashEmbedder(**{kind: ["mushroom"]})  # type: ignore[arg-type]
    built = run(archive, embedder, max_failed=1)
    assert built.activated
    assert built.coverage == Coverage(live=36, embedded=35, blank=0, failed=1)
    (failure,) = list_failures(archive, built.generation.id)
    assert failure.message_id == bad
    assert failure.reason
    check_invariants(archive.path)


def test_a_failed_message_is_tried_again_when_its_content_changes(archive: Archive) -> None:
    bad = add(archive, "poison", "mushroom soup")
    run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=1)
    assert run(archive, WordHashEmbedder()).run.embedded == 0
    archive.db.execute("UPDATE message_bodies SET body_text = 'tomato soup' WHERE message_id = ?", (bad,))
    built = run(archive, WordHashEmbedder(refused=["mushroom"]))
    assert built.coverage == Coverage(live=1, embedded=1, blank=0, failed=0)


def test_too_many_failures_keep_a_generation_from_being_activated(archive: Archive) -> None:
    fill(archive, 5)
    add(archive, "poison", "mushroom soup")
    with pytest.raises(IncompleteError, match="failed on 1"):
        run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=0)
    assert generation_in_state(archive, "active") is None
    assert run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=1).activated


def test_a_sick_model_marks_no_message(archive: Archive) -> None:
    fill(archive, 5)
    with pytest.raises(ModelError, match="does not work"):
        run(archive, WordHashEmbedder(sick=True))
    assert archive.rows("SELECT 1 FROM embed_outcomes") == []


def test_a_model_that_falls_sick_half_way_keeps_what_was_written_and_marks_nothing_else(archive: Archive) -> None:
    fill(archive, 300)

    class FallsSick(WordHashEmbedder):
        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            self._sick = len(self.texts) > 150
            return super().embed(texts, role)

    with pytest.raises(ModelError, match="does not work"):
        run(archive, FallsSick())
    written = coverage_of(archive, 1)
    assert 0 < written.embedded < 300
    assert written.failed == 0
    assert run(archive).coverage == Coverage(live=300, embedded=300, blank=0, failed=0)
    check_invariants(archive.path)


def test_a_build_that_is_stopped_goes_on_where_it_was(archive: Archive) -> None:
    fill(archive, 400)
    batches: list[RunCounts] = []
    paused = run(archive, should_stop=lambda: len(batches) >= 2, on_batch=batches.append)
    assert paused.interrupted
    assert 0 < paused.coverage.embedded < 400
    check_invariants(archive.path)
    embedder = WordHashEmbedder()
    assert run(archive, embedder, hold=True).coverage.missing == 0
    embedded_now = {text for text in embedder.texts if "word" in text}  # once for the estimate, once for good
    assert len(embedded_now) == 400 - paused.coverage.embedded


def test_equal_texts_are_embedded_once(archive: Archive) -> None:
    for n in range(5):
        add(archive, "newsletter", "the same words each week", message_id=str(n))
    embedder = WordHashEmbedder()
    run(archive, embedder, hold=True)
    add(archive, "newsletter", "the same words each week", message_id="later")
    run(archive, embedder, hold=True)
    assert sum("newsletter" in text for text in embedder.texts) == 1
    assert archive.scalar("SELECT count(*) FROM vectors") == 6


def test_a_long_message_becomes_chunks_that_cover_its_text(archive: Archive) -> None:
    words = " ".join(f"w{n}" for n in range(1000)) + " needle"
    message_id = add(archive, "long", words)
    fill(archive, 3)
    run(archive)
    spans = archive.rows(
        "SELECT char_start, char_end FROM chunks WHERE message_id = ? ORDER BY chunk_index", (message_id,)
    )
    text = archive.scalar("SELECT text FROM message_texts WHERE message_id = ?", (message_id,))
    assert len(spans) > 5
    covered = set()
    for start, end in spans:
        covered.update(range(start, end))
    assert all(text[n].isspace() for n in range(len(text)) if n not in covered)
    assert search(archive, "needle w999")[0] == message_id


def test_another_model_is_built_beside_the_active_one_and_then_replaces_it(archive: Archive) -> None:
    fill(archive, 200)
    run(archive)
    other = WordHashEmbedder("other-model")
    paused = run(archive, other, should_stop=lambda: True)
    assert [g.state for g in list_generations(archive)] == ["active", "building"]
    assert coverage_of(archive, 1).missing == 0
    built = run(archive, other)
    assert paused.generation.id == built.generation.id == 2
    assert [g.state for g in list_generations(archive)] == ["retired", "active"]
    assert coverage_of(archive, 1).missing == 0
    assert search(archive, "word7 body0", other)[0] == 8
    check_invariants(archive.path)


def test_a_third_model_is_refused_while_a_second_is_being_built(archive: Archive) -> None:
    fill(archive, 200)
    run(archive)
    run(archive, WordHashEmbedder("second"), should_stop=lambda: True)
    with pytest.raises(ModelError, match="being built"):
        run(archive, WordHashEmbedder("third"))


def test_an_empty_archive_builds_nothing_and_says_so(archive: Archive) -> None:
    built = run(archive)
    assert not built.activated
    assert built.coverage.live == 0


def test_vectors_are_normalised_and_the_coarse_index_holds_their_signs(archive: Archive) -> None:
    fill(archive, 10)
    run(archive)
    archive.load_vec()
    for chunk_id, embedding in archive.rows("SELECT chunk_id, embedding FROM vectors"):
        vector = np.frombuffer(embedding, "<f2").astype(np.float32)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
        (bits,) = archive.rows("SELECT embedding FROM vec_1 WHERE rowid = ?", (chunk_id,))[0]
        assert bits == np.packbits(vector > 0, bitorder="little").tobytes()


def test_work_is_found_in_order_above_an_id(archive: Archive) -> None:
    ids = fill(archive, 10)
    assert work_ids(archive, 1, ids[3], 3) == ids[4:7]


def test_a_message_with_a_thousand_bad_chunks_fails_alone(archive: Archive) -> None:
    bad = add(archive, "poison", " ".join(f"mushroom w{n}" for n in range(60_000)), message_id="bad")
    fill(archive, 5)
    built = run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=1)
    assert built.coverage == Coverage(live=6, embedded=5, blank=0, failed=1)
    assert [failure.message_id for failure in list_failures(archive, 1)] == [bad]


def test_a_message_that_cannot_be_prepared_fails_alone(archive: Archive) -> None:
    fill(archive, 3)

    class NoTokens(WordHashEmbedder):
        def count_tokens(self, text: str) -> int:
            if "word1" in text:
                raise RecursionError("too deep")
            return super().count_tokens(text)

    built = run(archive, NoTokens(), max_failed=1)
    assert built.coverage == Coverage(live=3, embedded=2, blank=0, failed=1)
    assert "too deep" in list_failures(archive, 1)[0].reason


def test_a_build_whose_generation_was_replaced_stops_and_takes_no_stamps(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    archive.db.execute("UPDATE message_bodies SET body_text = 'word1 edited' WHERE message_id = 2")

    def replace_generation() -> None:
        with open_archive(archive.path) as other:
            run(other, WordHashEmbedder("successor"))

    with pytest.raises(BusyError, match="replaced"):
        run(archive, EditsWhileEmbedding(replace_generation))
    assert [g.state for g in list_generations(archive)] == ["retired", "active"]
    assert archive.rows("SELECT DISTINCT embed_gen FROM messages") == [(2,)]
    check_invariants(archive.path)


def test_two_first_builds_make_one_generation(archive: Archive) -> None:
    fill(archive, 5)
    archive.load_vec()
    built = run(archive)
    model = built.generation.model
    late = create_generation(archive, model, built.generation.space, built.generation.recipe)
    assert late.id == built.generation.id
    assert len(list_generations(archive)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE messages SET content_rev = content_rev + 1 WHERE id = 2",
        "DELETE FROM embed_outcomes WHERE message_id = 2",
    ],
)
def test_a_message_that_lost_its_outcome_is_embedded_again(archive: Archive, sql: str) -> None:
    fill(archive, 3)
    run(archive)
    archive.db.execute(sql)
    assert coverage_of(archive, 1).missing == 1
    assert run(archive).coverage.missing == 0
    check_invariants(archive.path)


def test_a_run_that_stops_on_an_error_records_what_it_did(archive: Archive) -> None:
    fill(archive, 300)

    class FallsSick(WordHashEmbedder):
        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            self._sick = len(self.texts) > 150
            return super().embed(texts, role)

    with pytest.raises(ModelError):
        run(archive, FallsSick())
    ((embedded, outcome),) = archive.rows("SELECT embedded, outcome FROM embed_runs")
    assert embedded == coverage_of(archive, 1).embedded > 0
    assert outcome == "stopped"


def test_a_damaged_vector_does_not_spread_to_other_messages_with_the_same_text(archive: Archive) -> None:
    """Copied, it would get a checksum that says it is right, and in the end come back to where it was found out."""
    first = add(archive, "same", "the very same text", message_id="1")
    run(archive)
    good = archive.scalar("SELECT embedding FROM vectors")
    archive.db.execute("UPDATE vectors SET embedding = ?", (bytes(byte ^ 0x80 for byte in good),))
    second = add(archive, "same", "the very same text", message_id="2")
    run(archive)
    vectors = dict(archive.rows("SELECT c.message_id, v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id"))
    assert vectors[first] != good
    assert vectors[second] == good
