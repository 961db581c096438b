"""`vaultembed embeddings build`."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress, StepDisplay
from vaultembed.cli.wording import count, coverage, duration, quality, say, size
from vaultembed.paths import archive_path
from vaultembed.service.embedding import BuildRequest, BuildView, Plan, RunCounts, build_embeddings, period
from vaultembed.service.result import Result


def run_build(archive: Path | None, request: BuildRequest, *, as_json: bool) -> NoReturn:
    def call() -> Result[BuildView]:
        display = BuildDisplay()
        try:
            with stopping() as stop:
                result = build_embeddings(
                    archive_path(archive),
                    request,
                    on_step=display.steps.show,
                    on_plan=display.on_plan,
                    on_batch=display.on_batch,
                    on_wait=display.on_wait,
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            display.close()

    finish("embeddings build", call, render_build, as_json=as_json)


def seconds_of(text: str | None) -> float | None:
    """`90`, `90s`, `15m`, `2h` or `1h30m` as seconds.

    Raises:
        typer.BadParameter: anything else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if not text.strip() or found is None:
        raise typer.BadParameter(f"{text} is not a length of time. Write 90s, 15m, 2h or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def per_second(text: str | None) -> float | None:
    """`10` or `10/s`, more than 0.

    Raises:
        typer.BadParameter: anything else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/s)?", text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text} is not a rate. Write 10 or 10/s.")
    return float(found[1])


def first_second(option: str, text: str | None) -> int | None:
    """Of a day, month or year, or a moment; UTC where it names no zone.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is None:
        return None
    try:
        return period(text, datetime.now()).start
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text} is not a date; write 2019, 2019-06 or 2019-06-30", param_hint=option
        ) from None


class BuildDisplay:
    """Says what a build is about to do, then how far it is."""

    def __init__(self) -> None:
        self.steps = StepDisplay()
        self._messages = 0
        self._tokens: int | None = None
        self._progress: Progress | None = None

    def on_plan(self, plan: Plan) -> None:
        self.steps.close()
        self._messages = plan.messages
        self._tokens = plan.about_tokens
        about = ""
        if plan.about_seconds is not None and plan.about_bytes is not None:
            about = f": about {duration(plan.about_seconds)}, {size(plan.about_bytes)}"
        what = f"{count(plan.messages, 'message')} to embed with {plan.generation.model_label}{about}"
        say(f"{what}. Ctrl-C is safe.", err=True)
        self._progress = Progress("Embedding")
        self._progress.update(0, 1, 0, f"0 of {plan.messages:,}")

    def on_batch(self, run: RunCounts) -> None:
        if self._progress is None or not run.seconds:
            return
        rate = f"{run.messages / run.seconds:,.1f} messages/s"
        share = run.messages / max(self._messages, 1)
        if self._tokens and run.tokens < self._tokens:
            share = run.tokens / self._tokens  # time goes by tokens: old mail may be ten times as long as new
        self._progress.update(share, 1, run.seconds, f"{run.messages:,} of {self._messages:,}, {rate}")

    def on_wait(self, what: str) -> None:
        if self._progress is not None:
            self._progress.update(0, None, 0, what)

    def close(self) -> None:
        self.steps.close()
        if self._progress is not None:
            self._progress.close()


def render_build(data: BuildView) -> None:
    run = data.run
    if data.collected:
        say(f"{count(data.collected, 'vector')} of deleted messages removed.")
    if run.messages:
        seconds = max(run.seconds, 0.001)
        rate = f"{run.messages / seconds:,.1f} messages/s, {run.tokens / seconds:,.0f} tokens/s"
        say(
            f"{count(run.messages, 'message')} done in {duration(run.seconds)} ({rate}): {run.embedded:,} embedded in "
            f"{count(run.chunks, 'chunk')}, {run.blank:,} blank, {run.failed:,} failed"
        )
    elif not data.interrupted and data.generation.coverage.missing:
        say("Nothing to do was found, and yet messages are missing.")
    elif not data.interrupted and data.generation.coverage.live:
        which = " in the scope" if data.generation.scope else ""
        say(f"Nothing to do: every message{which} is covered.")
    if data.quality is not None:
        say(quality(data.quality))
    state = "now active" if data.activated else data.generation.state
    if data.verified:
        state = f"verified, {state}"
    say(f"Generation {data.generation.id} ({data.generation.model}) is {state}. {coverage(data.generation.coverage)}")
