from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.embeddings.query_vector import embed_query
from vaultembed.search.query import describe, parse_query, plain_query
from vaultembed.search.ranking import by_distinctive_words, by_words


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with new_archive(tmp_path / "a.db") as opened:
        for n in range(60):
            add(opened, f"subject {n}", f"who took my thing{n}", message_id=str(n))
        yield opened


def test_filters_are_taken_out_of_what_is_embedded() -> None:
    query = parse_query('from:anna "the red house" before:2010 garden re: https://example.org')
    assert query.text == "the red house garden re: https://example.org"
    assert describe(query.condition) == 'from:anna AND "the red house" AND before:2010-01-01'


def test_a_plain_query_takes_filters_for_words() -> None:
    query = plain_query("from: the desk of subject:me")
    assert query.only.is_empty
    assert query.text == "from: the desk of subject:me"


def test_words_that_every_message_has_make_none_of_them_a_result_of_the_fusion(archive: Archive) -> None:
    assert by_distinctive_words(archive, parse_query("who took my bicycle"), 10) == []
    assert [hit.message_id for hit in by_distinctive_words(archive, parse_query("who took thing7"), 10)] == [8]


def test_a_search_by_words_alone_still_finds_them(archive: Archive) -> None:
    assert len(by_words(archive, parse_query("who took my bicycle"), 10)) == 10


def test_a_query_longer_than_the_model_takes_is_the_mean_of_its_parts() -> None:
    embedder = WordHashEmbedder()
    long = " ".join(["harbour"] * 300 + ["lighthouse"] * 300)
    vector = embed_query(embedder, long, 128)
    halves = embedder.embed(["harbour", "lighthouse"]).vectors
    assert abs(float((vector**2).sum()) - 1) < 1e-5
    assert (halves @ vector).min() > 0.5
    assert all(embedder.count_tokens(text) <= 128 for text in embedder.texts)
