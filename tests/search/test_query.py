from __future__ import annotations

from tests.kit.embedder import WordHashEmbedder
from vaultembed.embeddings.query_vector import embed_query
from vaultembed.search.query import describe, parse_query, plain_query


def test_filters_are_taken_out_of_what_is_embedded() -> None:
    query = parse_query('from:anna "the red house" before:2010 garden re: https://example.org')
    assert query.text == "the red house garden re: https://example.org"
    assert describe(query.condition) == 'from:anna AND "the red house" AND before:2010-01-01'


def test_a_plain_query_takes_filters_for_words() -> None:
    query = plain_query("from: the desk of subject:me")
    assert query.only.is_empty
    assert query.text == "from: the desk of subject:me"


def test_a_query_longer_than_the_model_takes_is_the_mean_of_its_parts() -> None:
    embedder = WordHashEmbedder()
    long = " ".join(["harbour"] * 300 + ["lighthouse"] * 300)
    vector = embed_query(embedder, long, 128)
    halves = embedder.embed(["harbour", "lighthouse"]).vectors
    assert abs(float((vector**2).sum()) - 1) < 1e-5
    assert (halves @ vector).min() > 0.5
    assert all(embedder.count_tokens(text) <= 128 for text in embedder.texts)
