"""What a person does with generations: look at them, verify, activate, roll back, retire, discard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations.adopted import find_adopted
from vaultembed.archive.generations.backstop import BACKSTOP_HOURS as BACKSTOP_HOURS
from vaultembed.archive.generations.backstop import last_backstop_at
from vaultembed.archive.generations.leases import list_workers
from vaultembed.archive.generations.outcomes import Failure, list_failures
from vaultembed.archive.generations.records import (
    Generation,
    count_chunks,
    coverage_of,
    generation_in_state,
    generation_to_fill,
    generation_with_id,
    list_generations,
    recipe_mix,
    record_verification,
)
from vaultembed.archive.generations.runs import RunRecord, list_runs
from vaultembed.archive.generations.transitions import UnverifiedError, activate, discard, restamp, retire, rollback
from vaultembed.errors import BusyError, DamageError, IncompleteError, ModelError, NotReadyError, StorageError
from vaultembed.service.backup import migration_notes
from vaultembed.service.result import CoverageView, Result, coverage_view, iso

if TYPE_CHECKING:  # what does not verify does without numpy
    from vaultembed.embeddings.verify import Verified

OnVectors = Callable[[int, int], None]
"""Gets how many vectors were looked at, and of how many."""
_NEVER_HOURS: Final = 1e9
"""No calendar has the day; and infinity is a number of hours, too."""
_UNTOLD: Final[OnVectors] = lambda _done, _total: None  # noqa: E731


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
    coverage: CoverageView
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


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change of states."""

    archive: Path
    generation: GenerationView
    """That was named."""
    active: GenerationView | None
    """That serves now."""
    changed: bool
    """False where it was so already."""
    restamped: int
    """Messages whose stamp was renewed; none of them needs embedding again."""


@dataclass(frozen=True, slots=True)
class VerifyView:
    archive: Path
    generation: GenerationView
    vectors: int
    altered: int
    malformed: int
    unsound: int
    sampled: int
    refused: int
    """Chunks of the sample that the model cannot embed any more."""
    least_cosine: float | None
    sound: bool


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
        coverage=coverage_view(coverage_of(archive, generation.id)),
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


def list_failed(archive_path: Path, generation_id: int | None = None) -> Result[FailuresView]:
    """Messages that could not be embedded, each with the reason.

    Raises:
        NotReadyError: there is no generation yet.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generation = _named_or_current(archive, generation_id)
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


def activate_generation(
    archive_path: Path,
    generation_id: int,
    *,
    max_failed: int,
    force: bool = False,
    on_vectors: OnVectors = _UNTOLD,
) -> Result[ChangeView]:
    """Let search by meaning use another generation; verified first, unless something vouches for it as it is.

    Raises:
        IncompleteError: it is not complete, and `force` was not given.
        DamageError, ModelError: it does not pass, or cannot be verified; and `force` was not given.
        VaultembedError: it is empty, discarded or pruned.
    """
    return _changed(
        archive_path,
        "embeddings activate",
        lambda archive: (generation_id, activate(archive, generation_id, max_failed, force=force)),
        on_vectors,
    )


def roll_back(archive_path: Path, *, on_vectors: OnVectors = _UNTOLD) -> Result[ChangeView]:
    """Go back to the generation that was active before; verified first only if it was written to since. Once more goes
    forward again.

    Raises:
        DamageError, ModelError: it was, and it does not pass, or cannot be verified.
        VaultembedError: there is none that still has its vectors.
    """
    return _changed(archive_path, "embeddings rollback", lambda archive: (rollback(archive).id, True), on_vectors)


def retire_generation(archive_path: Path, generation_id: int, *, force: bool = False) -> Result[ChangeView]:
    """Take the active generation out of service.

    Raises:
        UsageError: it is not active, or `force` was not given.
    """
    return _changed(
        archive_path,
        "embeddings retire",
        lambda archive: (generation_id, retire(archive, generation_id, force=force)),
    )


def building_generation(archive_path: Path) -> Result[GenerationView]:
    """The one that is being built: what `discard` would abandon.

    Raises:
        NotReadyError: there is none.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        building = generation_in_state(archive, "building")
        if building is None:
            raise NotReadyError("no generation is being built", "To list them: vaultembed embeddings list")
        return Result("embeddings", generation_view(archive, building))


def discard_generation(archive_path: Path, generation_id: int | None = None) -> Result[ChangeView]:
    """Abandon the generation that is being built.

    Raises:
        UsageError: none is being built, or that one is not.
    """
    result = _changed(archive_path, "embeddings discard", lambda archive: (discard(archive, generation_id).id, True))
    return Result(
        result.command, result.data, ("Its vectors take up space until: vaultembed embeddings prune", *result.notes)
    )


