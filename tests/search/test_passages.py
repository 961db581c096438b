from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.search.passages import best_passage

FILLER = "Nothing of note happens in this sentence at all. " * 20
TEXT = f"{FILLER}One harbour here. {FILLER}The boat left the Harbour of Málaga at dawn. {FILLER}Another boat."


def passage(text: str, words: list[str], width: int = 80) -> str:
    start, end = best_passage(text, words, width)
    return text[start:end]


def test_the_passage_with_most_different_words_wins() -> None:
    assert passage(TEXT, ["harbour", "boat"]).startswith("The boat left the Harbour")


@pytest.mark.parametrize("word", ["malaga", "MÁLAGA", "málaga", "ma\u0301laga", "mala"])
def test_case_and_accents_do_not_matter_and_beginnings_match(word: str) -> None:
    assert "Málaga" in passage(TEXT, [word])


def test_the_middle_of_a_word_does_not_match_except_in_scripts_without_spaces() -> None:
    assert passage(TEXT, ["arbour"]) == passage(TEXT, [])
    assert "東京" in passage("あ" * 300 + "明日は東京に行きます" + "い" * 300, ["東京"], 40)


def test_characters_that_fold_to_two_do_not_shift_the_passage() -> None:
    assert "harbour" in passage("Straße ﬃ " * 200 + "the harbour " + "Straße " * 200, ["harbour"], 40)
    assert "Straße" in passage(FILLER + "Straße. " + FILLER, ["strasse"], 40)


def test_the_beginning_stands_in_where_nothing_matches() -> None:
    assert TEXT.startswith(passage(TEXT, ["zebra"]))
    assert best_passage("", ["zebra"], 40) == (0, 0)


@given(st.text(max_size=300), st.lists(st.text(max_size=5), max_size=4), st.integers(10, 120))
def test_any_text_has_a_passage_within_it(text: str, words: list[str], width: int) -> None:
    start, end = best_passage(text, words, width)
    assert 0 <= start <= end <= len(text)
    assert text[start:end] == text[start:end].strip()


def test_a_long_text_takes_seconds_at_most() -> None:
    begin = time.process_time()
    best_passage("é boat " * 400_000, ["boat", "e"], 200)
    assert time.process_time() - begin < 8


def test_without_a_match_the_beginning_is_cut_at_a_word_end() -> None:
    text = "one two three four five six"
    start, end = best_passage(text, ["nothing"], 12)
    assert text[start:end] == "one two"


def test_a_short_word_matches_only_itself() -> None:
    text = "at all ages and always " * 20 + "this is a needle"
    start, end = best_passage(text, ["a", "needle"], 20)
    assert "a needle" in text[start:end]


def test_a_passage_that_ends_with_its_match_is_not_cut_within_the_word() -> None:
    text = "x " * 60 + "filling my inboxes without end"
    start, end = best_passage(text, ["filling", "inbox"], 16)
    assert text[start:end].endswith("inboxes")
