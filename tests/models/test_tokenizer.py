"""Token ids are the original tokenizer's, whatever the text."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.make_reference_vectors import digest, every_character
from tests.models.reference import Reference
from vaultembed.models.model_file import ModelFile
from vaultembed.models.vocabulary import Vocabulary, open_vocabulary
from vaultembed.models.wordpiece import WordPiece


@pytest.fixture(scope="module")
def vocabulary(model: ModelFile) -> Vocabulary:
    return open_vocabulary(model.path)


def test_reference_texts_give_the_reference_ids(vocabulary: Vocabulary, reference: Reference) -> None:
    wrong = [text for text, ids in zip(reference.texts, reference.ids, strict=True) if vocabulary.encode(text) != ids]
    assert wrong == []


def test_every_character_gives_the_reference_ids(vocabulary: Vocabulary, reference: Reference) -> None:
    assert digest(vocabulary.encode(text) for text in every_character()) == reference.every_character


def test_the_digest_of_every_character_notices_one_wrong_id(reference: Reference) -> None:
    assert digest([[101, 1, 102]]) != digest([[101, 2, 102]])
    assert len(reference.every_character) == hashlib.sha256().digest_size


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("a\ud800b", "ab"),
        ("\udfff", ""),
        ("a\x00b", "ab"),
        ("ΟΔΟΣ", "οδοσ"),
        ("Straße\u0301", "straße"),
        ("x" * 101, "\u2581"),
    ],
)
def test_texts_that_mean_the_same_to_the_original(vocabulary: Vocabulary, text: str, same_as: str) -> None:
    assert vocabulary.encode(text) == vocabulary.encode(same_as)


def test_special_tokens_spelled_out_are_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("[SEP] [CLS] [UNK] [MASK] [PAD]")
    assert (ids[0], ids[-1]) == (101, 102)
    assert not {101, 102, 100, 103, 0} & set(ids[1:-1])


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_tokenised(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert (ids[0], ids[-1]) == (101, 102)


def test_a_cased_vocabulary_keeps_case_and_accents() -> None:
    pieces = ["[CLS]", "[SEP]", "[UNK]", "\u2581É", "\u2581E", "\u2581e"]
    cased = WordPiece(pieces, cls=0, sep=1, unknown=2, lowercase=False, strip_accents=False)
    assert cased.encode("É E e é") == [0, 3, 4, 5, 2, 1]
