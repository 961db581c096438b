"""`vaultembed mcp --install`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish
from vaultembed.paths import archive_path
from vaultembed.service.mcp_clients import Client, ClientView, configure_client


def run(client: Client, archive: Path | None, write: bool, as_json: bool) -> NoReturn:
    finish("mcp", as_json, lambda: configure_client(client, archive_path(archive), write=write), render)


def render(data: ClientView) -> None:
    if not data.written:
        typer.echo(f"{data.title} reads this from {data.path}:\n")
        typer.echo(json.dumps(data.entry, indent=2, ensure_ascii=False))
        return
    if not data.changed:
        typer.echo(f"{data.path} says so already.")
        return
    typer.echo(f"{data.path} is written.")
    if data.backup is not None:
        typer.echo(f"  as it was before: {data.backup}")
