"""`embeddings build`: fills the generation there is, or a new one beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vaultembed.archive.database import Archive, open_archive, require_archive
from vaultembed.archive.generations.records import Generation, coverage_of, generation_to_fill, generation_with_id
from vaultembed.archive.generations.runs import RunCounts as RunCounts
from vaultembed.archive.generations.runs import counts_of_runs
from vaultembed.archive.generations.scopes import EVERYTHING, Scope, source_id_of_path
from vaultembed.archive.upkeep.pruning import collect_garbage
from vaultembed.embeddings.build import Built, Observer, Wanted, build, choose_generation
from vaultembed.embeddings.build import Options as Options
from vaultembed.embeddings.build import Plan as Plan
from vaultembed.embeddings.helpers import Helpers
from vaultembed.embeddings.stopping import StoppableEmbedder
from vaultembed.embeddings.worker import Limits as Limits
from vaultembed.errors import NotReadyError, UsageError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL
from vaultembed.msgvault.binding import bind_or_refuse, resolve_for
from vaultembed.search.dates import period as period
from vaultembed.search.model_of import open_model_of
from vaultembed.service.backup import migration_notes
from vaultembed.service.disk_space import needed_by_build, space_needed_hint
from vaultembed.service.generations import GenerationView, generation_view
from vaultembed.service.result import Result
from vaultembed.service.verifying import QualityView, quality_notes, quality_view


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """Which messages a generation is to cover, as a person says it."""

    after: int | None = None
    """Unix seconds."""
    before: int | None = None
    sources: tuple[str, ...] = ()
    """Paths, or ids."""
    types: tuple[str, ...] = ()
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.everything or self.sources or self.types) and self.after is None and self.before is None


@dataclass(frozen=True, slots=True)
class BuildRequest:
    model: str | None = None
    """A name of the registry or the path of a .gguf; None is the model of the generation there is."""
    document_prefix: str | None = None
    query_prefix: str | None = None
    chunk_tokens: int | None = None
    scope: ScopeRequest = ScopeRequest()
    new: bool = False
    options: Options = field(default_factory=Options)
    max_seconds: float | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class BuildView:
    archive: Path
    generation: GenerationView
    run: RunCounts
    """What this run did, all of its workers together."""
    activated: bool
    interrupted: bool
    """There is work left."""
    verified: bool | None
    """None where nothing was to be activated."""
    quality: QualityView | None
    """Beside the generation that was in use; None where they were not compared."""
    collected: int
    """Vectors of deleted messages that were removed first."""


def build_embeddings(
    archive_path: Path,
    request: BuildRequest = BuildRequest(),
    *,
    on_step: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_batch: Callable[[RunCounts], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[BuildView]:
    """Create the first generation, top up the one there is, or build another beside it; go on where an earlier run
    stopped. `on_step` is told what is done before the plan is known: on a first build that takes seconds.

    Raises:
        ModelError: the model is not here, was altered, or does not work.
        IncompleteError: too many messages failed for the generation to be activated.
        DamageError: what was built did not pass verification.
        WorseError: it finds less than the generation in use; `activate_generation` can accept that.
        NotReadyError: there are no messages.
    """
    require_archive(archive_path)
    deadline = None if request.max_seconds is None else time.monotonic() + request.max_seconds

    def is_over() -> bool:
        return should_stop() or (deadline is not None and time.monotonic() >= deadline)

    with space_needed_hint(lambda: needed_by_build(archive_path)), open_archive(archive_path) as archive:
        if not coverage_of(archive, None).live:
            raise NotReadyError("there are no messages to embed", "Import some first: vaultembed import PATH")
        archive.load_vec()
        on_step("Removing vectors of deleted messages")
        collected = collect_garbage(archive, is_over)
        found: list[str] = []
        limited = replace(request.options, limits=replace(request.options.limits, until=deadline))
        request = replace(request, options=limited)
        built = _build(archive, request, on_step, on_plan, on_batch, on_wait, should_stop, found.append)
        view = BuildView(
            archive=archive_path,
            generation=generation_view(archive, generation_with_id(archive, built.generation.id)),
            run=built.run,
            activated=built.activated,
            interrupted=built.interrupted,
            verified=None if built.verified is None else built.verified.is_sound,
            quality=None if built.verified is None else quality_view(built.verified),
            collected=collected.vectors,
        )
        migrated = (*migration_notes(archive), *found)
        if built.verified is not None:
            migrated += quality_notes(built.verified)
    exit_code = 0
    if built.interrupted or built.coverage.missing:
        exit_code = 130 if should_stop() else 3
    return Result("embeddings build", view, migrated + _notes(view, request, is_over=is_over()), exit_code)


def _build(
    archive: Archive,
    request: BuildRequest,
    on_step: Callable[[str], None],
    on_plan: Callable[[Plan], None],
    on_batch: Callable[[RunCounts], None],
    on_wait: Callable[[str], None],
    should_stop: Callable[[], bool],
    on_note: Callable[[str], None],
) -> Built:
    present = generation_to_fill(archive)
    to_bind = present if present is not None and not present.is_checked and not request.new else None
    named = request.model is not None or request.document_prefix is not None or request.query_prefix is not None
    wanted = Wanted(named, request.chunk_tokens, _scope(archive, request.scope), request.new)
    resolved = _resolve(request, present, to_bind)
    helpers = Helpers()
    run_id = 0

    def is_stopping() -> bool:
        if should_stop():
            helpers.stop()  # while this process finishes its own part
            return True
        return False

    embedder = StoppableEmbedder(open_in_child(resolved, share=request.workers), is_stopping)

    def start_helpers(own_run_id: int) -> None:
        nonlocal run_id
        run_id = own_run_id
        helpers.start(request.workers - 1, archive.path, resolved, job, request.options.limits)

    def on_own_batch(own: RunCounts) -> None:
        on_batch(_of_all(archive, own, helpers, run_id))

    try:
        model_path = str(resolved.path) if resolved.facts.converter == "gguf" else None
        if to_bind is not None:
            on_note(bind_or_refuse(archive, to_bind, embedder, model_path))
        on_step(f"Starting {resolved.facts.name}")
        job = choose_generation(archive, embedder, model_path, wanted)
        on_step("Trying the model on some messages, to say how long it will take")
        built = build(
            archive,
            embedder,
            job,
            replace(request.options, limits=request.options.limits.share(request.workers, 0)),
            Observer(on_plan, start_helpers, on_own_batch, on_wait, lambda: helpers.wait(is_stopping), is_stopping),
            lambda active: StoppableEmbedder(open_model_of(active), is_stopping),
        )
        helpers.close()
        return replace(built, run=_of_all(archive, built.run, helpers, run_id))
    finally:
        helpers.close()
        embedder.close()


def _resolve(request: BuildRequest, present: Generation | None, to_bind: Generation | None) -> ModelFile:
    """The model that was asked for, else that of the generation there is. `to_bind`: an adopted one whose model has not
    been found; msgvault puts no prefixes before texts."""
    name, document_prefix, query_prefix = request.model, request.document_prefix, request.query_prefix
    if to_bind is not None and name is None:
        return resolve_for(to_bind, document_prefix, query_prefix)
    if to_bind is not None:
        return resolve_model(name or "", document_prefix=document_prefix or "", query_prefix=query_prefix or "")
    if name is None and present is not None and present.is_checked:
        name = present.model.path or present.model.name
        document_prefix = present.model.document_prefix if document_prefix is None else document_prefix
        query_prefix = present.model.query_prefix if query_prefix is None else query_prefix
    return resolve_model(name or DEFAULT_MODEL, document_prefix=document_prefix, query_prefix=query_prefix)


def _scope(archive: Archive, request: ScopeRequest) -> Scope | None:
    if request.is_empty:
        return None
    if request.everything:
        if request != ScopeRequest(everything=True):
            raise UsageError("--everything does not go with another limit of the scope")
        return EVERYTHING
    sources = {source_id for name in request.sources for source_id in source_id_of_path(archive, name)}
    return Scope(request.after, request.before, tuple(sorted(sources)), tuple(sorted(set(request.types))))


def _of_all(archive: Archive, own: RunCounts, helpers: Helpers, run_id: int) -> RunCounts:
    if not helpers.process_ids:
        return own
    others = counts_of_runs(archive, helpers.process_ids, after_run=run_id)
    return RunCounts(
        embedded=own.embedded + others.embedded,
        blank=own.blank + others.blank,
        failed=own.failed + others.failed,
        chunks=own.chunks + others.chunks,
        tokens=own.tokens + others.tokens,
        seconds=own.seconds,
        recovered=own.recovered,
    )


def _notes(view: BuildView, request: BuildRequest, *, is_over: bool) -> tuple[str, ...]:
    notes = []
    coverage = view.generation.coverage
    limited = request.options.limits.messages is not None and view.run.messages >= request.options.limits.messages
    if view.interrupted and (is_over or limited):
        notes.append(
            f"Paused with {coverage.missing:,} of {coverage.live:,} messages missing; what is done is safe."
            " Go on with: vaultembed embeddings build"
        )
    elif not view.interrupted and not view.run.messages and coverage.missing:
        notes.append(
            f"{coverage.missing:,} messages count as missing, and even a look at every message found no work in them:"
            " a counter may be wrong. Next: vaultembed doctor"
        )
    elif view.interrupted:
        notes.append(f"{coverage.missing:,} messages changed meanwhile. Go on with: vaultembed embeddings build")
    if coverage.failed:
        notes.append(
            f"{coverage.failed:,} messages could not be embedded. To list them: vaultembed embeddings failures"
        )
    if view.run.recovered:
        notes.append(f"The backstop recovered {view.run.recovered:,} messages that had been passed over.")
    if view.generation.state == "building" and not coverage.missing and coverage.live:
        notes.append(
            f"Generation {view.generation.id} is complete and held back. Check it: vaultembed embeddings verify."
            f" Use it: vaultembed embeddings activate {view.generation.id}"
        )
    return tuple(notes)
