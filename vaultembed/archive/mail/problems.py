"""What could not be read as it should: kept, counted by weight, and forgotten when it is well again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import number_of, text_of
from vaultembed.message import Problem
from vaultembed.text.problems import GUESSED_KINDS, UNREAD_KINDS, WEIGHTS, Weight

_WEIGHT: Final = f"CASE WHEN kind IN {UNREAD_KINDS} THEN 0 WHEN kind IN {GUESSED_KINDS} THEN 2 ELSE 1 END"
_WHICH: Final = "coalesce(message_id, locator)"
"""A message, or a place of which none could be made: each counts once, whatever is wrong with it."""


@dataclass(frozen=True, slots=True)
class ProblemRow:
    message_id: int | None
    locator: str
    kind: str
    detail: str
    weight: Weight


@dataclass(frozen=True, slots=True)
class KindCount:
    kind: str
    weight: Weight
    number: int
    """Of messages and places, each once a kind."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Mail that could not be read, by why."""

    why: str
    """With the way out."""
    number: int
    first: str
    """Where the first of them is."""


def record_problems(
    archive: Archive, source_id: int | None, message_id: int | None, locator: str, problems: Iterable[Problem]
) -> None:
    """Keep what was wrong with a message, or with something that did not become one. Known ones are not repeated."""
    archive.execute_many(
        "INSERT INTO problems(source_id, message_id, locator, kind, detail, at) VALUES (?, ?, ?, ?, ?, unixepoch())"
        " ON CONFLICT DO NOTHING",
        [(source_id, message_id, locator, p.kind, p.detail) for p in problems],
    )


def record_unread(archive: Archive, source_id: int | None, locator: str, problem: Problem) -> None:
    """Keep why something cannot be read now, in place of why it could not be read before."""
    archive.execute(
        "DELETE FROM problems WHERE locator = ? AND kind = ? AND detail <> ? AND message_id IS NULL",
        (locator, problem.kind, problem.detail),
    )
    record_problems(archive, source_id, None, locator, [problem])


def forget_problem(archive: Archive, locator: str, kind: str) -> None:
    """What is at a place could be read now."""
    archive.execute("DELETE FROM problems WHERE locator = ? AND kind = ? AND message_id IS NULL", (locator, kind))


def tell_unread(archive: Archive) -> list[Unread]:
    """What could not be read, and no import has said so at its end yet. It counts as said from now on."""
    is_news = f"told_at IS NULL AND kind IN {UNREAD_KINDS}"
    with archive.transaction():
        news = archive.rows(
            f"SELECT detail, count(*), min(locator) FROM problems WHERE {is_news} GROUP BY 1 ORDER BY 2, 1"
        )
        archive.execute(f"UPDATE problems SET told_at = unixepoch() WHERE {is_news}")
    return [Unread(*row) for row in news]


def problems_of(archive: Archive, message_id: int) -> list[ProblemRow]:
    return _rows(archive, "message_id = ?1 ORDER BY id", (message_id,))


def list_problems(archive: Archive, kind: str | None, limit: int) -> list[ProblemRow]:
    """Of a kind, or all but what was guessed: what weighs most first."""
    wanted = f"CASE WHEN ?1 IS NULL THEN {_WEIGHT} < 2 ELSE kind = ?1 END"
    return _rows(archive, f"{wanted} ORDER BY {_WEIGHT}, id LIMIT ?2", (kind, limit))


def _rows(archive: Archive, condition: str, bindings: tuple[object, ...]) -> list[ProblemRow]:
    columns = ", ".join(text_of(column) for column in ("locator", "kind", "detail"))
    return [
        ProblemRow(message_id, locator, kind, detail, WEIGHTS[weight])
        for message_id, locator, kind, detail, weight in archive.rows(
            f"SELECT {number_of('message_id')}, {columns}, {_WEIGHT} FROM problems WHERE {condition}", bindings
        )
    ]


def count_by_kind(archive: Archive) -> list[KindCount]:
    """What weighs most first, then most."""
    return [
        KindCount(kind, WEIGHTS[weight], number)
        for kind, weight, number in archive.rows(
            f"SELECT {text_of('kind')}, {_WEIGHT}, count(DISTINCT {_WHICH}) FROM problems GROUP BY 1, 2"
            " ORDER BY 2, 3 DESC, 1"
        )
    ]


def count_by_weight(archive: Archive) -> dict[Weight, int]:
    """How many messages and places have a problem, each by the worst of its own."""
    worst = f"SELECT min({_WEIGHT}) AS weight FROM problems GROUP BY {_WHICH}"
    found = dict(archive.rows(f"SELECT weight, count(*) FROM ({worst}) GROUP BY 1"))
    return {weight: found.get(rank, 0) for rank, weight in enumerate(WEIGHTS)}
