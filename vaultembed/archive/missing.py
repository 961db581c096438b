"""How many live messages still need embedding, in either of two generations, each counted once."""

from __future__ import annotations

from collections.abc import Sequence

from vaultembed.archive.database import Archive
from vaultembed.archive.generations import Generation, coverage_of

_HAS_OUTCOME = (
    "EXISTS (SELECT 1 FROM embed_outcomes has WHERE has.generation_id = {generation} AND has.message_id = m.id"
    " AND has.content_rev = m.content_rev)"
)


def count_missing(archive: Archive, generations: Sequence[Generation]) -> int:
    """Live messages, in the scope of one of them, without a current outcome there.

    `generations`: none (every live message is missing), one, or the building and the active one. The counters tell how
    many each of two misses, and not how many both miss; those are looked at one by one, from the smaller side.
    """
    if not generations:
        return coverage_of(archive, None).live
    missing = [coverage_of(archive, generation.id).missing for generation in generations]
    if len(generations) == 1 or min(missing) == 0:
        return max(missing)
    return sum(missing) - _missing_in_both(archive, generations[0], generations[1])


def _missing_in_both(archive: Archive, building: Generation, active: Generation) -> int:
    covered = coverage_of(archive, building.id)
    missing_in_active = coverage_of(archive, active.id).missing
    if not building.scope and covered.live - covered.missing < missing_in_active:
        return missing_in_active - _covered_by_building_alone(archive, building, active)
    # a stamp of either stands for a current outcome there: who misses both bears another one, or none
    others = [
        row[0] for row in archive.rows("SELECT id FROM generations WHERE id NOT IN (?, ?)", _ids(building, active))
    ]
    missing_here = "".join(_missing_in(generation) for generation in (building, active))
    return sum(
        int(
            archive.scalar(
                "SELECT count(*) FROM messages m WHERE m.deleted_at IS NULL"
                f" AND m.embed_gen IS {'NULL' if stamp is None else stamp}{missing_here}"
            )
        )
        for stamp in (None, *others)
    )


def _covered_by_building_alone(archive: Archive, building: Generation, active: Generation) -> int:
    return int(
        archive.scalar(
            "SELECT count(*) FROM embed_outcomes o CROSS JOIN messages m ON m.id = o.message_id"
            " AND m.content_rev = o.content_rev WHERE o.generation_id = ? AND m.deleted_at IS NULL"
            + _missing_in(active),
            (building.id,),
        )
    )


def _missing_in(generation: Generation) -> str:
    """A condition on messages `m`."""
    condition = f" AND NOT {_HAS_OUTCOME.format(generation=generation.id)}"
    if generation.scope:
        condition += (
            " AND EXISTS (SELECT 1 FROM scope_members s"
            f" WHERE s.generation_id = {generation.id} AND s.message_id = m.id)"
        )
    return condition


def _ids(*generations: Generation) -> tuple[int, ...]:
    return tuple(generation.id for generation in generations)
