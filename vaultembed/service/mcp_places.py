"""Where each MCP client keeps its user's configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
