"""`vaultembed search`."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish
from vaultembed.cli.wording import safe_line, style
from vaultembed.paths import archive_path
from vaultembed.service.searching import Found, Mode, SearchView, search_archive


def run(query: str, archive: Path | None, mode: Mode, number: int, *, as_json: bool) -> NoReturn:
    finish(
        "search", lambda: search_archive(archive_path(archive), query, mode=mode, limit=number), render, as_json=as_json
    )


def render(data: SearchView) -> None:
    if not data.results:
        typer.echo("Nothing found.")
    for found in data.results:
        typer.echo(headline(found))
        typer.echo(style("    " + (safe_line(found.subject) or "(no subject)"), bold=True))
        width = min(shutil.get_terminal_size((100, 24)).columns, 110)
        for line in textwrap.wrap(safe_line(found.passage.text), width - 4, break_on_hyphens=False):
            typer.echo(f"    {line}")
        typer.echo("")


def headline(found: Found) -> str:
    date = found.date[:10] if found.date else "no date   "
    name = f"{found.sender_name} <{found.sender_address}>" if found.sender_name else found.sender_address
    attached = "  [attachment]" if found.has_attachments else ""
    return f"{style(str(found.id), fg='cyan'):>3} {date}  {safe_line(name) or 'unknown sender'}{attached}"
