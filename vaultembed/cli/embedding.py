"""`vaultembed embeddings` and `vaultembed embeddings build`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.archive.runs import RunCounts
from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.words import count, coverage, duration, safe, size
from vaultembed.embeddings.build import Plan
from vaultembed.service.embedding import (
    BuildView,
    EmbeddingsView,
    build_embeddings,
    embeddings_status,
)
from vaultembed.service.places import archive_path
from vaultembed.service.result import Result


def run_status(archive: Path | None, as_json: bool) -> NoReturn:
    finish("embeddings", as_json, lambda: embeddings_status(archive_path(archive)), render_status)


def run_build(
    archive: Path | None,
    model: str | None,
    document_prefix: str | None,
    query_prefix: str | None,
    max_failed: int,
    as_json: bool,
) -> NoReturn:
    def call() -> Result[BuildView]:
        display = BuildDisplay()
        try:
            with stopping() as stop:
                result = build_embeddings(
                    archive_path(archive),
                    model=model,
                    document_prefix=document_prefix,
                    query_prefix=query_prefix,
                    max_failed=max_failed,
                    on_plan=display.on_plan,
                    on_batch=display.on_batch,
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            display.close()

    finish("embeddings build", as_json, call, render_build)


class BuildDisplay:
    """Says what a build is about to do, then how far it is."""

    def __init__(self) -> None:
        self._messages = 0
        self._tokens: int | None = None
        self._progress: Progress | None = None

    def on_plan(self, plan: Plan) -> None:
        self._messages = plan.messages
        self._tokens = plan.about_tokens
        about = ""
        if plan.about_seconds is not None and plan.about_bytes is not None:
            about = f": about {duration(plan.about_seconds)}, {size(plan.about_bytes)}"
        what = f"{count(plan.messages, 'message')} to embed with {plan.generation.model.name}{about}"
        typer.echo(f"{what}. Ctrl-C is safe.", err=True)
        self._progress = Progress("Embedding")

    def on_batch(self, run: RunCounts) -> None:
        if self._progress is None:
            return
        done = run.embedded + run.blank + run.failed
        rates = f"{done / run.seconds:,.1f} messages/s, {run.tokens / run.seconds:,.0f} tokens/s"
        share = done / self._messages
        if self._tokens and run.tokens < self._tokens:
            share = run.tokens / self._tokens  # time goes by tokens: old mail may be ten times as long as new
        self._progress.update(share, 1, run.seconds, f"{done:,} of {self._messages:,}, {rates}")

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()


def render_build(data: BuildView) -> None:
    run = data.run
    done = run.embedded + run.blank + run.failed
    if done:
        rate = f"{done / run.seconds:,.1f} messages/s, {run.tokens / run.seconds:,.0f} tokens/s"
        typer.echo(
            f"{count(done, 'message')} done in {duration(run.seconds)} ({rate}): {run.embedded:,} embedded in "
            f"{count(run.chunks, 'chunk')}, {run.blank:,} blank, {run.failed:,} failed"
        )
    elif not data.interrupted and data.generation.coverage.live:
        typer.echo("Nothing to do: every message is covered.")
    state = "now active" if data.activated else data.generation.state
    typer.echo(
        f"Generation {data.generation.id} ({data.generation.model}) is {state}. {coverage(data.generation.coverage)}"
    )


def render_status(data: EmbeddingsView) -> None:
    typer.echo(f"Archive: {data.archive}")
    for generation in data.generations:
        typer.echo(
            f"\nGeneration {generation.id}, {generation.state}: {generation.model}, {generation.dimension} dimensions"
        )
        typer.echo(f"  {coverage(generation.coverage)}")
        typer.echo(f"  created {generation.created_at}, activated {generation.activated_at or 'not yet'}")
        typer.echo(f"  fingerprint {generation.fingerprint}")
    for failure in data.failures:
        typer.echo(f"  failed: message {failure.message_id} ({safe(failure.subject)}): {failure.reason}")
    typer.echo("")
