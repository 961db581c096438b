"""What search asks of the generations that serve it: which messages each covers, and which none does.

A generation *covers* a message while its outcome for it is current, and embedded or blank; a failed one says
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import Generation, coverage_of

_COVERS: Final = "IN ('embedded', 'blank')"
"""Of an outcome."""
_ANY: Final = "IS NOT NULL"


def _has(generation: Generation, outcome: str = _COVERS) -> str:
    """A condition on messages `m`: that they have such an outcome there, and it is of their present text."""
    return (
        f"EXISTS (SELECT 1 FROM embed_outcomes said WHERE said.generation_id = {generation.id}"
        f" AND said.message_id = m.id AND said.content_rev = m.content_rev AND said.outcome {outcome})"
    )


def _with(generation: Generation, outcome: str, index: str = "") -> str:
    """The live messages `m` that have; for FROM."""
    return (
        f"embed_outcomes o {index} CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
        f" WHERE o.generation_id = {generation.id} AND o.outcome {outcome} AND m.deleted_at IS NULL"
    )


def _failed(generation: Generation) -> str:
    # without its index, SQLite would rather walk over all outcomes of the generation
    return _with(generation, "= 'failed'", "INDEXED BY embed_outcomes_failed")


def _in_scope(generation: Generation) -> str:
    """A condition on messages `m`."""
    if not generation.scope:
        return "1"
    return f"EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = {generation.id} AND s.message_id = m.id)"


@dataclass(frozen=True, slots=True)
class Rest:
    """The live messages that a newer generation does not cover: an older one answers for them."""

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
    share = max(live - count_covered(archive, newer), 0) / max(live, 1)
    condition = f"NOT {_has(newer)}"
    listing = condition
    if share < 0.5:
        # A stamp needs a current outcome (stamp_needs_outcome): who bears this generation's is spoken for, or failed.
        others = _ids_of_other_generations(archive, [newer])
        parts = [
            "SELECT id FROM messages WHERE deleted_at IS NULL AND embed_gen IS NULL",
            *(f"SELECT id FROM messages WHERE deleted_at IS NULL AND embed_gen = {other}" for other in others),
            f"SELECT message_id FROM embed_outcomes WHERE generation_id = {newer.id} AND outcome = 'failed'",
        ]
        listing = f"m.id IN ({' UNION ALL '.join(parts)}) AND {condition}"
    return Rest(share, Filter(condition), Filter(listing))


def count_covered(archive: Archive, generation: Generation) -> int:
    """How many live messages, by the counters. (One that has left the generation's scope is not counted.)"""
    return _count_with(archive, generation, _COVERS)


def covers_what_other_does_not(archive: Archive, generation: Generation, other: Generation) -> bool:
    """Whether there is a message that `generation` covers and `other` does not. Looks at each message of
    `generation` unless the counters tell: for one that covers little."""
    if count_covered(archive, other) == coverage_of(archive, None).live:
        return False
    found = archive.scalar(f"SELECT 1 FROM {_with(generation, _COVERS)} AND NOT {_has(other)} LIMIT 1")
    return found is not None


@dataclass(frozen=True, slots=True)
class NotCovered:
    """Live messages that no serving generation covers, each counted once."""

    missing: int
    """The next build embeds them."""
    failed: int
    outside: int
    """Not in the scope of the generation to be filled: no build embeds them."""

    @property
    def total(self) -> int:
        return self.missing + self.failed + self.outside


def not_covered(archive: Archive, serving: Sequence[Generation]) -> NotCovered:
    """`serving`: the one to be filled, and an older one or none."""
    filled = serving[0]
    if len(serving) == 1:
        coverage = coverage_of(archive, filled.id)
        return NotCovered(coverage.missing, coverage.failed, coverage.outside_scope)
    older = serving[1]
    silent = _in_neither(archive, filled, older, _COVERS)
    failed = _count(archive, f"{_failed(filled)} AND NOT {_has(older)}", filled)
    missing = silent.in_scope - failed.in_scope
    return NotCovered(missing, failed.total, silent.total - failed.total - missing)


def count_missing(archive: Archive, generations: Sequence[Generation]) -> int:
    """Live messages, in the scope of one of them, without a current outcome there, each counted once.

    `generations`: none (every live message is missing), one, or the building and the active one.
    """
    if not generations:
        return coverage_of(archive, None).live
    missing = [coverage_of(archive, generation.id).missing for generation in generations]
    if len(generations) == 1 or min(missing) == 0:
        return max(missing)
    one, other = sorted(generations, key=lambda generation: not generation.scope)
    if other.scope:
        both = _in_neither_by_stamps(archive, one, other, _ANY, f" AND {_in_scope(other)}")
    else:
        both = _in_neither(archive, one, other, _ANY)
    return sum(missing) - both.in_scope


@dataclass(frozen=True, slots=True)
class _Messages:
    total: int
    in_scope: int
    """Of the generation that is asked about."""


def _in_neither(archive: Archive, generation: Generation, other: Generation, outcome: str) -> _Messages:
    """Live messages of which neither generation has such an outcome.

    The counters do not tell of how many both have one. Those of `other` are looked at, or else the messages that bear
    the stamp of neither: with a small scope, or a build that is nearly done, one of them is little.
    """
    live = coverage_of(archive, None).live
    have, other_has = (_count_with(archive, each, outcome) for each in (generation, other))
    if other_has + (have if generation.scope else 0) >= live - have - other_has:
        return _in_neither_by_stamps(archive, generation, other, outcome)
    alone = _count(archive, f"{_with(other, outcome)} AND NOT {_has(generation, outcome)}", generation)
    in_scope = coverage_of(archive, generation.id).live - have - alone.in_scope
    if not generation.scope:
        return _Messages(in_scope, in_scope)
    # it has outcomes of what has left its scope, too, which the counters leave out
    with_it = _count(archive, _with(generation, outcome), generation)
    return _Messages(live - with_it.total - alone.total, in_scope)


def _in_neither_by_stamps(
    archive: Archive, generation: Generation, other: Generation, outcome: str, condition: str = ""
) -> _Messages:
    """A stamp of either stands for a current outcome there: only messages that bear another one, or none, are looked
    at, and where a failed outcome does not count, those with one."""
    stamps = ["NULL", *_ids_of_other_generations(archive, [generation, other])]
    sources = [f"messages m WHERE m.deleted_at IS NULL AND m.embed_gen IS {stamp}" for stamp in stamps]
    if outcome == _COVERS:
        sources += [f"{_failed(either)} AND m.embed_gen = {either.id}" for either in (generation, other)]
    neither = f" AND NOT {_has(generation, outcome)} AND NOT {_has(other, outcome)}{condition}"
    counts = [_count(archive, source + neither, generation) for source in sources]
    return _Messages(sum(count.total for count in counts), sum(count.in_scope for count in counts))


def _count_with(archive: Archive, generation: Generation, outcome: str) -> int:
    """Live messages in its scope, by the counters."""
    coverage = coverage_of(archive, generation.id)
    return coverage.live - coverage.missing - (coverage.failed if outcome == _COVERS else 0)


def _count(archive: Archive, source: str, generation: Generation) -> _Messages:
    """Messages `m` of a source, an SQL fragment."""
    return _Messages(*archive.rows(f"SELECT count(*), coalesce(sum({_in_scope(generation)}), 0) FROM {source}")[0])


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
