from __future__ import annotations

from vaultembed.search.ranking import Hit, Signal, fuse


def text(*ids: int) -> list[Hit]:
    return [Hit(i, 0.0, Signal(rank, 1 / rank), None, None) for rank, i in enumerate(ids, 1)]


def vector(*ids: int) -> list[Hit]:
    return [Hit(i, 0.0, None, Signal(rank, 1 / rank), None) for rank, i in enumerate(ids, 1)]


def ids(hits: list[Hit]) -> list[int]:
    return [hit.message_id for hit in hits]


def test_what_both_rankings_find_comes_before_what_one_finds() -> None:
    assert ids(fuse(text(1, 2), vector(3, 2), 10))[0] == 2


def test_each_result_keeps_its_evidence_of_both_rankings() -> None:
    best = fuse(text(5, 7), vector(7), 1)[0]
    assert best.text == Signal(2, 0.5)
    assert best.vector == Signal(1, 1.0)


def test_a_ranking_of_few_messages_does_not_put_its_best_before_the_best_of_all() -> None:
    assert ids(fuse(text(1, 2, 3), vector(9), 4, {0: 0.01})) == [1, 2, 3, 9]
    assert ids(fuse(text(1, 2, 3), vector(9), 4))[:2] == [1, 9]


def test_equal_scores_are_ordered_the_same_every_time() -> None:
    assert ids(fuse(text(2), vector(1), 2)) == ids(fuse(text(2), vector(1), 2)) == [1, 2]
