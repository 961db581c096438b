"""What tells an MCP client of an archive, shown or merged into the client's configuration."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from vaultembed.archive.conditions import shown_by
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.grouping import count_matching
from vaultembed.errors import StorageError, UsageError
from vaultembed.models.cache import FOLDER_VARIABLE, models_folder
from vaultembed.search.query import parse_query
from vaultembed.service.deletion import excluded_in_vain
from vaultembed.service.result import Result

Client = Literal["claude-desktop", "claude-code", "cursor", "vscode"]


@dataclass(frozen=True, slots=True)
class Machine:
    platform: str
    """As `sys.platform`."""
    environment: Mapping[str, str]
    home: Path


def this_machine() -> Machine:
    return Machine(sys.platform, os.environ, Path.home())


def config_path(client: Client, machine: Machine) -> Path:
    """The file, there or not.

    Sources: the clients' own documentation; `CLAUDE_CONFIG_DIR` and the file in it as Claude Code 2.1 writes them; for
    Claude Desktop on Windows, github.com/anthropics/claude-code/issues/26073.
    """
    if client == "claude-code":
        moved = machine.environment.get("CLAUDE_CONFIG_DIR")
        return (Path(moved) if moved else machine.home) / ".claude.json"
    if client == "cursor":
        return machine.home / ".cursor" / "mcp.json"
    if client == "claude-desktop":
        return _claude_desktop_folder(machine) / "claude_desktop_config.json"
    return _applications(machine) / "Code" / "User" / "mcp.json"


def _applications(machine: Machine) -> Path:
    if machine.platform == "darwin":
        return machine.home / "Library" / "Application Support"
    if machine.platform == "win32":
        return Path(machine.environment.get("APPDATA") or machine.home / "AppData" / "Roaming")
    return Path(machine.environment.get("XDG_CONFIG_HOME") or machine.home / ".config")


def _claude_desktop_folder(machine: Machine) -> Path:
    if machine.platform == "win32":
        # since 2026 it is installed as a package, to which Windows shows a folder of the package's own as %APPDATA%:
        # what stands in the real one it does not read
        local = Path(machine.environment.get("LOCALAPPDATA") or machine.home / "AppData" / "Local")
        packages = sorted((local / "Packages").glob("Claude_*"), key=lambda folder: folder.stat().st_mtime)
        if packages:
            return packages[-1] / "LocalCache" / "Roaming" / "Claude"
    return _applications(machine) / "Claude"


NAME: Final = "vaultembed"

_TITLES: Final[dict[Client, str]] = {
    "claude-desktop": "Claude Desktop",
    "claude-code": "Claude Code",
    "cursor": "Cursor",
    "vscode": "Visual Studio Code",
}
_NEXT: Final[dict[Client, str]] = {
    "claude-desktop": "Quit Claude Desktop, not only its window, and start it again.",
    "claude-code": "Start claude again; /mcp there shows it. In a terminal: claude mcp get vaultembed",
    "cursor": "Quit Cursor and start it again.",
    "vscode": "In its command palette, 'MCP: List Servers' shows and starts it.",
}
"""After its configuration has changed."""


@dataclass(frozen=True, slots=True)
class ClientView:
    client: str
    title: str
    path: Path
    """The client's configuration."""
    entry: dict[str, Any]
    """What belongs in it, as JSON."""
    written: bool
    changed: bool
    """False where it said so already."""
    backup: Path | None
    """The configuration as it was."""


def configure_client(client: Client, archive_path: Path, only: str | None = None, *, write: bool) -> Result[ClientView]:
    """What tells a client of the archive; with `write`, merged into its configuration, of which a copy is kept.

    Raises:
        UsageError: its configuration is no JSON that can be merged with.
        StorageError: it cannot be read or written.
    """
    path = config_path(client, this_machine())
    key = "servers" if client == "vscode" else "mcpServers"
    entry = {key: {NAME: _server(client, archive_path, only)}}
    changed, backup = (False, None)
    if write:
        changed, backup = _merge(path, key, entry[key][NAME], json.dumps(entry, indent=2))
    view = ClientView(client, _TITLES[client], path, entry, write, changed, backup)
    notes = [_NEXT[client]] if write else [f"To write it there: --install {client} --write"]
    return Result("mcp", view, (*notes, *_not_ready(archive_path), *_opened_by(archive_path, only)))


