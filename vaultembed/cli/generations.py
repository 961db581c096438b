"""`vaultembed embeddings`, and what it does with generations: list, failures, verify, activate, rollback, retire,
discard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from vaultembed.cli.options import decimal
from vaultembed.cli.output import confirmed, finish
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, coverage, duration, ended, quality, safe_line, say
from vaultembed.paths import archive_path
from vaultembed.service.generations import (
    BACKSTOP_HOURS,
    AdoptedFrom,
    EmbeddingsView,
    FailuresView,
    GenerationView,
    RunsView,
    embeddings_status,
    list_failed,
    list_recorded_runs,
)
from vaultembed.service.result import Result
from vaultembed.service.transitions import (
    ChangeView,
    activate_generation,
    building_generation,
    discard_generation,
    retire_generation,
    roll_back,
)
from vaultembed.service.verifying import OnVectors, VerifyView, verify_embeddings

T = TypeVar("T")

_VERIFIED: Final = {
    "passed": "verified",
    "failed": "did not pass verification",
    "outdated": "written to since it was verified",
}


def run_status(archive: Path | None, *, every: bool, as_json: bool) -> NoReturn:
    def call() -> Result[EmbeddingsView]:
        hours = os.environ.get("VAULTEMBED_BACKSTOP_HOURS")  # as for `build`
        return embeddings_status(
            archive_path(archive), every=every, backstop_hours=decimal(0)(hours) if hours else BACKSTOP_HOURS
        )

    finish("embeddings", call, render_status, as_json=as_json)


def run_runs(archive: Path | None, generation: int | None, number: int, *, as_json: bool) -> NoReturn:
    finish(
        "embeddings runs",
        lambda: list_recorded_runs(archive_path(archive), generation, limit=number),
        render_runs,
        as_json=as_json,
    )


def render_runs(data: RunsView) -> None:
    for run in data.runs:
        recovered = f", {run.recovered:,} recovered" if run.recovered else ""
        say(
            f"{run.id}  {run.started_at}  generation {run.generation}, {ended(run.outcome)}: {run.embedded:,} embedded,"
            f" {run.blank:,} blank, {run.failed:,} failed{recovered}, in {duration(run.seconds)}"
        )
    if not data.runs:
        say("No build has run yet.")


def run_failures(archive: Path | None, generation: int | None, *, as_json: bool) -> NoReturn:
    finish(
        "embeddings failures", lambda: list_failed(archive_path(archive), generation), render_failures, as_json=as_json
    )


def run_verify(archive: Path | None, generation: int | None, *, sample: bool, as_json: bool) -> NoReturn:
    def call(told: OnVectors) -> Result[VerifyView]:
        return verify_embeddings(archive_path(archive), generation, sample=sample, on_vectors=told)

    _finish_verifying("embeddings verify", call, render_verify, as_json=as_json)


def _finish_verifying(
    command: str, call: Callable[[OnVectors], Result[T]], render: Callable[[T], None], *, as_json: bool
) -> NoReturn:
    """`finish` for what may look at every vector."""

    def with_progress() -> Result[T]:
        progress = Progress("Verifying")
        try:
            return call(lambda done, total: progress.update(done, total, 0, f"{done:,} of {total:,} vectors"))
        finally:
            progress.close()

    finish(command, with_progress, render, as_json=as_json)


def run_activate(
    archive: Path | None, generation: int, max_failed: int, *, force: bool, accept_worse: bool, as_json: bool
) -> NoReturn:
    def call(told: OnVectors) -> Result[ChangeView]:
        return activate_generation(
            archive_path(archive),
            generation,
            max_failed=max_failed,
            force=force,
            accept_worse=accept_worse,
            on_vectors=told,
        )

    _finish_verifying("embeddings activate", call, render_change, as_json=as_json)


def run_rollback(archive: Path | None, *, as_json: bool) -> NoReturn:
    def call(told: OnVectors) -> Result[ChangeView]:
        return roll_back(archive_path(archive), on_vectors=told)

    _finish_verifying("embeddings rollback", call, render_change, as_json=as_json)


def run_retire(archive: Path | None, generation: int, *, force: bool, as_json: bool) -> NoReturn:
    finish(
        "embeddings retire",
        lambda: retire_generation(archive_path(archive), generation, force=force),
        render_change,
        as_json=as_json,
    )


def run_discard(archive: Path | None, generation: int | None, *, yes: bool, as_json: bool) -> NoReturn:
    def call() -> Result[ChangeView]:
        path = archive_path(archive)
        building = building_generation(path).data
        if generation is None or generation == building.id:
            confirmed(
                f"Abandon generation {building.id} ({building.model}), with {building.coverage.embedded:,} messages"
                " embedded? They would have to be embedded again.",
                yes=yes,
            )
        # the one that was asked about: another process may have begun the next meanwhile
        return discard_generation(path, building.id if generation is None else generation)

    finish("embeddings discard", call, render_change, as_json=as_json)


def render_status(data: EmbeddingsView) -> None:
    say(f"Archive: {data.archive}")
    for generation in data.generations:
        say("")
        for line in generation_lines(generation):
            say(line)
    say("")


def generation_lines(generation: GenerationView) -> list[str]:
    lines = [
        f"Generation {generation.id}, {generation.state}: {generation.model}, {generation.dimension} dimensions",
    ]
    if generation.pruned_at is None:
        lines.append(f"  {coverage(generation.coverage)}, in {count(generation.chunks, 'chunk')}")
    if generation.scope:
        lines.append(f"  only {generation.scope}")
    if generation.adopted:
        lines += adopted_lines(generation.adopted, generation.state)
    if generation.recipes:
        mix = ", ".join(f"{number:,} with {recipe}" for recipe, number in generation.recipes.items())
        lines.append(f"  recipes: {mix}")
    dates = [f"created {generation.created_at}", f"activated {generation.activated_at or 'not yet'}"]
    if generation.retired_at:
        dates.append(f"{'discarded' if generation.state == 'discarded' else 'retired'} {generation.retired_at}")
    if generation.pruned_at:
        dates.append(f"pruned {generation.pruned_at}")
    if generation.verification:
        dates.append(f"{_VERIFIED[generation.verification]} {generation.verified_at}")
    lines += [f"  {', '.join(dates)}", f"  fingerprint {generation.fingerprint}"]
    if generation.last_backstop_at:
        due = f", next due {generation.next_backstop_at}" if generation.next_backstop_at else ""
        lines.append(f"  last backstop {generation.last_backstop_at}{due}")
    elif generation.next_backstop_at:
        lines.append("  no backstop yet: the next build does one")
    for worker in generation.workers:
        rate = f", {worker.per_second:,.1f} messages/s" if worker.per_second else ""
        state = "is gone; the next build takes over" if worker.is_gone else f"last heard of {worker.heartbeat_at}"
        lines.append(
            f"  worker {worker.pid} on {worker.host}: messages {worker.first_id:,} to {worker.last_id:,},"
            f" {worker.done:,} done{rate}; {state}"
        )
    return lines


def render_failures(data: FailuresView) -> None:
    for failure in data.failures:
        tries = f" ({failure.attempts} attempts)" if failure.attempts > 1 else ""
        say(f"{failure.message_id}  {safe_line(failure.subject)}: {safe_line(failure.reason)}{tries}")


def render_verify(data: VerifyView) -> None:
    generation = data.generation
    say(f"Generation {generation.id} ({generation.model}), {generation.state}: {coverage(generation.coverage)}")
    say(
        f"{count(data.vectors, 'vector')} looked at: {data.altered:,} altered, {data.malformed:,} malformed;"
        f" {data.unsound:,} messages whose parts do not agree"
    )
    if data.least_cosine is not None:
        say(f"{count(data.sampled, 'chunk')} embedded again: cosine at least {data.least_cosine:.5f}")
    if data.refused:
        say(f"{count(data.refused, 'chunk')} of the sample cannot be embedded any more")
    if data.quality is not None:
        say(quality(data.quality))
    say("All of it is sound." if data.sound else "It is not sound.")


def render_change(data: ChangeView) -> None:
    generation = data.generation
    verb = f"is now {generation.state}" if data.changed else f"was {generation.state} already"
    say(f"Generation {generation.id} ({generation.model}) {verb}. {coverage(generation.coverage)}")
    if data.active is not None and data.active.id != generation.id:
        say(f"Generation {data.active.id} ({data.active.model}) is active. {coverage(data.active.coverage)}")
    if data.restamped:
        say(f"{count(data.restamped, 'message')} need not be embedded again.")


def adopted_lines(adopted: AdoptedFrom, state: str) -> list[str]:
    lines = [f"  from msgvault: {adopted.fingerprint}, {adopted.origin}"]
    if adopted.median_cosine is None:
        way_out = ": vaultembed embeddings build --model PATH" if state in ("active", "building") else ""
        lines.append(f"  its model, {adopted.model}, has not been found here{way_out}")
    else:
        texts = count(adopted.sampled, "text")
        lines.append(
            "  its weights are inferred, by comparing it with the model here: median cosine"
            f" {adopted.median_cosine:.4f} of {texts}"
        )
    return lines
