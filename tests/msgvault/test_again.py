"""Imports that follow a first one: what msgvault vouches for no more goes, what it embedded anew comes, and what was
made here stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import ACTIVE, BUILDING, Embed, Mail, Pair, Shape, mail, mime, write_pair
from tests.msgvault.test_adoption import here, stamped, states, with_outcome
from tests.msgvault.test_truth import planned_and_done, swap
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.records import Coverage, coverage_of
from vaultembed.failpoints import action_at
from vaultembed.models.model_file import ModelFile
from vaultembed.msgvault import their_vectors
from vaultembed.msgvault.embedded_text import embedded_text
from vaultembed.service.embedding import BuildRequest, Options, build_embeddings
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive
from vaultembed.service.transitions import discard_generation

EIGHT = [mail(n, f"Subject {n}", f"Text number {n}, and so on") for n in range(1, 9)]


def recipes(archive: Path, generation: int = 1) -> dict[int, str]:
    """By msgvault's id, of current outcomes."""
    where = {message: number for number, message in here(archive).items()}
    with open_archive_readonly(archive) as opened:
        return {
            where[message]: recipe
            for message, recipe in opened.rows(
                "SELECT o.message_id, o.recipe FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
                " AND m.content_rev = o.content_rev WHERE o.generation_id = ?",
                (generation,),
            )
            if message in where
        }


def vectors_of(archive: Path, number: int, generation: int = 1) -> list[bytes]:
    with open_archive_readonly(archive) as opened:
        return [
            row[0]
            for row in opened.rows(
                "SELECT v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.message_id = ?"
                " AND c.generation_id = ? ORDER BY c.chunk_index",
                (here(archive)[number], generation),
            )
        ]


def disown(pair: Pair, number: int) -> None:
    if pair.shape == "v1":
        pair.write("INSERT INTO pending_embeddings VALUES (?, ?, 5, NULL, NULL)", ACTIVE, number, name="vectors.db")
    else:
        pair.write("UPDATE messages SET embed_gen = NULL WHERE id = ?", number)


def embed_anew(pair: Pair, embed: Embed, number: int) -> None:
    """With other vectors, as of a text that was put right."""
    vector = embed([f"another text of {number}"])[0].astype("<f4")
    (key,) = (
        pair.open("vectors.db")
        .execute("SELECT embedding_id FROM embeddings WHERE message_id = ?", (number,))
        .fetchone()
    )
    width = vector.shape[0]
    pair.write(f"DELETE FROM vectors_vec_d{width} WHERE embedding_id = ?", key, name="vectors.db")
    pair.write(
        f"INSERT INTO vectors_vec_d{width}(generation_id, embedding_id, embedding) VALUES (?, ?, ?)",
        ACTIVE,
        key + 1000,
        vector.tobytes(),
        name="vectors.db",
    )
    pair.write(
        "UPDATE embeddings SET embedding_id = embedding_id + 1000, embedded_at = embedded_at + 9 WHERE message_id = ?",
        number,
        name="vectors.db",
    )
    if pair.shape == "v1":
        pair.write("DELETE FROM pending_embeddings WHERE message_id = ?", number, name="vectors.db")
    else:
        pair.write("UPDATE messages SET embed_gen = ? WHERE id = ?", ACTIVE, number)


@pytest.mark.parametrize("shape", ["v2", *(pytest.param(s, marks=pytest.mark.slow) for s in ("v1", "v3"))])
def test_what_is_vouched_for_no_more_goes_and_what_was_embedded_anew_comes(
    tmp_path: Path, embed: Embed, archive: Path, shape: Shape
) -> None:
    pair = write_pair(tmp_path / "mv", shape, EIGHT, embed)
    import_mail(archive, [pair.folder])
    before = {n: vectors_of(archive, n) for n in (1, 2)}
    disown(pair, 1)
    embed_anew(pair, embed, 2)
    done = planned_and_done(archive, pair)
    assert done.data.counts.unchanged == 8, "nothing of it shows in the messages"
    view = done.data.msgvault[0].generations[0]
    assert (view.embedded, view.here_already, view.again) == (1, 6, {"changed": 1})
    assert with_outcome(archive) == stamped(archive) == set(range(2, 9))
    assert vectors_of(archive, 2) != before[2]
    assert vectors_of(archive, 1) == []

    embed_anew(pair, embed, 1)
    planned_and_done(archive, pair)
    assert stamped(archive) == set(range(1, 9))
    assert vectors_of(archive, 1) not in ([], before[1])
    assert planned_and_done(archive, pair).data.msgvault[0].generations[0].here_already == 8


