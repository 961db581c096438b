from __future__ import annotations

import random

import pytest

from vaultembed.evaluation.comparing import Difference
from vaultembed.evaluation.comparing import compare as compare_rows


def compare(first: list[float], second: list[float]) -> Difference:
    """Of one measure."""
    (found,) = compare_rows([[value] for value in first], [[value] for value in second])
    return found


def test_the_same_runs_give_the_same_interval() -> None:
    made = random.Random(1)
    first, second = [made.random() for _ in range(80)], [made.random() for _ in range(80)]
    assert compare(first, second) == compare(first, second)


def test_the_interval_is_that_of_the_mean_difference() -> None:
    made = random.Random(2)
    first = [made.random() for _ in range(400)]
    apart = [made.gauss(0.05, 0.2) for _ in first]
    found = compare(first, [a + b for a, b in zip(first, apart, strict=True)])
    mean = sum(apart) / 400
    error = (sum((one - mean) ** 2 for one in apart) / 400) ** 0.5 / 20
    assert abs(found.difference - mean) < 1e-12
    assert abs(found.low - (mean - 1.96 * error)) < 0.1 * error
    assert abs(found.high - (mean + 1.96 * error)) < 0.1 * error
    assert found.is_significant


def test_pairs_tell_what_means_do_not() -> None:
    """Each a little better, among queries that differ a lot: as two heaps of numbers, nothing would be seen."""
    made = random.Random(3)
    first = [made.random() for _ in range(60)]
    found = compare(first, [value + 0.01 for value in first])
    assert found.is_significant
    assert (found.better, found.worse) == (60, 0)


def test_luck_is_not_significant() -> None:
    """Of pairs without any difference, about one in twenty seems to have one."""
    made = random.Random(4)
    found = compare_rows([[0.0] * 60] * 100, [[made.gauss(0, 1) for _ in range(60)] for _ in range(100)])
    assert 0 < sum(one.is_significant for one in found) <= 8
    assert not compare([0.5, 0.2], [0.5, 0.2]).is_significant


def test_measures_are_drawn_together() -> None:
    made = random.Random(5)
    first, second = [[[made.random() for _ in range(3)] for _ in range(30)] for _ in range(2)]
    for column, found in enumerate(compare_rows(first, second)):
        alone = compare([row[column] for row in first], [row[column] for row in second])
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
