"""What there is of generations, what each covers, who is working on them, what failed, and what builds did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.generations.adopted import find_adopted
from vaultembed.archive.generations.backstop import BACKSTOP_HOURS as BACKSTOP_HOURS
from vaultembed.archive.generations.backstop import last_backstop_at
from vaultembed.archive.generations.leases import list_workers
from vaultembed.archive.generations.outcomes import Failure, list_failures
from vaultembed.archive.generations.records import (
    Coverage,
    Generation,
    count_chunks,
    coverage_of,
    generation_to_fill,
    generation_with_id,
    list_generations,
    recipe_mix,
)
from vaultembed.archive.generations.runs import RunRecord, list_runs
from vaultembed.errors import NotReadyError
from vaultembed.service.result import Result, iso

_NEVER_HOURS: Final = 1e9
"""No calendar has the day; and infinity is a number of hours, too."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    host: str
    pid: int
    first_id: int
    last_id: int
    """The messages it holds, at most from first to last."""
    done: int
    """Messages of its run so far."""
    per_second: float | None
    heartbeat_at: str | None
    is_gone: bool
    """Its process is no more; what it held is taken over by the next worker."""


@dataclass(frozen=True, slots=True)
class AdoptedFrom:
    """Another program's generation, that this one was."""

    origin: str
    """Path of its vectors.db."""
    model: str
    fingerprint: str
    """There."""
    weights: Literal["unknown", "inferred"]
    """`inferred`: those of a model here that was found to give such vectors. msgvault records only a name."""
    median_cosine: float | None
    """Of texts embedded again here; None while no model has been found to give the same vectors."""
    least_cosine: float | None
    sampled: int


@dataclass(frozen=True, slots=True)
class GenerationView:
    id: int
    state: str
    model: str
    fingerprint: str
    scope: str
    """"" is every message."""
    dimension: int
    chunks: int
    created_at: str | None
    activated_at: str | None
    retired_at: str | None
    pruned_at: str | None
    verified_at: str | None
    verification: str | None
    """`passed`, `failed`, or `outdated`: a vector was written since. None: it was never verified."""
    coverage: Coverage
    last_backstop_at: str | None
    next_backstop_at: str | None
    """From then on the next build looks at every message. None: no build fills it now, or none does so by itself."""
    recipes: dict[str, int]
    """Messages by recipe, where there is more than one."""
    workers: tuple[WorkerView, ...]
    adopted: AdoptedFrom | None
    """None: it was made here."""


@dataclass(frozen=True, slots=True)
class EmbeddingsView:
    archive: Path
    generations: tuple[GenerationView, ...]


@dataclass(frozen=True, slots=True)
class FailuresView:
    archive: Path
    generation: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class RunView:
    """One worker's run of a build."""

    id: int
    generation: int
    started_at: str | None
    ended_at: str | None
    """None: it is running, or was killed."""
    outcome: str | None
    """`complete`: nothing was left to do. `limited`: it paused at --limit, with more to do. `interrupted`: it paused at
    --max-time or a signal. `stopped`: by an error. None while it has not ended."""
    embedded: int
    blank: int
    failed: int
    recovered: int
    """By the backstop."""
    chunks: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunsView:
    archive: Path
    runs: tuple[RunView, ...]
    """The last first."""


def generation_view(archive: Archive, generation: Generation, backstop_hours: float = BACKSTOP_HOURS) -> GenerationView:
    filled = generation_to_fill(archive)
    last = last_backstop_at(archive, generation.id)
    due = None
    if backstop_hours and filled is not None and filled.id == generation.id:
        due = generation.created_at if last is None else last + round(3600 * min(backstop_hours, _NEVER_HOURS))
    return GenerationView(
        id=generation.id,
        state=generation.state,
        model=generation.model_label,
        fingerprint=generation.fingerprint,
        scope=generation.scope,
        dimension=generation.dimension,
        chunks=count_chunks(archive, generation.id),
        created_at=iso(generation.created_at),
        activated_at=iso(generation.activated_at),
        retired_at=iso(generation.retired_at),
        pruned_at=iso(generation.pruned_at),
        verified_at=iso(generation.verified_at),
        verification=generation.verification,
        coverage=coverage_of(archive, generation.id),
        last_backstop_at=iso(last),
        next_backstop_at=iso(due),
        recipes=recipe_mix(archive, generation.id),
        workers=workers_of(archive, generation.id),
        adopted=_adopted_from(archive, generation.id),
    )


def _adopted_from(archive: Archive, generation_id: int) -> AdoptedFrom | None:
    found = find_adopted(archive, generation_id)
    if found is None:
        return None
    checked = found.checked
    return AdoptedFrom(
        origin=found.origin,
        model=found.model,
        fingerprint=found.fingerprint,
        weights="inferred" if checked else "unknown",
        median_cosine=checked.median_cosine if checked else None,
        least_cosine=checked.least_cosine if checked else None,
        sampled=checked.sampled if checked else 0,
    )


