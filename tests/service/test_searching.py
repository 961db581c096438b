from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from tests.kit.embedder import WordHashEmbedder
from tests.kit.mail import mail, mbox
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.records import Generation, coverage_of, generation_in_state
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import activate, retire
from vaultembed.archive.vectors.nearest import EXACT_CHUNKS
from vaultembed.embeddings.build import Options, Wanted, build, choose_generation
from vaultembed.embeddings.worker import Limits
from vaultembed.errors import ModelError, NotReadyError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_process, resolve_model
from vaultembed.models.protocol import ModelFacts
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import Kept, SearchView, search_archive

COUNT = 40


class Models:
    """Opens the word-hash model that a generation was made with, and remembers which were opened."""

    def __init__(self, missing: tuple[str, ...] = (), replaced: dict[str, WordHashEmbedder] | None = None) -> None:
        self.missing = missing
        self.replaced = replaced or {}
        self.opened: list[str] = []

    def __call__(self, generation: Generation) -> WordHashEmbedder:
        name = generation.model.name
        if name in self.missing:
            raise ModelError(f"The model {name} is not on this machine yet.", f"vaultembed models pull {name}")
        self.opened.append(name)
        return self.replaced.get(name) or WordHashEmbedder(name)


def fill(
    archive: Archive,
    model: str,
    limit: int | None = None,
    *,
    refused: tuple[str, ...] = (),
    scope: Scope | None = None,
    new: bool = False,
    hold: bool = True,
) -> Generation:
    """Embed `limit` messages, or all that are left, with a model of that name."""
    embedder = WordHashEmbedder(model, refused)
    archive.load_vec()
    building = generation_in_state(archive, "building")
    job = choose_generation(
        archive, embedder, None, Wanted(model_named=True, scope=scope, new=new and building is None)
    )
    build(archive, embedder, job, Options(hold=hold, limits=Limits(messages=limit)))
    return job.generation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty messages, embedded by the active generation 1 of the model "old"."""
    with new_archive(tmp_path / "a.db") as archive:
        for n in range(COUNT):
            add(archive, f"subject{n}", f"thing{n} lies in box{n % 4}", message_id=str(n), sent_at=n)
        fill(archive, "old", hold=False)
    return tmp_path / "a.db"


def meaning(path: Path, query: str, models: Models | None = None, limit: int = 50) -> SearchView:
    return search_archive(path, query, mode="vector", limit=limit, kept=Kept(models or Models())).data


def voices(view: SearchView) -> dict[int, int | None]:
    """By message: the generation that found it."""
    return {found.id: found.vector.generation if found.vector else None for found in view.results}


def test_the_building_generation_alone_speaks_for_what_it_has_embedded(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 10)
    view = meaning(path, "thing3")
    assert voices(view) == {n: 2 if n <= 10 else 1 for n in range(1, COUNT + 1)}
    assert (view.generation, view.building and view.building.generation) == (1, 2)
    assert view.building is not None
    assert view.building.coverage.embedded == 10
    assert view.not_covered == 0


def test_the_right_message_is_among_the_first_whichever_generation_has_it(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 20)
    for n in (3, 33):
        query = f"thing{n} box{n % 4}"
        # by meaning alone another may be nearer in the other space; words tell them apart
        assert n + 1 in [found.id for found in meaning(path, query).results[:2]]
        assert search_archive(path, query, kept=Kept(Models())).data.results[0].id == n + 1


def test_the_best_of_few_messages_is_not_put_before_the_best_of_all(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 4)  # a tenth
    found = meaning(path, "thing33 box1").results
    assert found[0].id == 34


def test_nothing_goes_dark_at_any_step_of_a_rebuild(path: Path) -> None:
    for step in range(0, COUNT + 1, 4):
        with open_archive(path) as archive:
            if step:
                fill(archive, "new", 4)
        for n in range(0, COUNT, 5):
            view = meaning(path, f"thing{n}")
            assert [found.id for found in view.results if found.id == n + 1] == [n + 1]
            assert {found.id for found in view.results} == set(range(1, COUNT + 1))
            right = next(found for found in view.results if found.id == n + 1)
            assert right.vector is not None
            assert (right.vector.rank, right.vector.generation) == (1, 2 if n < step else 1)
            assert view.not_covered == 0
    with open_archive(path) as archive:
        activate(archive, 2, 0, force=True)
    assert set(voices(meaning(path, "thing3")).values()) == {2}


def test_a_message_that_failed_in_the_new_generation_is_answered_by_the_old(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 20, refused=("thing7",))
        assert coverage_of(archive, 2).failed == 1
    view = meaning(path, "thing7")
    assert voices(view)[8] == 1
    assert view.results[0].id == 8
    assert view.not_covered == 0


def test_a_message_that_is_blank_in_the_new_generation_is_not_shown_by_its_old_vector(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 20)
        # as a newer preparation would have it: nothing of the text is worth embedding
        archive.db.execute("DELETE FROM chunks WHERE generation_id = 2 AND message_id = 8")
        archive.db.execute(
            "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
            " SELECT 2, id, content_rev, 'p1:t128o16', 'blank', 0 FROM messages WHERE id = 8"
        )
    view = meaning(path, "thing7")
    assert 8 not in voices(view)
    assert view.not_covered == 0


def test_an_edited_message_is_shown_by_neither_until_it_is_embedded_again(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 20)
        archive.db.execute("UPDATE message_bodies SET body_text = 'a new garden' WHERE message_id IN (5, 30)")
    result = search_archive(path, "thing4", mode="vector", limit=50, kept=Kept(Models()))
    assert not {5, 30} & set(voices(result.data))
    assert result.data.not_covered == 2
    assert result.notes == ("Not covered by meaning: 2 missing of 40 messages. Next: vaultembed embeddings build",)
    with open_archive(path) as archive:
        fill(archive, "new", 2)
    view = meaning(path, "garden")
    assert view.results[0].passage.text == "a new garden"
    assert voices(view)[5] == 2


def test_new_mail_is_found_as_soon_as_the_new_generation_has_it(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 1)
        new = add(archive, "Holiday", "the cottage by the lake", message_id="late")
        assert meaning(path, "cottage").not_covered == 1
        archive.db.execute("UPDATE embed_watermark SET watermark_id = 0")
        fill(archive, "new")
    assert meaning(path, "cottage").results[0].id == new


def test_a_model_is_not_loaded_for_the_little_that_the_active_generation_has_too(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 1)
        models = Models()
        view = meaning(path, "thing0", models)
        assert models.opened == ["old"]
        assert set(voices(view).values()) == {1}
        fill(archive, "new", 1)  # 5 %
        meaning(path, "thing0", models := Models())
        assert sorted(models.opened) == ["new", "old"]


def test_it_is_loaded_for_a_message_that_only_it_covers(path: Path) -> None:
    with open_archive(path) as archive:
        archive.db.execute("DELETE FROM chunks WHERE generation_id = 1 AND message_id = 1")
        fill(archive, "new", 1)
    models = Models()
    view = meaning(path, "thing0", models)
    assert sorted(models.opened) == ["new", "old"]
    assert voices(view)[1] == 2


def test_generations_of_one_space_are_asked_with_one_vector(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "old", 10, new=True)
    models = Models()
    view = meaning(path, "thing3", models)
    assert models.opened == ["old"]
    assert set(voices(view).values()) == {1, 2}


def test_without_the_new_model_the_active_generation_answers_and_says_so(path: Path) -> None:
    with open_archive(path) as archive:
        archive.db.execute("DELETE FROM chunks WHERE generation_id = 1 AND message_id = 1")
        fill(archive, "new", 10)
    result = search_archive(path, "thing3", mode="vector", limit=50, kept=Kept(Models(missing=("new",))))
    assert voices(result.data) == dict.fromkeys(range(2, COUNT + 1), 1)
    assert result.data.not_covered == 1
    silent, left_out = result.notes
    assert silent == (
        "Generation 2 is unavailable, so messages only it covers are missing: The model new is not on this machine yet."
        " vaultembed models pull new"
    )
    assert left_out == "Not covered by meaning: 1 missing of 40 messages. Next: vaultembed embeddings build"


@pytest.mark.parametrize("embedded", [1, 10])
def test_without_the_old_model_the_new_generation_answers_and_says_so(path: Path, embedded: int) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", embedded)
    result = search_archive(path, "thing0", kept=Kept(Models(missing=("old",))))
    assert result.data.results[0].id == 1
    assert result.data.not_covered == COUNT - embedded
    assert "Generation 1 is unavailable" in result.notes[0]


def test_without_any_model_the_error_is_that_of_the_active_generation(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 10)
    with pytest.raises(ModelError, match="The model old is not on this machine"):
        meaning(path, "thing0", Models(missing=("old", "new")))


class OtherWeights(WordHashEmbedder):
    """The first eight digits of their hash are the same: the space alone does not tell them apart."""

    @property
    def facts(self) -> ModelFacts:
        facts = super().facts
        return replace(facts, weights_sha256=facts.weights_sha256[:8] + "0" * 56)


def test_a_model_whose_whole_hash_differs_is_refused(path: Path) -> None:
    with pytest.raises(NotReadyError, match="its weights have the sha256"):
        meaning(path, "thing0", Models(replaced={"old": OtherWeights("old")}))


class OtherVectors(WordHashEmbedder):
    """The same facts, other vectors."""

    @property
    def facts(self) -> ModelFacts:
        return WordHashEmbedder("old").facts


def test_a_model_that_gives_other_vectors_than_when_the_generation_began_is_refused(path: Path) -> None:
    with pytest.raises(NotReadyError, match="other vectors now"):
        meaning(path, "thing0", Models(replaced={"old": OtherVectors("else")}))


def test_messages_outside_the_scope_are_not_covered_and_no_build_is_advised(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        for n in range(10):
            add(archive, f"subject{n}", f"thing{n}", message_id=str(n), sent_at=86400 * n)
        fill(archive, "old", scope=Scope(after=86400 * 4), hold=False)
    result = search_archive(tmp_path / "a.db", "thing1", kept=Kept(Models()))
    assert result.data.results[0].id == 2  # by words
    assert result.data.not_covered == 4
    [note] = result.notes
    assert note == (
        "Not covered by meaning: 4 outside the scope of generation 1 (after1970-01-05) of 10 messages."
        " By words they are."
    )


def test_beside_a_scoped_building_generation_the_active_one_answers_for_what_is_outside(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", scope=Scope(after=20))
        add(archive, "Holiday", "the cottage by the lake", message_id="late", sent_at=1)
    result = search_archive(path, "thing3", mode="vector", limit=50, kept=Kept(Models()))
    assert voices(result.data) == {n: 1 if n <= 20 else 2 for n in range(1, COUNT + 1)}
    assert result.data.not_covered == 1
    assert "1 outside the scope of generation 2 (after1970-01-01T00:00:20Z)" in result.notes[0]


def test_retired_discarded_and_pruned_generations_never_answer(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new", 10)
        archive.db.execute("UPDATE generations SET state = 'discarded' WHERE id = 2")
        assert set(voices(meaning(path, "thing3")).values()) == {1}
        retire(archive, 1, force=True)
    with pytest.raises(NotReadyError, match="no generation is active"):
        meaning(path, "thing3")
    result = search_archive(path, "thing3", kept=Kept(Models()))
    assert result.data.results[0].id == 4
    assert result.notes == ("By words only: no generation is active. Next: vaultembed embeddings list",)


def test_by_words_no_generation_is_asked(path: Path) -> None:
    result = search_archive(path, "thing3", mode="text", kept=Kept(Models(missing=("old",))))
    assert result.data.results[0].id == 4
    assert (result.data.generation, result.data.building, result.data.not_covered) == (None, None, None)


def test_a_coarse_index_that_cannot_be_used_is_told(path: Path) -> None:
    with open_archive(path) as archive:
        archive.load_vec()
        with archive.transaction():
            # as if there were more chunks than are scored exactly
            archive.db.execute("UPDATE embed_coverage SET chunks = ?", (EXACT_CHUNKS + 1,))
            archive.db.execute("DROP TABLE vec_1")
    result = search_archive(path, "subject3 thing3", mode="vector", kept=Kept(Models()))
    assert result.data.results[0].id == 4
    [note] = result.notes
    assert "coarse index of generation 1 cannot be used (no such table: vec_1)" in note
    assert "vaultembed doctor --fix" in note


def test_a_passage_is_cut_from_the_text_as_its_own_outcome_prepared_it(path: Path) -> None:
    with open_archive(path) as archive:
        # a newer preparation topped up the generation: this message still has the older one
        archive.db.execute("UPDATE message_texts SET preparation = 'p0' WHERE message_id = 4")
        archive.db.execute("UPDATE embed_outcomes SET recipe = replace(recipe, 'p2:', 'p0:') WHERE message_id = 4")
        archive.db.execute("INSERT INTO message_texts VALUES (4, 'p2', 'quite another text, never embedded')")
    passage = meaning(path, "thing3").results[0].passage
    assert passage.text == "thing3 lies in box3"
    assert passage.chunk_id is not None


@pytest.mark.parametrize("damage", ["UPDATE message_texts SET text = 'x' || text", "DELETE FROM message_texts"])
def test_a_passage_that_the_stored_text_no_longer_has_is_not_shown(path: Path, damage: str) -> None:
    with open_archive(path) as archive:
        archive.db.execute(damage)
    passage = meaning(path, "thing3").results[0].passage
    assert passage.text == "thing3 lies in box3"  # of the body as it is
    assert passage.chunk_id is None


def test_the_same_real_model_with_other_prefixes_is_another_space(tmp_path: Path, model: ModelFile) -> None:
    path = tmp_path / "a.db"
    mails = [
        mail("Water everywhere", "The pipe under the sink burst and the whole kitchen is flooded."),
        mail("Sunday", "Shall we take the children to the zoo? The penguins hatched."),
    ]
    import_mail(path, [mbox(tmp_path / "box", mails)])
    file = tmp_path / "m.gguf"
    shutil.copy(model.path, file)
    for document, asked, limit in (("", "", None), ("passage: ", "query: ", 1)):
        embedder = open_in_process(resolve_model(str(file), document_prefix=document, query_prefix=asked))
        with open_archive(path) as archive:
            archive.load_vec()
            job = choose_generation(archive, embedder, str(file), Wanted(model_named=True))
            build(archive, embedder, job, Options(limits=Limits(messages=limit)))
        embedder.close()
    with open_archive(path) as archive:
        active, building = (generation_in_state(archive, state) for state in ("active", "building"))
        assert active is not None
        assert building is not None
        assert active.space != building.space
        assert active.model.weights_sha256 == building.model.weights_sha256
    result = search_archive(path, "plumbing disaster", mode="vector")
    assert voices(result.data) == {1: 2, 2: 1}
    assert search_archive(path, "plumbing disaster").data.results[0].subject == "Water everywhere"
    assert result.notes == ()
    file.unlink()
    with pytest.raises(ModelError, match=r"m\.gguf"):
        search_archive(path, "plumbing disaster", mode="vector")


def test_a_query_of_signs_alone_says_that_words_find_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        add(archive, "party", "🎉 for 5 €")
    for text in ("🎉", "€ ☎"):
        found = search_archive(path, text, mode="text")
        assert found.data.results == ()
        assert any("no letter or digit" in note and text in note for note in found.notes)
    assert not any("no letter" in note for note in search_archive(path, "party 🎉", mode="text").notes)
