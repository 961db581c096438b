"""What was wrong with a message: collected while it is decoded, and how much it weighs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from vaultembed.message import Problem

_MOST: Final = 20  # a broken message repeats itself: the first few say it all
_LONGEST_DETAIL: Final = 200


Weight = Literal["unread", "incomplete", "guessed"]
"""unread: at most its header is in the archive. incomplete: of the message something is missing, or not what was sent.
guessed: it was declared wrongly or not at all, and is read all the same, most likely right."""

WEIGHTS: Final[tuple[Weight, ...]] = ("unread", "incomplete", "guessed")
UNREAD_KINDS: Final = ("unreadable-file", "unreadable-message")
GUESSED_KINDS: Final = (
    *("bad-content-type", "bad-date", "broken-header", "unclosed-multipart"),
    *("undeclared-8bit", "unknown-charset", "wrong-charset"),
)
"""Any other kind makes a message incomplete."""
LEFT_OUT_KINDS: Final = ("html-left-out", "unreadable-message")
"""Of what was too much to read: another time, more may be read of it."""


def worst_weight(problems: Iterable[Problem]) -> Weight | None:
    found = {weight_of(problem.kind) for problem in problems}
    return next((weight for weight in WEIGHTS if weight in found), None)


def weight_of(kind: str) -> Weight:
    return "unread" if kind in UNREAD_KINDS else "guessed" if kind in GUESSED_KINDS else "incomplete"


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
