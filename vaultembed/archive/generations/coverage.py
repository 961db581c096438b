"""What search asks of the generations that serve it: for which messages each speaks, and which messages none covers.

A generation *speaks* for a message while its outcome for it is current, and embedded or blank; a failed one says
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import Generation, coverage_of

_SPEAKS: Final = (
    "EXISTS (SELECT 1 FROM embed_outcomes said WHERE said.generation_id = {generation} AND said.message_id = m.id"
    " AND said.content_rev = m.content_rev AND said.outcome IN ('embedded', 'blank'))"
)
# live messages `m` with such an outcome that is of their present text
_CURRENT: Final = (
    "embed_outcomes o {index} CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
    " WHERE o.generation_id = {generation} AND o.outcome {outcome} AND m.deleted_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Rest:
    """The live messages for which a newer generation does not speak: an older one speaks for them."""

    share: float
    """Of the live messages, by the counters."""
    condition: Filter
    """Tells of one message whether it is among them."""
    listing: Filter
    """The same, but begins with an index where the rest is small: a walk over all messages with a look-up for each
    takes a second at 10^6."""


def rest_beside(archive: Archive, newer: Generation) -> Rest:
    """What `newer` leaves to an older generation."""
    live = coverage_of(archive, None).live
    share = max(live - speaks_for(archive, newer), 0) / max(live, 1)
    condition = f"NOT {_SPEAKS.format(generation=newer.id)}"
    listing = condition
    if share < 0.5:
        # A stamp needs a current outcome (schema 0003): who bears this generation's is spoken for, or failed.
        others = _ids_of_other_generations(archive, [newer])
        parts = [
            "SELECT id FROM messages WHERE deleted_at IS NULL AND embed_gen IS NULL",
            *(f"SELECT id FROM messages WHERE deleted_at IS NULL AND embed_gen = {other}" for other in others),
            f"SELECT message_id FROM embed_outcomes WHERE generation_id = {newer.id} AND outcome = 'failed'",
        ]
        listing = f"m.id IN ({' UNION ALL '.join(parts)}) AND {condition}"
    return Rest(share, Filter(condition), Filter(listing))


def speaks_for(archive: Archive, generation: Generation) -> int:
    """How many live messages, by the counters. (One that has left the generation's scope is not counted.)"""
    coverage = coverage_of(archive, generation.id)
    return coverage.embedded + coverage.blank


def speaks_where_other_does_not(archive: Archive, generation: Generation, other: Generation) -> bool:
    """Whether there is a message for which `generation` speaks and `other` does not. Looks at each message of
    `generation` unless the counters tell: for one that covers little."""
    if speaks_for(archive, other) == coverage_of(archive, None).live:
        return False
    found = archive.scalar(
        "SELECT 1 FROM embed_outcomes o CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
        " WHERE o.generation_id = ? AND o.outcome IN ('embedded', 'blank') AND m.deleted_at IS NULL"
        f" AND NOT {_SPEAKS.format(generation=other.id)} LIMIT 1",
        (generation.id,),
    )
    return found is not None


@dataclass(frozen=True, slots=True)
class NotCovered:
    """Live messages for which no serving generation speaks, each counted once."""

    missing: int
    """The next build embeds them."""
    failed: int
    outside: int
    """Not in the scope of the generation to be filled: no build embeds them."""

    @property
    def total(self) -> int:
        return self.missing + self.failed + self.outside


def not_covered(archive: Archive, serving: Sequence[Generation]) -> NotCovered:
    """`serving`: the one to be filled, and an older one or none.

    One generation: from the counters. Two: the counters do not tell for how many messages both speak. What the older
    one speaks for is looked at, or else what bears the stamp of neither: with a small scope, or a build that is nearly
    done, one of them is little.
    """
    filled = serving[0]
    live = coverage_of(archive, None).live
    if len(serving) == 1:
        coverage = coverage_of(archive, filled.id)
        return NotCovered(coverage.missing, coverage.failed, max(live - coverage.live, 0))
    older = serving[1]
    by_filled, by_older = speaks_for(archive, filled), speaks_for(archive, older)
    outcomes = by_older + (by_filled if filled.scope else 0)
    count = _silent_by_outcomes if outcomes < live - by_filled - by_older else _silent_by_stamps
    silent = count(archive, filled, older)
    failed = _count(archive, filled, _failed(filled), [older])
    missing = silent.in_scope - failed.in_scope
    return NotCovered(missing, failed.total, silent.total - failed.total - missing)


@dataclass(frozen=True, slots=True)
class _Messages:
    total: int
    in_scope: int
    """Of the generation to be filled."""


def _silent_by_outcomes(archive: Archive, filled: Generation, older: Generation) -> _Messages:
    """Messages for which neither speaks: what is left when those are taken off for which one does."""
    by_older = _count(archive, filled, _spoken_for(older), [filled])
    in_scope = coverage_of(archive, filled.id).live - speaks_for(archive, filled) - by_older.in_scope
    if not filled.scope:
        return _Messages(in_scope, in_scope)
    # it speaks for what has left its scope, too, which the counters leave out
    by_filled = _count(archive, filled, _spoken_for(filled), [])
    return _Messages(coverage_of(archive, None).live - by_filled.total - by_older.total, in_scope)


def _silent_by_stamps(archive: Archive, filled: Generation, older: Generation) -> _Messages:
    """Messages for which neither speaks. One that bears the stamp of either has a current outcome there: only those
    without one, and failed ones, are looked at."""
    others = _ids_of_other_generations(archive, [filled, older])
    sources = [
        *(f"messages m WHERE m.deleted_at IS NULL AND m.embed_gen IS {stamp}" for stamp in ("NULL", *others)),
        *(f"{_failed(either)} AND m.embed_gen = {either.id}" for either in (filled, older)),
    ]
    counts = [_count(archive, filled, source, [filled, older]) for source in sources]
    return _Messages(sum(count.total for count in counts), sum(count.in_scope for count in counts))


def _spoken_for(generation: Generation) -> str:
    """Messages `m` for which it speaks."""
    return _CURRENT.format(index="", outcome="IN ('embedded', 'blank')", generation=generation.id)


def _failed(generation: Generation) -> str:
    # without its index, SQLite would rather walk over all outcomes of the generation
    return _CURRENT.format(index="INDEXED BY embed_outcomes_failed", outcome="= 'failed'", generation=generation.id)


def _count(archive: Archive, filled: Generation, source: str, silent: Sequence[Generation]) -> _Messages:
    """Messages `m` of a source, an SQL fragment, for which none of `silent` speaks."""
    in_scope = "1"
    if filled.scope:
        in_scope = f"EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = {filled.id} AND s.message_id = m.id)"
    says_nothing = "".join(f" AND NOT {_SPEAKS.format(generation=generation.id)}" for generation in silent)
    return _Messages(*archive.rows(f"SELECT count(*), coalesce(sum({in_scope}), 0) FROM {source}{says_nothing}")[0])


def _ids_of_other_generations(archive: Archive, than: Sequence[Generation]) -> list[int]:
    known = {generation.id for generation in than}
    return [row[0] for row in archive.rows("SELECT id FROM generations") if row[0] not in known]


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk, and the text it was cut from, as embedded."""

    text: str
    char_start: int
    char_end: int
    text_hash: bytes
    """Of the chunk's text, when it was embedded."""


def read_embedded_chunk(archive: Archive, chunk_id: int) -> EmbeddedChunk | None:
    """None where its text is no longer there. The outcome says how the text was prepared: a generation may hold
    outcomes of several recipes."""
    row = archive.row(
        "SELECT t.text, c.char_start, c.char_end, c.text_hash FROM chunks c"
        " JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = c.message_id"
        " JOIN message_texts t ON t.message_id = c.message_id"
        " AND t.preparation = substr(o.recipe, 1, instr(o.recipe || ':', ':') - 1)"
        " WHERE c.id = ?",
        (chunk_id,),
    )
    return None if row is None else EmbeddedChunk(*row)


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
