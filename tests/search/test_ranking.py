"""What search by words and by meaning make of a message each, and both of them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import add, new_archive
from tests.kit.embedder import DIMENSION
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import Generation, ModelRecord, create_generation
from vaultembed.archive.mail.lexical import rank_by_words, weigh
from vaultembed.archive.vector_format import to_bits, to_rows
from vaultembed.archive.vectors.nearest import unrelated_similarity
from vaultembed.search.answering import Answerer
from vaultembed.search.query import plain_query
from vaultembed.search.ranking import Hit, by_both, by_meaning, by_words

FILLER = "the ferry calls at every pier along the shore on weekdays in summer "
QUERY = np.eye(DIMENSION, dtype=np.float32)[0]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with new_archive(tmp_path / "a.db") as opened:
        yield opened


def generation(archive: Archive, name: str, similarities: dict[int, float]) -> Generation:
    """Whose vectors have these cosine similarities to the query, by message id."""
    archive.load_vec()
    model = ModelRecord(name, name, "c", "bert", DIMENSION, "mean", 512, "", "", "MIT", None)
    made = create_generation(archive, model, name, "p1:t256o32")
    vectors = np.zeros((len(similarities), DIMENSION), np.float32)
    for row, (message_id, cosine) in zip(vectors, similarities.items(), strict=True):
        row[0], row[1 + message_id % (DIMENSION - 1)] = cosine, (1 - cosine**2) ** 0.5
    with archive.transaction():
        first = archive.scalar("SELECT coalesce(max(id), 0) + 1 FROM chunks")
        for chunk, (message_id, row) in enumerate(zip(similarities, to_rows(vectors), strict=True), first):
            archive.execute(
                "INSERT INTO chunks VALUES (?, ?, ?, 0, 0, 1, ?, 0)",
                (chunk, made.id, message_id, message_id.to_bytes(4, "big")),
            )
            archive.execute("INSERT INTO vectors VALUES (?, ?, 0)", (chunk, row))
            archive.execute(
                f"INSERT INTO vec_{made.id}(rowid, embedding) VALUES (?, vec_bit(?))", (chunk, to_bits(row))
            )
            archive.execute(
                "INSERT INTO embed_outcomes SELECT ?, id, content_rev, 'p1:r', 'embedded', NULL, 1, 0, 0 FROM messages"
                " WHERE id = ?",
                (made.id, message_id),
            )
    return made


def both(archive: Archive, text: str, answerers: Sequence[Answerer], limit: int = 10) -> list[Hit]:
    query = plain_query(text)
    return by_both(archive, query, weigh(archive, query.phrases), answerers, limit)


def text_only(archive: Archive, text: str) -> list[Hit]:
    query = plain_query(text)
    return by_words(archive, query, weigh(archive, query.phrases), 10)


def test_a_message_that_alone_has_the_word_comes_before_what_is_near_without_it(archive: Archive) -> None:
    near = [add(archive, f"note {n}", FILLER, message_id=str(n)) for n in range(40)]
    wanted = add(archive, "log", f"{FILLER * 40} PR#7025 {FILLER * 40}", message_id="wanted")
    one = generation(archive, "m", {**dict.fromkeys(near, 0.6), wanted: 0.2})
    hits = both(archive, "PR#7025", [Answerer(one, QUERY, None, 0.1)])
    assert hits[0].message_id == wanted
    # twin: by bm25 alone the length of the message hides the word
    (text,) = text_only(archive, "PR#7025")
    assert (text.score + (0.2 - 0.1) / 0.9) / 2 < (0.6 - 0.1) / 0.9 / 2


def test_what_one_ranking_finds_the_other_is_asked_of(archive: Archive) -> None:
    ids = [add(archive, f"note {n}", f"{FILLER} {'harbour ' * (n >= 150)}", message_id=str(n)) for n in range(200)]
    one = generation(archive, "m", {message_id: 0.9 - message_id * 0.0015 for message_id in ids})
    hits = {hit.message_id: hit for hit in both(archive, "harbour", [Answerer(one, QUERY, None, 0.0)], 100)}
    last = hits[ids[-1]]
    assert last.text is not None
    assert last.vector is not None
    assert (last.vector.rank, round(last.vector.score, 2)) == (None, 0.6)
    assert last.score == pytest.approx((last.text.score + last.vector.score) / 2, abs=1e-3)
    first = hits[ids[0]]
    assert (first.text, first.vector and first.vector.rank) == (None, 1)


def test_two_spaces_are_compared_by_what_unrelated_texts_have_in_each(archive: Archive) -> None:
    """By rank, the best of the one would stand beside the best of the other, whatever they are."""
    ids = [add(archive, f"note {n}", FILLER, message_id=str(n)) for n in range(6)]
    narrow = generation(archive, "narrow", dict(zip(ids[:3], (0.74, 0.72, 0.71), strict=True)))
    archive.execute("UPDATE generations SET state = 'retired'")
    wide = generation(archive, "wide", dict(zip(ids[3:], (0.6, 0.4, 0.02), strict=True)))
    answerers = [Answerer(wide, QUERY, None, 0.0), Answerer(narrow, QUERY, None, 0.7)]
    hits = by_meaning(archive, plain_query("x"), answerers, 10)
    assert [hit.message_id for hit in hits] == [ids[3], ids[4], ids[0], ids[1], ids[2], ids[5]]
    assert [hit.vector and hit.vector.rank for hit in hits] == [1, 2, 1, 2, 3, 3]


def test_what_no_message_has_takes_no_weight_from_the_others(archive: Archive) -> None:
    for n in range(40):
        add(archive, f"note {n}", FILLER, message_id=str(n))
    add(archive, "harbour", FILLER, message_id="h")
    known = weigh(archive, plain_query("harbour").phrases)
    words = weigh(archive, plain_query("harbour qwertz 東京").phrases)
    assert (words.unknown, words.match, words.weight) == (("qwertz", "東京"), known.match, known.weight)


def test_common_words_pick_no_message_beside_a_rare_one_and_do_where_there_are_no_others(archive: Archive) -> None:
    for n in range(60):
        add(archive, f"note {n}", f"{FILLER} {'lamp' * (n % 3 == 0)} thing{n}", message_id=str(n))
    assert len(text_only(archive, "the lamp thing7")) == 1
    common = text_only(archive, "at every pier")
    assert len(common) == 10
    assert max(hit.score for hit in common) < 0.01  # and says so


@pytest.mark.parametrize("asked", ['"harbour wall"', '"東 京"', '"harb" *', '"harbour"'])
def test_the_weight_of_whatever_is_asked_is_that_of_the_index(archive: Archive, asked: str) -> None:
    """A message that has it as often as can be has the whole weight, and no message has more."""
    for n in range(40):
        add(archive, "", FILLER, message_id=str(n))
    add(archive, "", "harbour wall 東京 " * 2000, message_id="all")
    add(archive, "", "harbour", message_id="some")
    words = weigh(archive, {asked: asked})
    best = rank_by_words(archive, asked, 10, Filter())[0]
    assert words.share(best.bm25) == pytest.approx(1, abs=0.02)
    assert words.share(best.present) == pytest.approx(1, abs=1e-6)
    assert best.present / 2.2 == pytest.approx(words.weight)  # so it is no bound that cuts off


def test_unrelated_similarity_is_that_of_pairs_drawn_by_chance(archive: Archive) -> None:
    ids = [add(archive, f"note {n}", FILLER, message_id=str(n)) for n in range(400)]
    one = generation(archive, "m", dict.fromkeys(ids, 0.6))
    assert unrelated_similarity(archive, one) == pytest.approx(0.36, abs=0.03)


def test_a_handful_of_messages_about_one_thing_is_no_measure_of_the_unrelated(archive: Archive) -> None:
    ids = [add(archive, f"note {n}", FILLER, message_id=str(n)) for n in range(2)]
    one = generation(archive, "m", dict.fromkeys(ids, 0.99))
    assert unrelated_similarity(archive, one) < 0.1
    archive.execute("UPDATE generations SET state = 'retired'")
    assert unrelated_similarity(archive, generation(archive, "none", {})) == 0


def test_equal_scores_are_ordered_the_same_every_time(archive: Archive) -> None:
    ids = [add(archive, f"note {n}", FILLER, message_id=str(n)) for n in range(4)]
    one = generation(archive, "m", dict.fromkeys(ids, 0.5))
    for _ in range(2):
        assert [hit.message_id for hit in both(archive, "qwertz", [Answerer(one, QUERY, None, 0.0)])] == ids
