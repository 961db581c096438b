"""`vaultembed import`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, duration, safe_line, say
from vaultembed.paths import archive_path
from vaultembed.service.import_plan import ImportPlan, plan_import
from vaultembed.service.importing import (
    AdoptedView,
    CompareView,
    Imported,
    ImportProgress,
    MsgvaultView,
    Raw,
    import_mail,
    read_again,
)
from vaultembed.service.result import Result


def run(paths: list[Path], archive: Path | None, raw: Raw, vectors: Path | None, *, as_json: bool) -> NoReturn:
    def call() -> Result[Imported]:
        progress = Progress("Importing")
        try:
            with stopping() as stop:
                result = import_mail(
                    archive_path(archive),
                    paths,
                    raw=raw,
                    vectors=vectors,
                    on_progress=lambda at: show_progress(progress, at),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("import", call, render, as_json=as_json)


def run_reread(archive: Path | None, *, as_json: bool) -> NoReturn:
    def call() -> Result[Imported]:
        progress = Progress("Reading again")
        try:
            with stopping() as stop:
                result = read_again(
                    archive_path(archive), on_progress=lambda at: show_progress(progress, at), should_stop=stop
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("import", call, render, as_json=as_json)


def run_dry(paths: list[Path], archive: Path | None, vectors: Path | None, *, as_json: bool) -> NoReturn:
    def call() -> Result[ImportPlan]:
        progress = Progress("Looking")
        try:
            with stopping() as stop:
                result = plan_import(
                    archive_path(archive),
                    paths,
                    vectors=vectors,
                    on_progress=lambda at: show_progress(progress, at),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("import", call, render_plan, as_json=as_json)


def show_progress(progress: Progress, at: ImportProgress) -> None:
    rate = at.messages / at.seconds if at.seconds > 0 else 0
    detail = f"{count(at.messages, 'message')}, {rate:,.0f}/s"
    progress.update(at.done, at.total, at.seconds, detail, safe_line(at.path.name))


def render(data: Imported) -> None:
    counts = data.counts
    if data.paths:
        say(f"{count(counts.added, 'message')} added in {duration(data.seconds)} to {data.archive}")
    others = [
        (counts.updated, "updated"),
        (counts.unchanged, "unchanged"),
        (counts.marked, "with other labels, flags, reactions or name of their chat, or deleted there since"),
        (counts.duplicate, "duplicate (one message, now in several places)"),
        (counts.deleted, "deleted here before (they stay so)"),
        (counts.gone, "gone from the source (kept here)"),
        (counts.unread, "not read"),
        (counts.problems, "with something missing or not as it was sent"),
        (counts.guessed, "read by a guess, most likely right"),
        (counts.reread, f"read again with a newer reader, {counts.differ:,} differ"),
        (counts.not_mail, "file skipped: not mail" if counts.not_mail == 1 else "files skipped: not mail"),
    ]
    for number, what in others:
        if number:
            say(f"{number:>10,} {what}")
    for view in data.msgvault:
        for line in msgvault_lines(view, data.compared):
            say(line)


def render_plan(data: ImportPlan) -> None:
    for plan in data.plans:
        counts = plan.counts
        say(f"{count(counts.new, 'message')} would be added to {data.archive}")
        others = [
            (counts.changed, "have changed since the last import"),
            (counts.unchanged, "have not changed since the last import"),
            (counts.duplicate, "are here already, from elsewhere"),
            (counts.deleted, "were deleted here before (they stay so)"),
            (counts.unreadable, "cannot be read"),
        ]
        for number, what in others:
            if number:
                say(f"{number:>10,} {what}")
        for line in msgvault_lines(plan.msgvault, (), would=True):
            say(line)


def msgvault_lines(view: MsgvaultView, compared: tuple[CompareView, ...], *, would: bool = False) -> Iterator[str]:
    deleted = ""
    if view.deleted:
        so_here = {
            None: "and so here unless they stand elsewhere",
            0: "and so here",
            view.deleted: "and none here, for they stand elsewhere",
        }.get(
            view.elsewhere, f"{view.deleted - (view.elsewhere or 0):,} of these here, too; the others stand elsewhere"
        )
        deleted = f", {view.deleted:,} of them deleted there, {so_here}"
    yield f"From msgvault ({view.path}): {count(view.sources, 'source')}, {count(view.messages, 'message')}{deleted}"
    if view.vectors is None:
        yield "  no vectors.db beside it: messages only"
    for generation in view.generations:
        yield from _generation_lines(generation, would=would)
        for comparison in compared:
            if comparison.generation == generation.generation:
                verdict = "the same space" if comparison.same else "another space"
                if comparison.median_cosine is None:
                    yield f"    no text is known that it embedded, so {comparison.model} could not be compared"
                elif comparison.sampled:
                    yield (
                        f"    {count(comparison.sampled, 'text')} embedded again with {comparison.model}: median cosine"
                        f" {comparison.median_cosine:.4f}, {verdict}"
                    )
                if comparison.into is not None:
                    yield f"    generation {comparison.into}, in use here, has {comparison.taken_over:,} of them now"
    for reason in view.passed_over:
        yield f"  not taken over: {reason}"
    for reason in view.left_out:
        yield f"  left out: {reason}"


def _generation_lines(view: AdoptedView, *, would: bool) -> Iterator[str]:
    here = f" is generation {view.generation} here" if view.generation is not None else ""
    yield f"  generation {view.origin_generation} ({view.model}, {view.dimension} dimensions, {view.state}){here}"
    verb = "would be taken over" if would else "taken over"
    if view.vectors or not view.here_already:
        yield f"    {count(view.vectors, 'vector')} of {count(view.embedded, 'message')} {verb}"
    if view.blank:
        yield f"    {count(view.blank, 'message')} without text"
    if view.here_already:
        yield f"    {count(view.here_already, 'message')} covered here already"
    if view.again:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in view.again.items())
        yield f"    {count(sum(view.again.values()), 'message')} to be embedded again: {reasons}"
