"""`vaultembed stats`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish
from vaultembed.cli.words import count, coverage, size
from vaultembed.service.places import archive_path
from vaultembed.service.statistics import StatsView, archive_statistics


def run(archive: Path | None, as_json: bool) -> NoReturn:
    finish("stats", as_json, lambda: archive_statistics(archive_path(archive)), render)


def render(data: StatsView) -> None:
    typer.echo(f"Archive:        {data.archive} ({size(data.file_bytes)}, of it {size(data.raw_bytes)} raw messages)")
    dates = f", {data.first_date[:10]} to {data.last_date[:10]}" if data.first_date and data.last_date else ""
    deleted = f", {data.deleted:,} deleted" if data.deleted else ""
    typer.echo(f"Messages:       {data.messages:,}{dates}{deleted}")
    typer.echo(f"Conversations:  {data.conversations:,}")
    typer.echo(f"People:         {data.people:,}")
    typer.echo(f"Attachments:    {data.attachments:,}")
    typer.echo(f"Problems:       {data.problems:,}")
    if data.not_indexed:
        typer.echo(f"Not in text search: {data.not_indexed:,}")
    which = f"generation {data.generation}" if data.generation else "none yet"
    typer.echo(f"Embeddings:     {which}. {coverage(data.coverage)}")
    typer.echo("Sources:")
    for source in data.sources:
        gone = f", {source.gone:,} gone" if source.gone else ""
        unfinished = "" if source.last_import_at else ", import not finished"
        typer.echo(f"  {source.kind:<8} {source.identifier} ({count(source.messages, 'message')}{gone}{unfinished})")
