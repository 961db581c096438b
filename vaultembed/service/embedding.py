"""`embeddings build` and `embeddings`: filling generations, and what is covered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations import Coverage, Generation, coverage_of, list_generations
from vaultembed.archive.outcomes import Failure, list_failures
from vaultembed.archive.runs import RunCounts
from vaultembed.embeddings.build import MAX_FAILED, Plan, build, generation_to_fill
from vaultembed.errors import NotReadyError
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL
from vaultembed.service.coverage import CoverageView, coverage_view
from vaultembed.service.dates import iso
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class GenerationView:
    id: int
    state: str
    model: str
    fingerprint: str
    dimension: int
    created_at: str | None
    activated_at: str | None
    coverage: CoverageView


@dataclass(frozen=True, slots=True)
class BuildView:
    archive: Path
    generation: GenerationView
    run: RunCounts
    """What this run did."""
    activated: bool
    interrupted: bool


@dataclass(frozen=True, slots=True)
class EmbeddingsView:
    archive: Path
    generations: tuple[GenerationView, ...]
    failures: tuple[Failure, ...]
    """Of the serving generation."""


def build_embeddings(
    archive_path: Path,
    *,
    model: str | None = None,
    document_prefix: str | None = None,
    query_prefix: str | None = None,
    max_failed: int = MAX_FAILED,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_batch: Callable[[RunCounts], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[BuildView]:
    """Create the first generation, or top up the one there is; go on where an earlier run stopped.

    `model` is a name of the registry or the path of a .gguf; without it, the model of the generation there is.

    Raises:
        ModelError: the model is not here, was altered, or does not work.
        IncompleteError: too many messages failed for the generation to be activated.
        NotReadyError: there are no messages.
    """
    require_archive(archive_path)
    with open_archive(archive_path) as archive:
        if not coverage_of(archive, None).live:
            raise NotReadyError("there are no messages to embed", "Import some first: vaultembed import PATH")
        present = generation_to_fill(archive)
        if model is None and present is not None:
            model = present.model.path or present.model.name
            document_prefix = present.model.document_prefix if document_prefix is None else document_prefix
            query_prefix = present.model.query_prefix if query_prefix is None else query_prefix
        resolved = resolve_model(model or DEFAULT_MODEL, document_prefix=document_prefix, query_prefix=query_prefix)
        embedder = open_in_child(resolved)
        try:
            built = build(
                archive,
                embedder,
                model_path=str(resolved.path) if resolved.facts.converter == "gguf" else None,
                max_failed=max_failed,
                on_plan=on_plan,
                on_batch=on_batch,
                should_stop=should_stop,
            )
        finally:
            embedder.close()
        generation = next(g for g in list_generations(archive) if g.id == built.generation.id)
    notes = []
    coverage = built.coverage
    if built.interrupted:
        notes.append(
            f"Paused with {coverage.missing:,} of {coverage.live:,} messages missing; what is done is safe."
            " Go on with: vaultembed embeddings build"
        )
    elif coverage.missing:
        notes.append(f"{coverage.missing:,} messages changed meanwhile. Go on with: vaultembed embeddings build")
    if coverage.failed:
        notes.append(f"{coverage.failed:,} messages could not be embedded. Which and why: vaultembed embeddings")
    exit_code = 130 if built.interrupted else 3 if coverage.missing else 0
    view = BuildView(archive_path, _view(generation, coverage), built.run, built.activated, built.interrupted)
    return Result("embeddings build", view, tuple(notes), exit_code)


def embeddings_status(archive_path: Path) -> Result[EmbeddingsView]:
    """Generations, what each covers, and what to do next."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generations = list_generations(archive)
        views = tuple(_view(g, coverage_of(archive, g.id)) for g in generations)
        serving = next((g for g in generations if g.state == "active"), None) or (
            generations[-1] if generations else None
        )
        failures = tuple(list_failures(archive, serving.id)) if serving else ()
        live = coverage_of(archive, None).live
    notes = []
    if not live:
        notes.append("There are no messages yet. Import some first: vaultembed import PATH")
    elif not generations:
        notes.append(f"None of {live:,} messages is embedded yet. Next: vaultembed embeddings build")
    notes += (
        f"Generation {view.id} misses {view.coverage.missing:,} of {view.coverage.live:,} messages."
        " Next: vaultembed embeddings build"
        for view in views
        if view.state in ("building", "active") and view.coverage.missing
    )
    notes += (
        f"Generation {view.id} is complete but for {view.coverage.failed:,} failed messages: too many to activate it"
        f" unasked. To accept them: vaultembed embeddings build --max-failed {view.coverage.failed}"
        for view in views
        if view.state == "building" and not view.coverage.missing
    )
    if not notes:
        notes.append("Everything is covered; nothing to do.")
    return Result("embeddings", EmbeddingsView(archive_path, views, failures), tuple(notes))


def _view(generation: Generation, coverage: Coverage) -> GenerationView:
    return GenerationView(
        id=generation.id,
        state=generation.state,
        model=generation.model.name,
        fingerprint=generation.fingerprint,
        dimension=generation.dimension,
        created_at=iso(generation.created_at),
        activated_at=iso(generation.activated_at),
        coverage=coverage_view(coverage),
    )