def workers_of(archive: Archive, generation_id: int) -> tuple[WorkerView, ...]:
    views = []
    for worker in list_workers(archive, generation_id):
        seconds = worker.heartbeat_at - worker.started_at if worker.started_at is not None else 0
        views.append(
            WorkerView(
                host=worker.host,
                pid=worker.pid,
                first_id=worker.first_id,
                last_id=worker.last_id,
                done=worker.done,
                per_second=round(worker.done / seconds, 1) if seconds > 0 else None,
                heartbeat_at=iso(worker.heartbeat_at),
                is_gone=worker.is_gone,
            )
        )
    return tuple(views)


def embeddings_status(
    archive_path: Path, *, every: bool = False, backstop_hours: float = BACKSTOP_HOURS
) -> Result[EmbeddingsView]:
    """Generations, what each covers, who is working on them, and what to do next.

    `every`: also those that were discarded or pruned. `backstop_hours`: between two backstops.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generations = [
            g for g in list_generations(archive) if every or (g.state != "discarded" and g.pruned_at is None)
        ]
        views = tuple(generation_view(archive, g, backstop_hours) for g in generations)
        live = coverage_of(archive, None).live
    notes = []
    if not live:
        notes.append("There are no messages yet. Import some first: vaultembed import PATH")
    elif not any(view.state in ("building", "active") for view in views):
        notes.append(f"None of {live:,} messages can be found by meaning yet. Next: vaultembed embeddings build")
    building = next((view for view in views if view.state == "building"), None)
    if building is not None and not building.coverage.live:
        notes.append(
            f"Generation {building.id} is being built, and no message is in its scope ({building.scope}) any more."
            " To abandon it: vaultembed embeddings discard"
        )
    for view in views:
        if building is not None and view.state == "active" and view.coverage.missing:
            notes.append(
                f"Generation {view.id}, which is in use, misses {view.coverage.missing:,} of {view.coverage.live:,}"
                f" messages. Builds fill generation {building.id} until that is activated or discarded"
            )
        if view.verification == "failed" and view.state in ("building", "active"):
            notes.append(
                f"Generation {view.id} did not pass verification. What is wrong: vaultembed embeddings verify {view.id}"
            )
        is_behind = view.state == "building" or (view.state == "active" and building is None)
        if is_behind and view.coverage.missing:
            notes.append(
                f"Generation {view.id} misses {view.coverage.missing:,} of {view.coverage.live:,} messages."
                " Next: vaultembed embeddings build"
            )
        elif view.state == "building" and view.coverage.live and view.verification != "failed":
            notes.append(
                f"Generation {view.id} is complete, with {view.coverage.failed:,} failed messages, and not yet in use."
                f" To use it: vaultembed embeddings activate {view.id}"
                + (f" --max-failed {view.coverage.failed}" if view.coverage.failed else "")
            )
        elif view.coverage.failed and view.state == "active":
            notes.append(
                f"Generation {view.id} failed on {view.coverage.failed:,} messages."
                " To list them: vaultembed embeddings failures"
            )
    if not notes:
        what = "Every message in the scope" if any(view.coverage.outside_scope for view in views) else "Everything"
        notes.append(f"{what} is covered; nothing to do.")
    return Result("embeddings", EmbeddingsView(archive_path, views), tuple(notes))


def named_or_current(archive: Archive, generation_id: int | None) -> Generation:
    """The one that is being built, else the active one, where none is named.

    Raises:
        NotReadyError: there is no generation yet.
    """
    if generation_id is not None:
        return generation_with_id(archive, generation_id)
    generation = generation_to_fill(archive)
    if generation is None:
        raise NotReadyError("nothing is embedded yet", "Next: vaultembed embeddings build")
    return generation


def list_failed(archive_path: Path, generation_id: int | None = None) -> Result[FailuresView]:
    """Messages that could not be embedded, each with the reason.

    Raises:
        NotReadyError: there is no generation yet.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generation = named_or_current(archive, generation_id)
        failures = tuple(list_failures(archive, generation.id))
    notes = (
        ("Once their cause is gone: vaultembed embeddings build --retry-failed",)
        if failures
        else (f"Generation {generation.id} has no failed messages.",)
    )
    return Result("embeddings failures", FailuresView(archive_path, generation.id, failures), notes)


def list_recorded_runs(archive_path: Path, generation_id: int | None = None, *, limit: int) -> Result[RunsView]:
    """What builds did, of one generation or of all."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        if generation_id is not None:
            generation_with_id(archive, generation_id)
        found = list_runs(archive, generation_id, limit + 1)
    notes = (f"There are more. To see them: -n {2 * limit}",) if len(found) > limit else ()
    return Result("embeddings runs", RunsView(archive_path, tuple(run_view(run) for run in found[:limit])), notes)


def run_view(run: RunRecord) -> RunView:
    return RunView(
        id=run.id,
        generation=run.generation_id,
        started_at=iso(run.started_at),
        ended_at=iso(run.ended_at),
        outcome=run.outcome,
        embedded=run.counts.embedded,
        blank=run.counts.blank,
        failed=run.counts.failed,
        recovered=run.counts.recovered,
        chunks=run.counts.chunks,
        tokens=run.counts.tokens,
        seconds=round(run.counts.seconds, 1),
    )