def missing_package() -> str | None:
    """How to install what the server needs, where it is not there."""
    if importlib.util.find_spec("mcp") is not None:
        return None
    return f"Install it: {sys.executable} -m pip install 'mcp>=2,<3'"


def _not_ready(archive_path: Path) -> list[str]:
    """What would make the client find nothing, told now and not in the client's log."""
    notes = []
    if (hint := missing_package()) is not None:
        notes.append(f"The server will not start yet: it needs the package mcp. {hint}")
    if not archive_path.exists():
        notes.append(f"There is no archive at {archive_path.absolute()} yet. Import mail: vaultembed import PATH")
    return notes


def _opened_by(archive_path: Path, only: str | None) -> list[str]:
    """What `--only` comes to, while a person is there to see that a label is spelled otherwise: `-label:privat` opens
    all. No error: mail that is excluded may be still to come."""
    if only is None or not archive_path.exists():
        return []
    query = parse_query(only)
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        opened, live = (count_matching(archive, some) for some in (shown_by(query.everything), Filter()))
        in_vain = [f"Look again: {what}." for what in excluded_in_vain(archive, query)]
    return [f"It opens {opened:,} of {live:,} messages now.", *in_vain]


def _server(client: Client, archive_path: Path, only: str | None) -> dict[str, Any]:
    # a desktop starts clients with another PATH than a terminal's: by its full path, this interpreter is found.
    # They start it in the folder that is open: without -P, Python would run a json.py that lies there
    arguments = ["-P", "-m", NAME, "mcp", "--archive", str(archive_path.absolute())]
    if only is not None:
        arguments.append(f"--only={only}")  # it may begin with a "-"
    command: dict[str, Any] = {"command": sys.executable, "args": arguments}
    if any(os.environ.get(name) for name in (FOLDER_VARIABLE, "XDG_CACHE_HOME")):  # nor does a desktop set these
        command["env"] = {FOLDER_VARIABLE: str(models_folder().absolute())}
    return command if client == "claude-desktop" else {"type": "stdio", **command}


def _merge(path: Path, key: str, server: dict[str, Any], entry: str) -> tuple[bool, Path | None]:
    """(whether it was changed, the copy of what was there)."""
    by_hand = f"Add this to it yourself:\n{entry}"
    try:
        target = path.resolve()  # where it is a link, into a repository of such files, the link stays
        text = target.read_text("utf-8-sig") if target.exists() else ""
        config = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise UsageError(f"{path} is not JSON that can be merged with ({error})", by_hand) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", by_hand) from error
    if not isinstance(config, dict) or not isinstance(config.get(key, {}), dict):
        raise UsageError(f"{path} has another form than is known", by_hand)
    there = config.get(key, {}).get(NAME)
    if there == server:
        return False, None
    if (before := _only_of(there)) is not None and _only_of(server) is None:
        raise UsageError(
            f"{path} lets the assistant see only {before}; without --only it would see all",
            f"Give it again: --only {shlex.quote(before)}. To open all: --only in:anywhere",
        )
    config.setdefault(key, {})[NAME] = server
    try:
        backup = _copy(target) if target.exists() else None
        _replace(target, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", by_hand) from error
    return True, backup


def _only_of(server: object) -> str | None:
    """The query that limits what a server shows; None where nothing does."""
    arguments = server.get("args") if isinstance(server, dict) else None
    given = [str(argument) for argument in arguments] if isinstance(arguments, list) else []
    for argument, after in pairwise([*given, ""]):
        if argument == "--only" or argument.startswith("--only="):
            return argument.partition("=")[2] if "=" in argument else after
    return None


def _copy(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        backup = path.with_name(f"{path.name}.backup-{stamp}" + (f"-{number}" if number > 1 else ""))
        with suppress(FileExistsError):
            with open(backup, "xb") as copy:
                copy.write(path.read_bytes())
            shutil.copystat(path, backup)
            return backup
    raise FileExistsError(f"{path} has a thousand copies of this second")


def _replace(path: Path, text: str) -> None:
    """At once: a client that reads it meanwhile sees the one or the other. The mode stays; a new file is its user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
