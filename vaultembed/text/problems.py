"""Collecting what was wrong with a message while it is decoded."""

from __future__ import annotations

from typing import Final

from vaultembed.message import Problem

_MOST: Final = 20  # a broken message repeats itself: the first few say it all
_LONGEST_DETAIL: Final = 200


class ProblemLog:
    """Grows while one message is decoded. Repeats of the same problem count once."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}

    def add(self, kind: str, detail: str) -> None:
        if len(self._problems) >= _MOST:
            return
        line = " ".join(detail.encode("utf-8", "replace").decode("utf-8").replace("\0", "").split())
        if len(line) > _LONGEST_DETAIL:
            line = line[: _LONGEST_DETAIL - 1] + "…"
        self._problems[Problem(kind, line)] = None

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems)