@pytest.mark.parametrize("shape", ["v0", "v3"])
def test_of_what_has_not_changed_no_text_is_made_again(
    tmp_path: Path, embed: Embed, archive: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by the rows: an import of 100,000 messages with nothing new took five times as long."""
    made = []

    def counted(subject: bytes, body: bytes, recipe: str) -> str:
        made.append(subject)
        return embedded_text(subject, body, recipe)

    copy = Mail(900, EIGHT[0].subject, EIGHT[0].body, raw=EIGHT[0].raw)
    pair = write_pair(tmp_path / "mv", shape, [*EIGHT, copy], embed)
    import_mail(archive, [pair.folder])
    monkeypatch.setattr(their_vectors, "embedded_text", counted)
    assert import_mail(archive, [pair.folder]).data.msgvault[0].generations[0].here_already == 8
    assert made == []
    pair.write("UPDATE embeddings SET embedded_at = embedded_at + 9 WHERE message_id = 2", name="vectors.db")
    assert import_mail(archive, [pair.folder]).data.msgvault[0].generations[0].embedded == 1
    assert made == [b"Subject 2"]


def test_what_was_made_here_since_stays(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v2", EIGHT, embed)
    import_mail(archive, [pair.folder])
    disown(pair, 1)
    import_mail(archive, [pair.folder])
    assert build_embeddings(archive).data.run.messages == 1, "found by the next build: the watermark was lowered"
    made = vectors_of(archive, 1)
    planned_and_done(archive, pair)
    assert vectors_of(archive, 1) == made, "also while it is not embedded there"
    embed_anew(pair, embed, 1)
    planned_and_done(archive, pair)
    assert vectors_of(archive, 1) == made
    assert recipes(archive)[1].startswith("p")


def test_one_of_two_copies_is_enough(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """They may stand far apart: it is decided when all were seen."""
    copy = Mail(900, EIGHT[0].subject, EIGHT[0].body, raw=EIGHT[0].raw)
    others = [mail(n, f"Subject {n}", f"Text {n}", embedded=False) for n in range(10, 500)]
    pair = write_pair(tmp_path / "mv", "v2", [EIGHT[0], *others, copy], embed)
    import_mail(archive, [pair.folder])
    disown(pair, 1)
    planned_and_done(archive, pair)
    assert {1, 900} <= stamped(archive)
    disown(pair, 900)
    planned_and_done(archive, pair)
    assert stamped(archive) == set()


def test_what_is_lost_or_damaged_there_takes_nothing_away(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v1", EIGHT, embed)
    import_mail(archive, [pair.folder])
    pair.write("DELETE FROM vectors_vec_d384 WHERE embedding_id < 4", name="vectors.db")
    planned_and_done(archive, pair)
    assert len(stamped(archive)) == 8
    pair.write("DROP TABLE pending_embeddings", name="vectors.db")
    planned_and_done(archive, pair)
    pair.write("DROP TABLE message_bodies")
    planned_and_done(archive, pair)
    assert len(stamped(archive)) == 8


@pytest.mark.parametrize("beside", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_is_truncated_is_embedded_in_part_and_whole_on_request(
    tmp_path: Path, embed: Embed, archive: Path, beside: bool
) -> None:
    if beside:
        own_in_use(archive, tmp_path)
    long = mail(9, "The long way", "Then the wind turned, and we sailed on to the next island. " * 40)
    pair = write_pair(tmp_path / "mv", "v0", [*EIGHT, long], embed)
    import_mail(archive, [pair.folder])
    assert coverage(archive).in_part == 1
    assert recipes(archive)[9] == "msgvault:truncated"
    assert build_embeddings(archive).data.run.messages == 0, "nobody asked"
    retry = BuildRequest(options=Options(retry_partial=True))
    assert build_embeddings(archive, retry).data.run.messages == 1
    assert (coverage(archive).in_part, coverage(archive).missing) == (0, 0)
    assert len(vectors_of(archive, 9)) > 1
    assert build_embeddings(archive, retry).data.run.messages == 0
    planned_and_done(archive, pair)
    assert coverage(archive).in_part == 0, "what was made here stays"


def test_fuller_vectors_replace_what_is_in_part(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """Of the same generation, and of another of the same model."""
    pair = write_pair(tmp_path / "mv", "v2", EIGHT, embed)
    pair.write("UPDATE embeddings SET truncated = 1 WHERE message_id < 4", name="vectors.db")
    import_mail(archive, [pair.folder])
    assert coverage(archive).in_part == 3
    pair.write("UPDATE embeddings SET truncated = 0 WHERE message_id < 3", name="vectors.db")
    planned_and_done(archive, pair)
    assert coverage(archive).in_part == 1
    other = write_pair(tmp_path / "other", "v2", EIGHT, embed, cut=1_000)
    other.write("UPDATE index_generations SET started_at = started_at + 5", name="vectors.db")
    import_mail(archive, [other.folder])
    assert coverage(archive).in_part == 0
    check_invariants(archive)


def coverage(archive: Path) -> Coverage:
    with open_archive_readonly(archive) as opened:
        return coverage_of(opened, 1)


def own_in_use(archive: Path, folder: Path) -> None:
    box = folder / "own.eml"
    box.write_bytes(mime(900, "My own", "Something that I embedded myself before"))
    import_mail(archive, [box])
    build_embeddings(archive)


def test_what_another_generation_took_over_goes_there_as_well(tmp_path: Path, embed: Embed, archive: Path) -> None:
    own_in_use(archive, tmp_path)
    pair = write_pair(tmp_path / "mv", "v2", EIGHT, embed)
    import_mail(archive, [pair.folder])
    assert set(range(1, 9)) <= stamped(archive, 1)
    before = vectors_of(archive, 2)
    disown(pair, 1)
    embed_anew(pair, embed, 2)
    import_mail(archive, [pair.folder])
    assert set(recipes(archive)) == set(recipes(archive, 2)) == set(range(2, 9))
    assert 1 not in stamped(archive, 1)
    assert vectors_of(archive, 2) == vectors_of(archive, 2, 2) != before
    check_invariants(archive)


def building(folder: Path, embed: Embed, *, activated: bool) -> Pair:
    mails = [mail(n, f"Subject {n}", f"Text number {n}", in_building=activated or n <= 4) for n in range(1, 9)]
    pair = write_pair(folder, "v2", mails, embed, building=True)
    if activated:
        for generation, state in ((ACTIVE, "retired"), (BUILDING, "active")):
            sql = "UPDATE index_generations SET state = ? WHERE id = ?"
            pair.write(sql, state, generation, name="vectors.db")
    return pair


@pytest.mark.slow
def test_what_went_into_use_there_goes_into_use_here(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = building(tmp_path / "mv", embed, activated=False)
    import_mail(archive, [pair.folder])
    assert states(archive) == ["building", "active"]
    swap(pair, building(tmp_path / "later", embed, activated=True))
    import_mail(archive, [pair.folder])
    assert states(archive) == ["active", "retired"]
    assert stamped(archive, 1) == set(range(1, 9))
    assert build_embeddings(archive).data.run.messages == 0
    check_invariants(archive)


@pytest.mark.slow
def test_also_where_it_was_never_seen_being_built(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = write_pair(tmp_path / "mv", "v2", [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 9)], embed)
    import_mail(archive, [pair.folder])
    swap(pair, building(tmp_path / "later", embed, activated=True))
    import_mail(archive, [pair.folder])
    assert states(archive) == ["retired", "active"]
    assert stamped(archive, 2) == set(range(1, 9))
    assert build_embeddings(archive).data.run.messages == 0
    check_invariants(archive)


@pytest.mark.parametrize("was_seen", [pytest.param(True, marks=pytest.mark.slow), False])
def test_one_of_a_model_that_is_not_here_waits_for_it_while_the_one_before_answers(
    tmp_path: Path, embed: Embed, archive: Path, model: ModelFile, was_seen: bool
) -> None:
    unknown = "UPDATE index_generations SET model = 'my-own', fingerprint = 'my-own:384:p1-111111:c700:e1' WHERE id = ?"
    pair = building(tmp_path / "mv", embed, activated=False)
    pair.write(unknown, BUILDING, name="vectors.db")
    if not was_seen:
        pair.write("DELETE FROM index_generations WHERE id = ?", BUILDING, name="vectors.db")
        pair.write("UPDATE messages SET embed_gen = ?", ACTIVE)
    import_mail(archive, [pair.folder])
    later = building(tmp_path / "later", embed, activated=True)
    later.write(unknown, BUILDING, name="vectors.db")
    swap(pair, later)
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].state_here == "building"
    assert "my-own" in done.notes[-1]
    assert "To go on without what is being built: vaultembed embeddings discard" in done.notes[-1]
    assert len(search_archive(archive, "text", mode="vector").data.results) == 8
    for _ in range(2):
        assert sorted(states(archive)) == ["active", "building"]
        import_mail(archive, [pair.folder])
    built = build_embeddings(archive, BuildRequest(model=str(model.path)))
    assert (built.data.run.messages, built.data.activated) == (0, True)
    assert sorted(states(archive)) == ["active", "retired"]
    check_invariants(archive)


def test_what_is_gone_from_there_is_retired_until_it_is_back(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """An older copy was imported, or vectors.db was made anew."""
    pair = write_pair(tmp_path / "mv", "v2", [mail(n, f"Subject {n}", f"Text number {n}") for n in range(1, 9)], embed)
    pair.copy(tmp_path / "older")
    import_mail(archive, [pair.folder])
    building(tmp_path / "later", embed, activated=True).copy(tmp_path / "newer")
    building(tmp_path / "half", embed, activated=False)
    for folder, expected in (
        ("half", {1: "active", 2: "building"}),
        ("older", {1: "active", 2: "retired"}),
        ("newer", {1: "retired", 2: "active"}),
        ("older", {1: "active", 2: "retired"}),
        ("half", {1: "active", 2: "building"}),
    ):
        swap(pair, Pair(tmp_path / folder, pair.shape, pair.mails).copy(tmp_path / "next"))
        shutil.rmtree(tmp_path / "next")
        import_mail(archive, [pair.folder])
        with open_archive_readonly(archive) as opened:
            assert dict(opened.rows("SELECT id, state FROM generations")) == expected
        work = 4 if folder == "half" else 0
        assert len(stamped(archive, 2 if folder != "older" else 1)) == 8 - work, folder
        check_invariants(archive)


@pytest.mark.slow
def test_one_that_was_made_here_and_is_in_use_stays_in_use(tmp_path: Path, embed: Embed, archive: Path) -> None:
    own_in_use(archive, tmp_path)
    pair = building(tmp_path / "mv", embed, activated=False)
    import_mail(archive, [pair.folder])
    assert states(archive) == ["active", "building", "retired"]
    swap(pair, building(tmp_path / "later", embed, activated=True))
    import_mail(archive, [pair.folder])
    assert states(archive) == ["active", "retired", "retired"]
    check_invariants(archive)


def test_what_was_decided_here_since_is_not_undone(tmp_path: Path, embed: Embed, archive: Path) -> None:
    pair = building(tmp_path / "mv", embed, activated=False)
    import_mail(archive, [pair.folder])
    discard_generation(archive)
    swap(pair, building(tmp_path / "later", embed, activated=True))
    import_mail(archive, [pair.folder])
    assert states(archive) == ["discarded", "active"]
    check_invariants(archive)


@pytest.mark.parametrize("place", ["import.before_transaction", "adopt.follow", "import.before_backfill"])
def test_an_import_that_ends_anywhere_is_made_good_by_the_next(
    tmp_path: Path, embed: Embed, archive: Path, place: str
) -> None:
    pair = building(tmp_path / "mv", embed, activated=False)
    import_mail(archive, [pair.folder])
    later = building(tmp_path / "later", embed, activated=True)
    later.write("UPDATE messages SET embed_gen = NULL WHERE id = 1")
    swap(pair, later)
    with pytest.raises(KeyboardInterrupt), action_at(place, _interrupt):
        import_mail(archive, [pair.folder])
    check_invariants(archive)
    import_mail(archive, [pair.folder])
    assert states(archive) == ["active", "retired"]
    assert stamped(archive, 1) == set(range(2, 9))
    check_invariants(archive)


def _interrupt() -> None:
    raise KeyboardInterrupt
