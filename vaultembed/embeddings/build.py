"""`embeddings build`: which generation to fill, what it will cost, and its activation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.fulltext import refresh_stale
from vaultembed.archive.generations import (
    Coverage,
    Generation,
    ModelRecord,
    activate,
    coverage_of,
    create_generation,
    generation_in_state,
)
from vaultembed.archive.outcomes import read_work, watermark_of, work_ids
from vaultembed.archive.runs import RunCounts, end_run, start_run
from vaultembed.embeddings.prepared import prepare_message
from vaultembed.embeddings.recipe import Recipe, recipe_for
from vaultembed.embeddings.resilient import check_model, embed_texts
from vaultembed.embeddings.worker import fill
from vaultembed.errors import ModelError
from vaultembed.models.protocol import Embedder, ModelFacts

MAX_FAILED: Final = 10
"""So many failed messages still count as complete."""
_SAMPLE_MESSAGES: Final = 400
_SAMPLE_CHUNKS: Final = 24
_WORTH_SAMPLING: Final = 200
_BYTES_PER_CHUNK: Final = 300
"""Rows and indexes of a chunk besides its vector, measured on real mail."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build is about to do."""

    generation: Generation
    messages: int
    """To be embedded now."""
    about_tokens: int | None
    """None where too few messages are left to be worth an estimate."""
    about_seconds: float | None
    about_bytes: int | None


@dataclass(frozen=True, slots=True)
class Built:
    generation: Generation
    coverage: Coverage
    run: RunCounts
    activated: bool
    interrupted: bool


def generation_to_fill(archive: Archive) -> Generation | None:
    """The one being built, else the active one: what a build without further words goes on with."""
    return generation_in_state(archive, "building") or generation_in_state(archive, "active")


def choose_generation(archive: Archive, facts: ModelFacts, model_path: str | None) -> tuple[Generation, Recipe]:
    """The generation that a build with this model fills: the one there is if it is of this model, else a new one.

    Raises:
        ModelError: another generation, of another model, is being built.
    """
    recipe = recipe_for(facts.context_length)
    present = generation_to_fill(archive)
    if present is not None and present.space == facts.space and present.recipe == recipe.tag:
        return present, recipe
    if present is None or present.state == "active":
        present = create_generation(archive, _record(facts, model_path), facts.space, recipe.tag)
    if present.space != facts.space or present.recipe != recipe.tag:
        raise ModelError(
            f"generation {present.id} is being built with {present.fingerprint}, not with {facts.space}:{recipe.tag}",
            f"Finish it first: vaultembed embeddings build --model {present.model.path or present.model.name}",
        )
    return present, recipe


def build(
    archive: Archive,
    embedder: Embedder,
    *,
    model_path: str | None,
    max_failed: int,
    on_plan: Callable[[Plan], None],
    on_batch: Callable[[RunCounts], None],
    should_stop: Callable[[], bool],
) -> Built:
    """Fill the generation of this model, and activate it when it is complete.

    Raises:
        ModelError: the model does not work, or another model's generation is being built.
        IncompleteError: complete but for too many failed messages.
    """
    archive.load_vec()
    refresh_stale(archive)
    generation, recipe = choose_generation(archive, embedder.facts, model_path)
    missing = coverage_of(archive, generation.id).missing
    run = RunCounts()
    if missing:
        check_model(embedder)
        on_plan(_plan(archive, generation, recipe, embedder, missing))
        run_id = start_run(archive, generation.id)

        def note(counts: RunCounts) -> None:
            nonlocal run
            run = counts
            on_batch(counts)

        try:
            run = fill(archive, generation, recipe, embedder, note, should_stop)
        except BaseException:
            end_run(archive, run_id, run, "stopped")
            raise
        end_run(archive, run_id, run, "interrupted" if should_stop() else "complete")
    coverage = coverage_of(archive, generation.id)
    activated = False
    if generation.state == "building" and coverage.live and not coverage.missing:
        activate(archive, generation.id, max_failed)
        activated = True
    return Built(generation, coverage, run, activated, interrupted=bool(coverage.missing) and should_stop())


def _plan(archive: Archive, generation: Generation, recipe: Recipe, embedder: Embedder, missing: int) -> Plan:
    """Measured, not guessed: a sample of the messages is prepared and embedded."""
    if missing < _WORTH_SAMPLING:
        return Plan(generation, missing, None, None, None)
    ids = work_ids(archive, generation.id, watermark_of(archive, generation.id), limit=1_000_000)
    picked = random.Random(0).sample(ids, min(_SAMPLE_MESSAGES, len(ids)))  # noqa: S311 (a sample, not a secret)
    texts: list[str] = []
    for work in read_work(archive, picked):
        texts += prepare_message(work, embedder, recipe).chunk_texts()
    if not texts:
        return Plan(generation, missing, None, None, None)
    scale = missing / len(picked)
    tokens = scale * sum(embedder.count_tokens(text) for text in texts)
    # mail is very uneven: many messages are prepared to count tokens, of which few are embedded to find the rate
    tried = random.Random(0).sample(texts, min(_SAMPLE_CHUNKS, len(texts)))  # noqa: S311
    started = time.monotonic()
    rate = embed_texts(embedder, tried).tokens / (time.monotonic() - started)
    row = 2 * generation.dimension + generation.dimension // 8 + _BYTES_PER_CHUNK
    return Plan(
        generation,
        missing,
        about_tokens=round(tokens),
        about_seconds=tokens / rate,
        about_bytes=round(scale * sum(row + len(text) for text in texts)),
    )


def _record(facts: ModelFacts, path: str | None) -> ModelRecord:
    return ModelRecord(
        name=facts.name,
        weights_sha256=facts.weights_sha256,
        converter=facts.converter,
        architecture=facts.architecture,
        dimension=facts.dimension,
        pooling=facts.pooling,
        context_length=facts.context_length,
        document_prefix=facts.document_prefix,
        query_prefix=facts.query_prefix,
        licence=facts.licence,
        path=path,
    )
