"""The backstop: a look at every message, whatever the watermark says. It recovers what no trigger could see.

It rolls over the ids in windows, so that it never holds up a build; and is recorded as done only at its end.
"""

from __future__ import annotations

import time
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.work import watermark_of, work_ids

BACKSTOP_HOURS: Final = 24.0
"""Between two, unless a build is told otherwise."""
WINDOW: Final = 20_000
"""Ids of one look: about 20 ms."""


def is_due(archive: Archive, generation_id: int, every_hours: float) -> bool:
    """Whether the last one *of this generation* is older than that; 0 is never."""
    if every_hours <= 0:
        return False
    last = last_backstop_at(archive, generation_id)
    return last is None or time.time() - last >= every_hours * 3600


def last_backstop_at(archive: Archive, generation_id: int) -> int | None:
    """When the last one of this generation came to its end, in unix seconds; None where none has. One in the future, as
    a clock that was wrong leaves it, counts as none: or there would be no other until then."""
    found: int | None = archive.scalar(
        "SELECT last_backstop_at FROM embed_watermark WHERE generation_id = ? AND last_backstop_at <= unixepoch()",
        (generation_id,),
    )
    return found


class Backstop:
    """One roll over the archive. Call `step` until it is done."""

    def __init__(self, archive: Archive, generation_id: int) -> None:
        self._archive = archive
        self._generation_id = generation_id
        self._after = 0
        self._end = int(archive.scalar("SELECT max(id) FROM messages") or 0)
        self.recovered = 0
        """Messages that were work and that an incremental build would not have found."""

    def step(self) -> bool:
        """Look at the next window. False at the end: what came after it began, the triggers have seen."""
        if self._after >= self._end:
            return False
        last = min(self._after + WINDOW, self._end)
        watermark = watermark_of(self._archive, self._generation_id)
        # Read without a transaction: a build beside this one must not wait. What is found is made work again under one.
        # What is work above the watermark, the build finds itself; a stamp that is not true, it finds nowhere.
        lost = work_ids(self._archive, self._generation_id, self._after, last=min(last, watermark))
        untrue = self._untrue_stamps(last)
        if lost or untrue:
            self._recover(lost, untrue)
        self._after = last
        return True

    def finish(self) -> None:
        """Record that it came to its end."""
        self._archive.execute(
            "UPDATE embed_watermark SET last_backstop_at = unixepoch() WHERE generation_id = ?",
            (self._generation_id,),
        )

    def _untrue_stamps(self, last: int) -> list[int]:
        return [
            row[0]
            for row in self._archive.rows(
                "SELECT m.id FROM messages m LEFT JOIN embed_outcomes o ON o.generation_id = ?1 AND o.message_id = m.id"
                " WHERE m.id > ?2 AND m.id <= ?3 AND m.deleted_at IS NULL AND m.embed_gen = ?1"
                " AND (o.content_rev IS NOT m.content_rev OR (o.outcome = 'embedded' AND NOT EXISTS"
                " (SELECT 1 FROM chunks c WHERE c.generation_id = ?1 AND c.message_id = m.id)))",
                (self._generation_id, self._after, last),
            )
        ]

    def _recover(self, lost: list[int], untrue: list[int]) -> None:
        with self._archive.transaction():
            if lost:
                self._archive.execute(
                    "UPDATE embed_watermark SET watermark_id = ?1 - 1 WHERE generation_id = ?2 AND watermark_id >= ?1",
                    (lost[0], self._generation_id),
                )
            for message_id in untrue:
                self._archive.execute("UPDATE messages SET embed_gen = NULL WHERE id = ?", (message_id,))
        self.recovered += len(lost) + len(untrue)
