"""Puts an adopted generation to use, in a step of its own: whatever ends the import that wrote its vectors and
outcomes, there is either such a generation in service or none. And follows what msgvault does with it later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import (
    ADOPTED_RECIPE,
    Generation,
    State,
    generation_in_state,
    generation_to_fill,
    generation_with_id,
)
from vaultembed.archive.generations.transitions import renew_stamps_later
from vaultembed.failpoints import failpoint

STEP: Final = "msgvault_backfill_"
"""Beginning of the step's name in the ledger; the id of the generation follows."""


def steps(archive: Archive) -> Iterator[tuple[str, Callable[[], str]]]:
    """Backfills that have not run, the one of a generation being built first: where a message is done in both, that is
    the one its stamp tells of."""
    for (generation_id,) in archive.rows(
        "SELECT generation_id FROM adopted_generations WHERE generation_id IN (SELECT id FROM generations)"
        f" AND NOT EXISTS (SELECT 1 FROM applied_steps s WHERE s.name = '{STEP}' || generation_id)"
        " ORDER BY state <> 'building', generation_id"
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
    taken = _put_in_state(archive, generation_id, state)
    if taken is None and state != "retired":
        failpoint("backfill.step")
        stamped = archive.execute(
            "UPDATE messages SET embed_gen = ?1 WHERE embed_gen IS NULL AND id IN (SELECT o.message_id"
            " FROM embed_outcomes o CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
            " WHERE o.generation_id = ?1)",
            (generation_id,),
        )
    failpoint("backfill.step")
    parts = [
        f"generation {generation_id} is {generation_with_id(archive, generation_id).state}, {stamped} messages stamped"
    ]
    if taken is not None:
        parts = [f"generation {generation_id} stays retired: generation {taken.id} is {taken.state}"]
    if cleared:
        parts.append(f"{cleared} stamps of generations that do not exist cleared")
    return "; ".join(parts)


def follow(archive: Archive, states: Sequence[tuple[int, State]]) -> None:
    """Note in what state each adopted generation is at its origin by now. One that went into use there goes into use
    here. What it was has been recorded, so that it is done once: what a person has decided here since stays."""
    with archive.transaction():
        moved = [
            (generation_id, state)
            for generation_id, state in states
            if archive.execute(
                "UPDATE adopted_generations SET state = ?2 WHERE generation_id = ?1 AND state <> ?2",
                (generation_id, state),
            )
            and archive.scalar("SELECT 1 FROM applied_steps WHERE name = ?", (f"{STEP}{generation_id}",))
        ]
        for generation_id, state in moved:
            is_out = state == "retired" or _put_in_state(archive, generation_id, state) is not None
            if is_out and generation_with_id(archive, generation_id).state == "building":
                _stop_building(archive, generation_id)
        if moved:
            renew_stamps_later(archive)
        failpoint("adopt.follow")


def _put_in_state(archive: Archive, generation_id: int, state: State) -> Generation | None:
    """Returns the generation in its way, if one is. One in use that its origin has retired gives way; but where it
    answers by meaning, the other is being built until it can, too. One that was made here does not give way."""
    taken = generation_in_state(archive, state)
    filled = generation_to_fill(archive)
    if state == "retired" or (taken is not None and taken.id == generation_id):
        return None
    if taken is not None:
        there = "SELECT state FROM adopted_generations WHERE generation_id = ?"
        if state != "active" or archive.scalar(there, (taken.id,)) != "retired":
            return taken
        if taken.is_checked and not generation_with_id(archive, generation_id).is_checked:
            return _put_in_state(archive, generation_id, "building")
        archive.execute("UPDATE generations SET state = 'retired', retired_at = unixepoch() WHERE id = ?", (taken.id,))
    archive.execute(
        "UPDATE generations SET state = ?1, retired_at = NULL,"
        " activated_at = CASE ?1 WHEN 'active' THEN unixepoch() ELSE activated_at END WHERE id = ?2",
        (state, generation_id),
    )
    now = generation_to_fill(archive)
    if filled is not None and now is not None and filled.id != now.id:
        renew_stamps_later(archive)
    return None


def put_to_use(archive: Archive) -> None:
    """What is in use at its origin, and waited here until a model was found to give its vectors."""
    with archive.transaction():
        for (generation_id,) in archive.rows(
            "SELECT id FROM generations g JOIN adopted_generations a ON a.generation_id = g.id"
            " WHERE g.state = 'building' AND a.state = 'active' AND a.checked_at IS NOT NULL"
        ):
            _put_in_state(archive, generation_id, "active")


def _stop_building(archive: Archive, generation_id: int) -> None:
    """Unless something of it was made here: then that goes on."""
    retired = archive.execute(
        "UPDATE generations SET state = 'retired', retired_at = unixepoch() WHERE id = ?1 AND NOT EXISTS (SELECT 1"
        f" FROM embed_outcomes WHERE generation_id = ?1 AND recipe NOT GLOB '{ADOPTED_RECIPE}*')",
        (generation_id,),
    )
    if retired:
        archive.execute("DELETE FROM embed_leases WHERE generation_id = ?", (generation_id,))
