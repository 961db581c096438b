"""How much of the archive search by meaning covers: the generation in use, the one being built, what is still to embed.

From counters that triggers keep: it costs the same whether there are a thousand messages or a million.
"""

from __future__ import annotations

from dataclasses import dataclass

from vaultembed.archive.backstop import last_backstop_at
from vaultembed.archive.database import Archive
from vaultembed.archive.generations import Generation, coverage_of, generation_in_state
from vaultembed.archive.missing import count_missing
from vaultembed.archive.runs import last_run
from vaultembed.errors import ModelError, VaultembedError
from vaultembed.search.serving import Serving, find_serving
from vaultembed.service.dates import iso
from vaultembed.service.generations import WorkerView, workers_of
from vaultembed.service.model_of import resolve_model_of
from vaultembed.service.readiness import why_silent


@dataclass(frozen=True, slots=True)
class ProblemView:
    """Why something does not work, and the way out."""

    code: str
    """Stable; see vaultembed/errors.py."""
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class LastBuildView:
    """The last run that filled a generation."""

    started_at: str | None
    ended_at: str | None
    """None: it is running, or was killed."""
    outcome: str | None
    """`complete`: nothing was left to do. `limited`: it paused at --limit, with more to do. `interrupted`: it paused at
    --max-time or a signal. `stopped`: by an error. None while it has not ended."""
    embedded: int
    blank: int
    failed: int
    chunks: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ProgressView:
    done: int
    """Embedded, blank or failed."""
    total: int
    """Live messages in its scope."""
    rate: float | None
    """Messages a second, of the workers that live; None where none does."""
    eta_seconds: int | None


@dataclass(frozen=True, slots=True)
class ActiveGenerationView:
    """The generation that answers. `live = embedded + blank + failed + missing`."""

    id: int
    model: str
    dimension: int
    fingerprint: str
    state: str
    activated_at: str | None
    message_count: int
    """Live messages in its scope that can be found by meaning: those that are embedded."""
    live: int
    embedded: int
    blank: int
    failed: int
    missing: int
    last_build: LastBuildView | None
    last_backstop_at: str | None
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class BuildingGenerationView:
    """The generation that is being built. `live = embedded + blank + failed + missing`."""

    id: int
    model: str
    dimension: int
    fingerprint: str
    state: str
    started_at: str | None
    progress: ProgressView
    live: int
    embedded: int
    blank: int
    failed: int
    missing: int
    last_build: LastBuildView | None
    last_backstop_at: str | None
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class VectorSearchView:
    enabled: bool
    """Whether search by meaning answers; `problem` says why not."""
    problem: ProblemView | None
    active_generation: ActiveGenerationView | None
    building_generation: BuildingGenerationView | None
    missing_embeddings_total: int
    """Live messages that still need embedding in the active generation, or in the one being built: each counted once.
    All of them, where there is neither."""


def vector_statistics(archive: Archive) -> VectorSearchView:
    """In one snapshot of the caller's."""
    active = generation_in_state(archive, "active")
    building = generation_in_state(archive, "building")
    problem = _problem(archive, find_serving(archive))
    return VectorSearchView(
        enabled=problem is None,
        problem=problem,
        active_generation=_active_view(archive, active) if active else None,
        building_generation=_building_view(archive, building) if building else None,
        missing_embeddings_total=count_missing(archive, [g for g in (building, active) if g is not None]),
    )


def problem_view(error: VaultembedError) -> ProblemView:
    return ProblemView(error.code, error.message, error.hint)


def _problem(archive: Archive, serving: Serving | None) -> ProblemView | None:
    silent = why_silent(archive, serving)
    if silent is not None:
        return problem_view(silent)
    if serving is None:
        return None
    problems = []
    for generation in (serving.main, serving.building):
        if generation is None:
            continue
        try:
            resolve_model_of(generation)
        except ModelError as error:
            problems.append(problem_view(error))
        else:
            return None  # either of them answers
    return problems[0]


def _active_view(archive: Archive, generation: Generation) -> ActiveGenerationView:
    coverage = coverage_of(archive, generation.id)
    return ActiveGenerationView(
        id=generation.id,
        model=generation.model.name,
        dimension=generation.dimension,
        fingerprint=generation.fingerprint,
        state=generation.state,
        activated_at=iso(generation.activated_at),
        message_count=coverage.embedded,
        live=coverage.live,
        embedded=coverage.embedded,
        blank=coverage.blank,
        failed=coverage.failed,
        missing=coverage.missing,
        last_build=_last_build(archive, generation),
        last_backstop_at=iso(last_backstop_at(archive, generation.id)),
        workers=workers_of(archive, generation.id),
    )


def _building_view(archive: Archive, generation: Generation) -> BuildingGenerationView:
    coverage = coverage_of(archive, generation.id)
    workers = workers_of(archive, generation.id)
    rate = round(sum(worker.per_second or 0 for worker in workers if not worker.is_gone), 1) or None
    return BuildingGenerationView(
        id=generation.id,
        model=generation.model.name,
        dimension=generation.dimension,
        fingerprint=generation.fingerprint,
        state=generation.state,
        started_at=iso(generation.created_at),
        progress=ProgressView(
            done=coverage.live - coverage.missing,
            total=coverage.live,
            rate=rate,
            eta_seconds=round(coverage.missing / rate) if rate else None,
        ),
        live=coverage.live,
        embedded=coverage.embedded,
        blank=coverage.blank,
        failed=coverage.failed,
        missing=coverage.missing,
        last_build=_last_build(archive, generation),
        last_backstop_at=iso(last_backstop_at(archive, generation.id)),
        workers=workers,
    )


def _last_build(archive: Archive, generation: Generation) -> LastBuildView | None:
    run = last_run(archive, generation.id)
    if run is None:
        return None
    return LastBuildView(
        started_at=iso(run.started_at),
        ended_at=iso(run.ended_at),
        outcome=run.outcome,
        embedded=run.counts.embedded,
        blank=run.counts.blank,
        failed=run.counts.failed,
        chunks=run.counts.chunks,
        tokens=run.counts.tokens,
        seconds=round(run.counts.seconds, 1),
    )