def _changed(
    archive_path: Path,
    command: str,
    change: Callable[[Archive], tuple[int, bool]],
    on_vectors: OnVectors = _UNTOLD,
) -> Result[ChangeView]:
    require_archive(archive_path)
    with open_archive(archive_path) as archive:
        try:
            generation_id, changed = change(archive)
        except UnverifiedError as unverified:
            _verify_for_use(archive, unverified.generation, on_vectors)
            generation_id, changed = change(archive)
        restamped = restamp(archive)
        active = generation_in_state(archive, "active")
        view = ChangeView(
            archive=archive_path,
            generation=generation_view(archive, generation_with_id(archive, generation_id)),
            active=None if active is None else generation_view(archive, active),
            changed=changed,
            restamped=restamped,
        )
        building = generation_in_state(archive, "building")
        notes = list(migration_notes(archive))
    if view.active is None:
        notes.append("No generation is active: search by meaning needs one. Next: vaultembed embeddings build")
    elif view.active.coverage.missing and building is None:
        notes.append(
            f"Generation {view.active.id} misses {view.active.coverage.missing:,} of"
            f" {view.active.coverage.live:,} messages. Next: vaultembed embeddings build"
        )
    return Result(command, view, tuple(notes))


def _verify_for_use(archive: Archive, generation: Generation, on_vectors: OnVectors) -> None:
    from vaultembed.embeddings.verify import verify_for_use
    from vaultembed.search.model_of import open_model_of

    archive.load_vec()
    total = count_chunks(archive, generation.id)
    try:
        with closing(open_model_of(generation)) if total else nullcontext() as embedder:
            verify_for_use(archive, generation, embedder, lambda done: on_vectors(done, total))
    except ModelError as error:
        unverified = f"Or use it unverified: vaultembed embeddings activate {generation.id} --force"
        raise ModelError(
            f"generation {generation.id} cannot be verified: {error.message}",
            f"{error.hint or ''}\n{unverified}".strip(),
        ) from error


def verify_embeddings(
    archive_path: Path,
    generation_id: int | None = None,
    *,
    sample: bool = True,
    on_vectors: OnVectors = _UNTOLD,
) -> Result[VerifyView]:
    """Check a generation whole: the one being built, else the active one. Exit code 3 if messages are missing, 5 if
    what is there is not right. Remembered where the archive can be written to.

    Raises:
        NotReadyError: there is no generation yet.
        ModelError: its model is not here, to embed a sample again.
    """
    from vaultembed.embeddings.verify import NOT_COMPARED, verify_generation
    from vaultembed.search.model_of import open_model_of

    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        archive.load_vec()
        generation = _named_or_current(archive, generation_id)
        if generation.pruned_at is not None:
            raise NotReadyError(f"the vectors of generation {generation.id} were pruned: there is nothing to verify")
        total = count_chunks(archive, generation.id)
        with closing(open_model_of(generation)) if sample and total else nullcontext() as embedder:
            verified = verify_generation(archive, generation, embedder, lambda done: on_vectors(done, total))
    if verified.tells:
        with suppress(StorageError, BusyError), open_archive(archive_path) as archive:
            record_verification(archive, generation.id, verified.changes, passed=verified.vouches)
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        view = VerifyView(
            archive=archive_path,
            generation=generation_view(archive, generation),
            vectors=verified.vectors,
            altered=verified.altered,
            malformed=verified.malformed,
            unsound=verified.unsound,
            sampled=verified.sampled,
            refused=verified.refused,
            least_cosine=verified.least_cosine,
            sound=verified.is_sound,
        )
    exit_code = 0 if verified.is_sound else DamageError.exit_code
    if verified.is_sound and verified.coverage.missing:
        exit_code = IncompleteError.exit_code
    notes = _notes(generation, verified)
    if sample and not verified.tells:
        notes = [f"This says little: {NOT_COMPARED}"]
    return Result("embeddings verify", view, tuple(notes), exit_code)


def _notes(generation: Generation, verified: Verified) -> list[str]:
    notes = []
    missing = verified.coverage.missing
    if not verified.is_sound:
        notes.append("What is wrong, and repairing it: vaultembed doctor, then vaultembed doctor --fix")
    if missing and generation.state in ("building", "active"):
        notes.append(f"{missing:,} messages are missing. Next: vaultembed embeddings build")
    elif missing and generation.state == "retired":
        notes.append(f"{missing:,} messages are missing. To fill it again: {generation.build_command}")
    elif verified.is_sound and generation.state == "building":
        notes.append(f"Sound and complete. To use it: vaultembed embeddings activate {generation.id}")
    return notes


def _named_or_current(archive: Archive, generation_id: int | None) -> Generation:
    if generation_id is not None:
        return generation_with_id(archive, generation_id)
    generation = generation_to_fill(archive)
    if generation is None:
        raise NotReadyError("nothing is embedded yet", "Next: vaultembed embeddings build")
    return generation
