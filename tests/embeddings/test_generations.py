"""Changing one's mind: activate, roll back, discard, retire, come back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import fill, run, search, verify
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.records import (
    coverage_of,
    generation_in_state,
    generation_with_id,
    list_generations,
)
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import activate, discard, restamp, retire, rollback
from vaultembed.embeddings.build import Options, Wanted, build, choose_generation
from vaultembed.embeddings.verify import verify_generation
from vaultembed.errors import BusyError, DamageError, IncompleteError, ModelError, UsageError, VaultembedError
from vaultembed.models.protocol import Embedded, ModelFacts, Role
from vaultembed.service.display import Fence
from vaultembed.service.generations import embeddings_status
from vaultembed.service.searching import Filters, Kept, search_archive
from vaultembed.service.statistics import archive_statistics
from vaultembed.serving.mcp.answers import found_message


def states(archive: Archive) -> list[str]:
    return [generation.state for generation in list_generations(archive)]


@pytest.fixture
def two(archive: Archive) -> Archive:
    """Generation 1 retired, 2 active, of 30 messages, one of them blank and one failed."""
    from tests.kit.archives import add

    fill(archive, 28)
    add(archive, "", "", message_id="blank")
    add(archive, "poison", "mushroom", message_id="bad")
    run(archive, WordHashEmbedder(refused=["mushroom"]), max_failed=1)
    run(archive, WordHashEmbedder("second", refused=["mushroom"]), max_failed=1)
    assert states(archive) == ["retired", "active"]
    return archive


@pytest.mark.parametrize(
    ("others", "label"),
    [
        ((("another name", "0" * 64),), "word-hash"),
        ((("word-hash", "0" * 64),), "word-hash (w9fadc5f9)"),
        ((("word-hash", "0" * 64), ("word-hash", "1" * 64)), "word-hash (w9fadc5f9)"),
        ((("word-hash", ""),), "word-hash (w9fadc5f9)"),  # msgvault's
        ((("word-hash", "9fadc5f9" + "0" * 56),), "word-hash:w9fadc5f9:test:64:mean:d-:q-"),
    ],
)
def test_models_of_one_name_are_told_apart_wherever_a_generation_is_named(
    archive: Archive, others: tuple[tuple[str, str], ...], label: str
) -> None:
    fill(archive, 3)
    run(archive, WordHashEmbedder())
    for name, weights in others:
        archive.db.execute(
            "INSERT INTO models SELECT NULL, ?, ?, converter, architecture, dimension, pooling, context_length,"
            " document_prefix, query_prefix, licence, path, added_at FROM models LIMIT 1",
            (name, weights),
        )
    kept = Kept(open_embedder=lambda _: WordHashEmbedder())
    found = search_archive(archive.path, "word1", mode="vector", filters=Filters(), kept=kept).data.results[0]
    stats = archive_statistics(archive.path).data.vector_search
    assert found.vector is not None
    assert stats is not None
    assert stats.active_generation is not None
    shown = embeddings_status(archive.path).data.generations[0].model
    assert {shown, stats.active_generation.model, found.vector.model} == {label}
    named = found_message(found, Fence(), explain=True).evidence
    assert named is not None
    assert (named.generation, named.model) == (1, label)


def test_rollback_embeds_nothing_again_that_is_current(two: Archive) -> None:
    assert rollback(two).id == 1
    assert states(two) == ["active", "retired"]
    assert coverage_of(two, 1).missing == 0
    assert restamp(two) == 30
    embedder = WordHashEmbedder(refused=["mushroom"])
    built = run(two, embedder, max_failed=1)
    assert embedder.texts == []
    assert built.generation.id == 1
    assert search(two, "word7 body0")[0] == 8
    check_invariants(two.path)


def test_rollback_twice_is_back_where_it_was(two: Archive) -> None:
    rollback(two)
    assert rollback(two).id == 2
    assert states(two) == ["retired", "active"]
    restamp(two)
    assert {row[0] for row in two.rows("SELECT embed_gen FROM messages")} == {2}
    check_invariants(two.path)


def test_rollback_goes_to_the_one_before_also_where_all_happened_within_a_second(two: Archive) -> None:
    """Going by ids, or by seconds alone, it would find the third."""
    run(two, WordHashEmbedder("third", refused=["mushroom"]), max_failed=1)
    activate(two, 1, 1)
    activate(two, 2, 1)
    two.db.execute("UPDATE generations SET retired_at = 5 WHERE retired_at IS NOT NULL")
    assert states(two) == ["retired", "active", "retired"]
    assert rollback(two).id == 1
    assert rollback(two).id == 2


def test_after_a_rollback_only_what_changed_meanwhile_is_embedded(two: Archive) -> None:
    two.db.execute("UPDATE message_bodies SET body_text = 'elephants' WHERE message_id = 2")
    fill(two, 3, start=100)
    run(two, WordHashEmbedder("second", refused=["mushroom"]), max_failed=1)
    rollback(two)
    assert coverage_of(two, 1).missing == 4
    embedder = WordHashEmbedder(refused=["mushroom"])
    assert run(two, embedder, max_failed=1).run.embedded == 4
    assert len(set(embedder.texts)) == 5  # the probe is embedded, too
    assert search(two, "elephants")[0] == 2
    check_invariants(two.path)


def test_a_build_finishes_the_renewal_of_stamps_that_a_kill_left_undone(two: Archive) -> None:
    rollback(two)
    assert two.scalar("SELECT count(*) FROM messages WHERE embed_gen = 2") == 30
    embedder = WordHashEmbedder(refused=["mushroom"])
    run(two, embedder, max_failed=1)
    assert embedder.texts == []
    assert two.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == 30


def test_a_deleted_message_that_comes_back_after_a_rollback_is_not_embedded_again(two: Archive) -> None:
    two.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 3")
    rollback(two)
    restamp(two)
    two.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = 3")
    assert coverage_of(two, 1).missing == 0
    embedder = WordHashEmbedder(refused=["mushroom"])
    run(two, embedder, max_failed=1)
    assert embedder.texts == []
    check_invariants(two.path)


def test_rollback_with_nothing_to_go_back_to_says_so(archive: Archive) -> None:
    fill(archive, 3)
    run(archive)
    with pytest.raises(VaultembedError, match="no earlier generation"):
        rollback(archive)
    assert states(archive) == ["active"]


def test_discard_leaves_the_active_one_as_it_was(archive: Archive) -> None:
    fill(archive, 200)
    run(archive)
    before = coverage_of(archive, 1)
    seen: list[object] = []
    run(archive, WordHashEmbedder("second"), should_stop=lambda: bool(seen), on_batch=seen.append)
    assert 0 < coverage_of(archive, 2).embedded < 200
    assert discard(archive, None).id == 2
    assert states(archive) == ["active", "discarded"]
    assert coverage_of(archive, 1) == before
    embedder = WordHashEmbedder()
    run(archive, embedder)
    assert embedder.texts == []
    assert {row[0] for row in archive.rows("SELECT embed_gen FROM messages")} == {1}
    check_invariants(archive.path)


def test_after_a_discard_another_model_can_be_built(archive: Archive) -> None:
    fill(archive, 10)
    run(archive)
    run(archive, WordHashEmbedder("second"), should_stop=lambda: True)
    with pytest.raises(ModelError, match="discard"):
        run(archive, WordHashEmbedder("third"))
    discard(archive, 2)
    assert run(archive, WordHashEmbedder("third")).activated
    assert states(archive) == ["retired", "discarded", "active"]
    check_invariants(archive.path)


def test_going_back_to_an_earlier_model_tops_up_what_it_has(two: Archive) -> None:
    fill(two, 2, start=200)
    embedder = WordHashEmbedder(refused=["mushroom"])
    built = run(two, embedder, max_failed=1)
    assert built.generation.id == 1
    assert built.activated
    assert built.run.embedded == 2
    assert states(two) == ["active", "retired"]
    check_invariants(two.path)


def test_an_incomplete_or_empty_generation_is_not_activated_unasked(archive: Archive) -> None:
    fill(archive, 200)
    run(archive)
    run(archive, WordHashEmbedder("second"), should_stop=lambda: True)
    with pytest.raises(VaultembedError, match="empty"):
        activate(archive, 2, 0, force=True)
    seen: list[object] = []
    run(archive, WordHashEmbedder("second"), should_stop=lambda: bool(seen), on_batch=seen.append)
    with pytest.raises(IncompleteError, match="misses"):
        activate(archive, 2, 0)
    assert states(archive) == ["active", "building"]
    assert activate(archive, 2, 0, force=True)
    assert states(archive) == ["retired", "active"]
    assert not activate(archive, 2, 0)
    check_invariants(archive.path)


def test_the_active_generation_retires_only_by_force(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    with pytest.raises(UsageError, match="search by meaning uses"):
        retire(archive, 1)
    assert retire(archive, 1, force=True)
    assert generation_in_state(archive, "active") is None
    assert not retire(archive, 1)
    assert activate(archive, 1, 0)
    check_invariants(archive.path)


def test_a_generation_that_is_held_waits_for_its_activation(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    held = run(archive, WordHashEmbedder("second"), hold=True)
    assert not held.activated
    assert states(archive) == ["active", "building"]
    again = run(archive, WordHashEmbedder("second"))
    assert again.run.embedded == 0
    assert again.activated
    assert again.verified is not None
    assert again.verified.is_sound


def test_what_does_not_pass_verification_is_not_activated(archive: Archive) -> None:
    fill(archive, 50)
    run(archive)
    run(archive, WordHashEmbedder("second"), hold=True)
    archive.db.execute(
        "UPDATE vectors SET embedding = zeroblob(length(embedding)) WHERE chunk_id ="
        " (SELECT max(id) FROM chunks WHERE generation_id = 2)"
    )
    with pytest.raises(DamageError, match="did not pass verification"):
        run(archive, WordHashEmbedder("second"))
    assert states(archive) == ["active", "building"]


class OtherVectors(WordHashEmbedder):
    """Says that it is the model it was, and gives other vectors: a replaced library, say."""

    @property
    def facts(self) -> ModelFacts:
        return WordHashEmbedder().facts


class OtherWeights(WordHashEmbedder):
    """The name of a model it is not."""

    @property
    def facts(self) -> ModelFacts:
        from dataclasses import replace

        return replace(super().facts, name="word-hash")


def test_a_model_that_gives_other_vectors_than_before_is_refused(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    fill(archive, 5, start=10)
    with pytest.raises(ModelError, match="gives other vectors now"):
        run(archive, OtherVectors("impostor"))
    assert coverage_of(archive, 1).missing == 5


@pytest.mark.parametrize("named", [False, True])
def test_a_model_whose_weights_changed_under_its_name_is_refused(archive: Archive, named: bool) -> None:
    fill(archive, 5)
    run(archive)
    fill(archive, 5, start=10)
    with pytest.raises(ModelError, match="its weights have sha256"):
        run(archive, OtherWeights("altered"), wanted=Wanted(model_named=named))
    assert states(archive) == ["active"]
    assert run(archive, OtherWeights("altered"), wanted=Wanted(new=True)).activated
    assert states(archive) == ["retired", "active"]


def test_a_new_generation_of_the_same_fingerprint_can_be_asked_for(archive: Archive) -> None:
    fill(archive, 5)
    run(archive)
    embedder = WordHashEmbedder()
    assert run(archive, embedder, wanted=Wanted(new=True)).generation.id == 2
    assert sum("word" in text for text in embedder.texts) >= 5
    assert states(archive) == ["retired", "active"]
    check_invariants(archive.path)


def test_chunks_of_another_size_are_another_generation(archive: Archive) -> None:
    from tests.kit.archives import add

    add(archive, "long", " ".join(f"w{n}" for n in range(300)))
    run(archive)
    few = archive.scalar("SELECT count(*) FROM chunks")
    built = run(archive, wanted=Wanted(chunk_tokens=32))
    assert built.generation.id == 2
    assert archive.scalar("SELECT count(*) FROM chunks WHERE generation_id = 2") > few
    assert run(archive).generation.id == 2  # without further words it goes on with what there is
    with pytest.raises(UsageError, match="16 to 128"):
        run(archive, wanted=Wanted(chunk_tokens=4000))


def test_a_newer_preparation_tops_up_the_same_generation_and_the_mix_is_shown(archive: Archive) -> None:
    from vaultembed.archive.generations.records import recipe_mix

    fill(archive, 3)
    run(archive)
    assert recipe_mix(archive, 1) == {}
    # as an earlier vaultembed would have left it
    archive.db.execute("UPDATE generations SET recipe = replace(recipe, 'p2', 'p0')")
    archive.db.execute("UPDATE embed_outcomes SET recipe = replace(recipe, 'p2', 'p0')")
    fill(archive, 2, start=10)
    built = run(archive)
    assert built.generation.id == 1
    assert built.run.embedded == 2
    assert recipe_mix(archive, 1) == {"p0:t128o16": 3, "p2:t128o16": 2}
    check_invariants(archive.path)


def test_failed_messages_are_tried_again_on_request(two: Archive) -> None:
    embedder = WordHashEmbedder("second")
    assert run(two, embedder, max_failed=1).run.embedded == 0
    built = run(two, embedder, retry_failed=True)
    assert built.run.embedded == 1
    assert built.coverage.failed == 0
    assert coverage_of(two, 1).failed == 1
    check_invariants(two.path)


# One that is built again ------------------------------------------------------------------------------------------


def test_a_former_generation_is_not_reopened_for_a_model_that_does_not_work(two: Archive) -> None:
    fill(two, 2, start=50)
    with pytest.raises(ModelError, match="does not work"):
        run(two, WordHashEmbedder(sick=True))
    assert states(two) == ["retired", "active"], "nothing has changed"
    assert run(two, WordHashEmbedder("second", refused=["mushroom"]), max_failed=1).run.embedded == 2


def test_one_that_was_in_use_can_be_gone_back_to_after_its_completion_was_given_up(two: Archive) -> None:
    fill(two, 3, start=100)
    run(two, WordHashEmbedder(refused=["mushroom"]), max_failed=1, hold=True)
    assert states(two) == ["building", "active"]
    assert discard(two, None).state == "retired"
    with pytest.raises(IncompleteError, match="has not passed verification"):
        rollback(two)
    verify(two, 1, WordHashEmbedder(refused=["mushroom"]))
    assert rollback(two).id == 1
    embedder = WordHashEmbedder(refused=["mushroom"])
    run(two, embedder, max_failed=1)
    assert embedder.texts == []
    check_invariants(two.path)


def test_reopening_while_another_process_begins_one_is_refused(two: Archive) -> None:
    class Late(WordHashEmbedder):
        """Another process begins while this is tried."""

        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            with open_archive(two.path) as other:
                other.load_vec()
                choose_generation(other, WordHashEmbedder("third"), None, Wanted(model_named=True))
            return super().embed(texts, role)

    with pytest.raises(BusyError, match="generation 3"):
        run(two, Late())
    assert states(two) == ["retired", "active", "building"]


def test_a_generation_that_another_process_began_meanwhile_with_another_recipe_is_not_filled(archive: Archive) -> None:
    fill(archive, 5)

    class Late(WordHashEmbedder):
        def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
            if not list_generations(archive):
                with open_archive(archive.path) as other:
                    other.load_vec()
                    choose_generation(other, WordHashEmbedder(), None, Wanted(model_named=True, chunk_tokens=32))
            return super().embed(texts, role)

    with pytest.raises(ModelError, match="is being built with"):
        run(archive, Late(), wanted=Wanted(model_named=True, chunk_tokens=64))


def test_a_model_file_that_has_moved_is_found_where_it_is_now(archive: Archive) -> None:
    fill(archive, 3)
    embedder = WordHashEmbedder()
    archive.load_vec()
    build(archive, embedder, choose_generation(archive, embedder, "/old/m.gguf"), Options(0))
    job = choose_generation(archive, embedder, "/new/m.gguf")
    assert job.generation.model.path == "/new/m.gguf"
    assert build(archive, embedder, job, Options(0)).run.messages == 0


def test_the_way_to_complete_a_former_generation_is_told_and_works(two: Archive) -> None:
    fill(two, 1, start=100)
    with pytest.raises(IncompleteError) as told:
        activate(two, 1, 1)
    assert told.value.hint is not None
    assert "vaultembed embeddings build --model word-hash --chunk-tokens 128" in told.value.hint


def test_a_scope_without_messages_is_refused(two: Archive) -> None:
    """It would be complete at once, with nothing in it, and every build after it would fill it."""
    with pytest.raises(UsageError, match="no message in the scope typesms"):
        run(two, WordHashEmbedder("third"), wanted=Wanted(model_named=True, scope=Scope(types=("sms",))))
    assert states(two) == ["retired", "active"]


def test_vectors_that_are_stale_are_known_in_every_generation(two: Archive) -> None:
    two.db.execute("UPDATE messages SET subject = 'elephants' WHERE id = 3")
    assert two.rows("SELECT generation_id, message_id FROM stale_vectors ORDER BY 1") == [(1, 3), (2, 3)]
    run(two, WordHashEmbedder("second", refused=["mushroom"]), max_failed=1)
    assert two.rows("SELECT generation_id, message_id FROM stale_vectors") == [(1, 3)]


def test_what_killed_its_workers_in_a_new_generation_is_as_it_was_in_the_one_in_use(archive: Archive) -> None:
    ids = fill(archive, 6)
    run(archive)
    second = WordHashEmbedder("second")
    archive.load_vec()
    job = choose_generation(archive, second, None, Wanted(model_named=True))
    archive.db.execute(
        "INSERT INTO embed_leases(generation_id, first_id, last_id, owner, host, boot_id, pid, pid_started_at,"
        " attempts, heartbeat_at, expires_at) VALUES (2, ?1, ?1, NULL, 'h', 'b', 1, 'x', 5, 0, 0)",
        (ids[2],),
    )
    built = build(archive, second, job, Options(max_failed=5, hold=True))
    assert built.coverage.failed == 1
    assert verify_generation(archive, generation_with_id(archive, 1), WordHashEmbedder()).is_sound
