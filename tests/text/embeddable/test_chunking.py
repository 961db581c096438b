from __future__ import annotations

import re
import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.embeddable.chunking import Chunk, chunk_text, chunking_tag


class WordTokenizer:
    """Words and marks as tokens, long words in pieces of `piece` characters, two special tokens: like WordPiece."""

    def __init__(self, piece: int = 4, special: int = 2) -> None:
        self.calls = 0
        self.characters = 0
        self._pattern = re.compile(rf"\w{{1,{piece}}}|[^\w\s]")
        self._special = special

    def count_tokens(self, text: str) -> int:
        self.calls += 1
        self.characters += len(text)
        return self._special + len(self._pattern.findall(text))


class ByteTokenizer:
    """Every three UTF-8 bytes are a token, white space too: like a byte-level model out of its language."""

    def count_tokens(self, text: str) -> int:
        return 1 + -(-len(text.encode()) // 3)


class MergingTokenizer:
    """Counts of parts do not add up: pairs of equal neighbours merge, so that a cut costs tokens."""

    def count_tokens(self, text: str) -> int:
        return 2 + len(re.findall(r"(\S)\1|\S", text))


def check(
    text: str, chunks: list[Chunk], tokenizer: WordTokenizer | ByteTokenizer | MergingTokenizer, most: int
) -> None:
    covered = bytearray(len(text))
    for chunk in chunks:
        span = text[chunk.char_start : chunk.char_end]
        assert span.strip() == span != ""
        assert tokenizer.count_tokens(span) <= most
        covered[chunk.char_start : chunk.char_end] = b"\1" * len(span)
    assert all(covered[index] or character.isspace() for index, character in enumerate(text))
    for before, after in pairwise(chunks):
        assert before.char_start < after.char_start
        assert before.char_end < after.char_end


TEXTS = st.text(max_size=600) | st.lists(
    st.sampled_from(
        [
            "word ",
            "a",
            "internationalisation",
            "Sentence one. ",
            "End!\n",
            "\n\n",
            "\n",
            "  ",
            "日本語",
            "です。",
            "é",
            "👩‍👩‍👧",
            "🏽",
            "\u0301",
            "x" * 90,
            "\r\n",
        ]
    ),
    max_size=120,
).map("".join)


@given(
    TEXTS,
    st.sampled_from([WordTokenizer(), WordTokenizer(1), ByteTokenizer(), MergingTokenizer()]),
    st.integers(8, 40),
    st.integers(0, 12),
)
def test_no_character_is_lost_and_no_chunk_is_too_long(
    text: str, tokenizer: WordTokenizer | ByteTokenizer | MergingTokenizer, most: int, overlap: int
) -> None:
    check(text, chunk_text(text, tokenizer, most, min(overlap, most - 1)), tokenizer, most)


def test_a_text_that_fits_is_one_chunk_and_one_count() -> None:
    tokenizer = WordTokenizer()
    assert chunk_text("  short text \n", tokenizer, 32, 8) == [Chunk(2, 12)]
    assert tokenizer.calls == 1
    assert chunk_text(" \n\t", tokenizer, 32, 8) == []


def test_cuts_fall_at_paragraphs_then_sentences_then_words() -> None:
    paragraphs = "One two three four five six.\n\nSeven eight nine ten.\n\nEleven twelve thirteen."
    ends = [
        paragraphs[chunk.char_end - 3 : chunk.char_end] for chunk in chunk_text(paragraphs, WordTokenizer(9), 12, 0)
    ]
    assert ends == ["ix.", "en."]
    sentences = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
    assert all(sentences[chunk.char_end - 1] == "." for chunk in chunk_text(sentences, WordTokenizer(9), 11, 0))
    japanese = "今日は天気がいいです。明日は雨が降るでしょう。傘を持って行きましょう。"
    assert all(japanese[chunk.char_end - 1] == "。" for chunk in chunk_text(japanese, WordTokenizer(1), 28, 0))
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"
    assert all(
        words[chunk.char_start : chunk.char_end].split()[-1] in words.split()
        for chunk in chunk_text(words, WordTokenizer(9), 6, 2)
    )


def test_a_chunk_repeats_about_the_overlap_of_the_one_before() -> None:
    text = " ".join(f"Sentence number {n} says little." for n in range(200))
    tokenizer = WordTokenizer(9)
    chunks = chunk_text(text, tokenizer, 64, 16)
    for before, after in pairwise(chunks):
        shared = text[after.char_start : before.char_end]
        assert 8 <= tokenizer.count_tokens(shared) - 2 <= 20
        assert shared.startswith("Sentence")


def test_a_letter_keeps_its_accents_and_an_emoji_its_parts() -> None:
    text = "e\u0301" * 500 + "👩🏽‍🚀" * 200
    for chunk in chunk_text(text, ByteTokenizer(), 40, 0):
        assert unicodedata.combining(text[chunk.char_start]) == 0
        assert text[chunk.char_start] not in "\u200d🏽"


@pytest.mark.parametrize("most", [1, 3, 10])
def test_the_first_chunks_are_those_of_the_whole_and_the_rest_is_not_even_counted(most: int) -> None:
    text = "\n\n".join(f"Paragraph {n} says. And says more, {'word ' * (n % 40)}." for n in range(400))
    tokenizer = WordTokenizer()
    whole = chunk_text(text, tokenizer, 32, 4)
    took = tokenizer.characters
    tokenizer.characters = 0
    assert chunk_text(text, tokenizer, 32, 4, most) == whole[:most]
    assert tokenizer.characters < took * (most + 2) / len(whole)


def test_a_limit_too_small_is_refused_and_says_why() -> None:
    with pytest.raises(ValueError, match="adds 2 to every text"):
        chunk_text("some words here", WordTokenizer(), 2, 0)
    with pytest.raises(ValueError, match="too small for the character"):
        chunk_text("👩 👩 👩", ByteTokenizer(), 2, 0)
    with pytest.raises(ValueError, match="overlap_tokens"):
        chunk_text("some words here", WordTokenizer(), 8, 8)


def test_the_tag_names_both_numbers() -> None:
    assert chunking_tag(256, 32) == "t256o32"


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        "a\n" * 400_000,
        "x" * 600_000,
        "日本語の文章です。" * 60_000,
        "\n\n" * 500_000 + "end",
        ". " * 300_000,
        " " * 1_000_000 + "x",
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_a_megabyte_takes_calls_in_proportion_to_its_length(text: str) -> None:
    tokenizer = WordTokenizer()
    begin = time.process_time()
    chunks = chunk_text(text, tokenizer, 256, 32)
    assert time.process_time() - begin < 8
    check(text, chunks, tokenizer, 256)
    assert tokenizer.characters < 8 * len(text)
    assert tokenizer.calls < len(text) / 20 + 100
