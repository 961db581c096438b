"""`vaultembed mcp`."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from vaultembed.cli.output import finish, reported_errors
from vaultembed.cli.wording import say
from vaultembed.errors import NotReadyError
from vaultembed.paths import archive_path
from vaultembed.service.mcp_clients import Client, ClientView, configure_client, missing_package
from vaultembed.service.result import Result

if TYPE_CHECKING:
    from vaultembed.service.keeping import Within
    from vaultembed.serving.model_pool import KeptEmbedders


def run_install(client: Client, archive: Path | None, only: str | None, *, write: bool, as_json: bool) -> NoReturn:
    def call() -> Result[ClientView]:
        _opened(archive, only)
        return configure_client(client, archive_path(archive), only, write=write)

    finish("mcp", call, render_client, as_json=as_json)


def render_client(data: ClientView) -> None:
    if not data.written:
        say(f"{data.title} reads this from {data.path}:\n")
        typer.echo(json.dumps(data.entry, indent=2, ensure_ascii=False))
        return
    if not data.changed:
        say(f"{data.path} says so already.")
        return
    say(f"{data.path} is written.")
    if data.backup is not None:
        say(f"  as it was before: {data.backup}")


def run_stdio(archive: Path | None, only: str | None, time_limit: float | None) -> NoReturn:
    with reported_errors("mcp", as_json=False):
        opened = _opened(archive, only)
        embedders = _warmed(archive_path(archive))
        from vaultembed.serving.mcp.server import make_server
        from vaultembed.serving.time_limited import CALL_SECONDS

        if sys.stdin.isatty():
            say(
                "An MCP client starts this command and speaks with it. To set one up: vaultembed mcp --install"
                " claude-desktop\nCtrl-C ends it.",
                err=True,
            )
        # the thread that waits for input would hold up any gentler end; nothing is written that could be cut off, and
        # the model's process ends when its input does
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
        make_server(opened, embedders, time_limit or CALL_SECONDS).run("stdio")
    raise typer.Exit


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What `mcp --http` was given."""

    host: str
    port: int
    remote: bool
    token_file: Path | None
    names: tuple[str, ...]
    time_limit: float | None


def run_http(archive: Path | None, only: str | None, given: HttpOptions) -> NoReturn:
    with reported_errors("mcp", as_json=False):
        opened = _opened(archive, only)
        embedders = _warmed(archive_path(archive))
        from vaultembed.serving.mcp.http import HttpSettings, serve_http
        from vaultembed.serving.mcp.server import make_server
        from vaultembed.serving.time_limited import CALL_SECONDS

        settings = HttpSettings(
            given.host, given.port, given.remote, given.token_file, given.names, given.time_limit or CALL_SECONDS
        )
        serve_http(make_server(opened, embedders, settings.call_seconds), settings)
    raise typer.Exit


def _opened(archive: Path | None, only: str | None) -> Path | Within:
    """
    Raises:
        QueryError: `only` is no query.
    """
    if only is None:
        return archive_path(archive)
    from vaultembed.service.keeping import only_matching

    return only_matching(archive_path(archive), only)


def _warmed(path: Path) -> KeptEmbedders:
    """Begins to load the model; the packages of MCP take as long to import.

    Raises:
        NotReadyError: the extra is not installed.
    """
    if (hint := missing_package()) is not None:
        raise NotReadyError("the MCP server needs the package mcp, which is not installed", hint)
    from vaultembed.serving.model_pool import KeptEmbedders

    embedders = KeptEmbedders()
    embedders.warm(path)
    return embedders
