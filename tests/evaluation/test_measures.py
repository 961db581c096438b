"""The measures are those of trec_eval. The values were computed once by ir-measures 0.4.3 (R@k, RR@10, nDCG@10), whose
run had the scores 0, -1, -2 …: in the order given, without ties."""

from __future__ import annotations

import random

import pytest

from vaultembed.archive.evaluations import MEASURES
from vaultembed.evaluation.measures import mean, measure

NOTHING = (0.0,) * 7
CASES = {
    "graded, with unjudged documents between": (
        "d3 d1 x d2 y d4",
        {"d1": 3, "d2": 1, "d3": 2, "d4": 3, "d5": 1},
        (0.2, 0.4, 0.6, 0.8, 0.8, 1.0, 0.8035516166403135),
    ),
    "at rank ten": ("a b c d e f g h i r", {"r": 1}, (0.0, 0.0, 0.0, 1.0, 1.0, 0.1, 0.2890648263178879)),
    "at rank eleven": ("a b c d e f g h i j r", {"r": 1}, (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)),
    "judged, and nothing answers it": ("a b", {"a": 0, "b": 0}, NOTHING),
    "grades below 0": (
        "a b c",
        {"a": -1, "b": 2, "c": 1, "d": -2},
        (0.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.66967181649423),
    ),
    "no results": ("", {"a": 1}, NOTHING),
    "none that is judged": ("x y z", {"a": 2}, NOTHING),
    "more answers than ten": (
        "a b c d e f g h i j k l m n o",
        {name: 1 + i % 3 for i, name in enumerate("onmlkjihgfedcba")},
        (0.06666666666666667, 0.2, 0.3333333333333333, 0.6666666666666666, 1.0, 1.0, 0.8294538393686469),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_measured_as_trec_eval_does(case: str) -> None:
    ranked, grades, expected = CASES[case]
    found = measure(ranked.split(), grades, [], set())
    assert [getattr(found, name) for name in MEASURES[:7]] == pytest.approx(expected, abs=1e-9)


def test_means_are_those_of_trec_eval() -> None:
    made = random.Random(18)
    documents = [f"d{i}" for i in range(300)]
    found = []
    for _ in range(50):
        some = made.sample(documents, made.randint(1, 40))
        grades = {name: made.choice([-1, 0, 0, 1, 1, 2, 3]) for name in some}
        found.append(measure(made.sample(documents, made.randint(0, 150)), grades, [], set()))
    expected = (
        0.0015384615384615385,
        0.006683699633699633,
        0.015126057276057276,
        0.043455422355422345,
        0.24159280131633068,
        0.0853888888888889,
        0.035894861393243584,
    )
    means = mean(found)
    assert [getattr(means, name) for name in MEASURES[:7]] == pytest.approx(expected, abs=1e-9)


def test_a_conversation_is_found_by_any_of_its_messages_among_the_first_five() -> None:
    shown = ["A", "A", "B", "A", "C", "D"]
    for wanted, share in [({"A"}, 1.0), ({"A", "D"}, 0.5), ({"D"}, 0.0), ({"B", "C"}, 1.0), (set(), 0.0)]:
        assert measure([], {}, shown, wanted).conversation_recall_5 == share
