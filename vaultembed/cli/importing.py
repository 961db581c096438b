"""`vaultembed import`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.words import count, duration
from vaultembed.service.import_run import ImportProgress, Raw
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.places import archive_path
from vaultembed.service.result import Result


def run(paths: list[Path], archive: Path | None, raw: Raw, as_json: bool) -> NoReturn:
    def call() -> Result[Imported]:
        progress = Progress("Importing")
        try:
            with stopping() as stop:
                result = import_mail(
                    archive_path(archive),
                    paths,
                    raw=raw,
                    on_progress=lambda at: show_progress(progress, at),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("import", as_json, call, render)


def show_progress(progress: Progress, at: ImportProgress) -> None:
    rate = at.messages / at.seconds if at.seconds > 0 else 0
    progress.update(
        at.bytes_done, at.bytes_total, at.seconds, f"{at.path.name}: {count(at.messages, 'message')}, {rate:,.0f}/s"
    )


def render(data: Imported) -> None:
    counts = data.counts
    typer.echo(f"{count(counts.added, 'message')} added in {duration(data.seconds)} to {data.archive}")
    others = [
        (counts.updated, "updated"),
        (counts.unchanged, "unchanged"),
        (counts.duplicate, "duplicate (one message, now in several places)"),
        (counts.deleted, "deleted here before (they stay so)"),
        (counts.gone, "gone from the source (kept here)"),
        (counts.problems, "with a problem"),
        (counts.not_mail, "files passed over: no mail"),
    ]
    for number, what in others:
        if number:
            typer.echo(f"{number:>10,} {what}")
