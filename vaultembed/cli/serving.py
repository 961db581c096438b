"""`vaultembed mcp`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from vaultembed.cli.output import told_errors
from vaultembed.errors import NotReadyError
from vaultembed.paths import archive_path, full_path
from vaultembed.service.mcp_clients import missing_package

if TYPE_CHECKING:
    from vaultembed.serving.model_pool import KeptEmbedders


def run_stdio(archive: Path | None, time_limit: float | None) -> NoReturn:
    with told_errors("mcp", as_json=False):
        path = archive_path(archive)
        embedders = _warmed(path)
        from vaultembed.serving.mcp.server import make_server
        from vaultembed.serving.time_limited import CALL_SECONDS

        if sys.stdin is not None and sys.stdin.isatty():
            typer.echo(
                "An MCP client starts this command and speaks with it. To set one up: vaultembed mcp --install"
                " claude-desktop\nCtrl-C ends it.",
                err=True,
            )
        # the thread that waits for input would hold up any gentler end; nothing is written that could be cut off, and
        # the model's process ends when its input does
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
        make_server(path, embedders, time_limit or CALL_SECONDS).run("stdio")
    raise typer.Exit


def run_http(
    archive: Path | None,
    host: str,
    port: int,
    remote: bool,
    token_file: Path | None,
    names: list[str],
    time_limit: float | None,
) -> NoReturn:
    with told_errors("mcp", as_json=False):
        path = archive_path(archive)
        embedders = _warmed(path)
        from vaultembed.serving.mcp.http import HttpSettings, serve_http
        from vaultembed.serving.mcp.server import make_server
        from vaultembed.serving.time_limited import CALL_SECONDS

        token = None if token_file is None else full_path(token_file)
        settings = HttpSettings(host, port, remote, token, tuple(names), time_limit or CALL_SECONDS)
        serve_http(make_server(path, embedders, settings.call_seconds), settings)
    raise typer.Exit


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
