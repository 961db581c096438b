"""Counts coverage from scratch: what the counters that triggers keep should say."""

from __future__ import annotations

from dataclasses import dataclass

from vaultembed.archive.doctor.derived import GenerationRow, all_generations, count_generation, count_live
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import Coverage, coverage_of


@dataclass(frozen=True, slots=True)
class CountedGeneration:
    id: int
    state: str
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Counted:
    """Looks at every message and outcome; no counter and no stamp takes part."""

    live: int
    generations: tuple[CountedGeneration, ...]
    """The active one, and the one being built."""
    missing_embeddings_total: int
    """Live messages that either of them misses, each once; all of them where there is neither."""


def count_coverage(archive: Archive) -> Counted:
    live = count_live(archive)
    in_use = [generation for generation in all_generations(archive) if generation.state in ("active", "building")]
    counted = tuple(CountedGeneration(g.id, g.state, _coverage(archive, g.id, live)) for g in in_use)
    if not in_use:
        return Counted(live, (), live)
    misses = " OR ".join(f"({_misses(g)})" for g in in_use)
    total = archive.scalar(f"SELECT count(*) FROM messages m NOT INDEXED WHERE m.deleted_at IS NULL AND ({misses})")
    return Counted(live, counted, int(total))


def _coverage(archive: Archive, generation_id: int, live: int) -> Coverage:
    _, in_scope, embedded, blank, failed, *_ = count_generation(archive, generation_id)
    # those in part are counted, and not kept
    in_part = coverage_of(archive, generation_id).in_part
    return Coverage(in_scope, embedded, blank, failed, in_part, live - in_scope)


def _misses(generation: GenerationRow) -> str:
    """A condition on messages `m`."""
    outcome = (
        f"EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.generation_id = {generation.id} AND o.message_id = m.id"
        " AND o.content_rev = m.content_rev)"
    )
    member = f"EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = {generation.id} AND s.message_id = m.id)"
    return f"NOT {outcome} AND {member}" if generation.is_scoped else f"NOT {outcome}"
