"""`vaultembed search`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish
from vaultembed.cli.wording import heading, paragraph, safe_line, say, style
from vaultembed.paths import archive_path
from vaultembed.service.searching import Found, Mode, SearchView, search_archive


def run(query: str, archive: Path | None, mode: Mode, number: int, *, as_json: bool) -> NoReturn:
    finish(
        "search", lambda: search_archive(archive_path(archive), query, mode=mode, limit=number), render, as_json=as_json
    )


def render(data: SearchView) -> None:
    if not data.results:
        say("Nothing found.")
    for found in data.results:
        say(headline(found))
        say(style("    " + heading(found.subject, found.chat), bold=True))
        typer.echo(paragraph(safe_line(found.passage.text), 4))
        typer.echo("")


def headline(found: Found) -> str:
    date = found.date[:10] if found.date else "no date   "
    name = f"{found.sender_name} <{found.sender_address}>" if found.sender_name else found.sender_address
    attached = "  [attachment]" if found.has_attachments else ""
    return f"{style(str(found.id), fg='cyan'):>3} {date}  {safe_line(name) or 'unknown sender'}{attached}"
