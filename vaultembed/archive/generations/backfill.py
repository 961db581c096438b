"""Puts an adopted generation to use, in a step of its own: whatever ends the import that wrote its vectors and
outcomes, there is either such a generation in service or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import generation_in_state
from vaultembed.failpoints import failpoint

STEP: Final = "msgvault_backfill_"
"""Beginning of the step's name in the ledger; the id of the generation follows."""


def steps(archive: Archive) -> Iterator[tuple[str, Callable[[], str]]]:
    """Backfills that have not run, the one of a generation being built first: where a message is done in both, that is
    the one its stamp tells of."""
    for (generation_id,) in archive.rows(
        "SELECT generation_id FROM adopted_generations WHERE NOT EXISTS (SELECT 1 FROM applied_steps s"
        f" WHERE s.name = '{STEP}' || generation_id) ORDER BY state <> 'building', generation_id"
    ):
        yield f"{STEP}{generation_id}", partial(backfill, archive, generation_id)


def backfill(archive: Archive, generation_id: int) -> str:
    """Put an adopted generation into the state it had, and stamp what it covers. In the transaction of the ledger.

    Where that place is taken, it stays out of service, and what it covers is not stamped.
    """
    state = archive.scalar("SELECT state FROM adopted_generations WHERE generation_id = ?", (generation_id,))
    cleared = archive.execute(
        "UPDATE messages SET embed_gen = NULL WHERE embed_gen IS NOT NULL"
        " AND embed_gen NOT IN (SELECT id FROM generations)"
    )
    failpoint("backfill.step")
    stamped = 0
    taken = generation_in_state(archive, state)
    if taken is None:
        archive.execute(
            "UPDATE generations SET state = ?1, retired_at = NULL,"
            " activated_at = CASE ?1 WHEN 'active' THEN unixepoch() END WHERE id = ?2",
            (state, generation_id),
        )
        failpoint("backfill.step")
        stamped = archive.execute(
            "UPDATE messages SET embed_gen = ?1 WHERE embed_gen IS NULL AND id IN (SELECT o.message_id"
            " FROM embed_outcomes o CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
            " WHERE o.generation_id = ?1)",
            (generation_id,),
        )
    failpoint("backfill.step")
    parts = [f"generation {generation_id} is {state}, {stamped} messages stamped"]
    if taken is not None:
        parts = [f"generation {generation_id} stays retired: generation {taken.id} is {state}"]
    if cleared:
        parts.append(f"{cleared} stamps of generations that do not exist cleared")
    return "; ".join(parts)
