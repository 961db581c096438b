"""Where the configuration of each MCP client lies, on each system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaultembed.service.mcp_clients import Client, Machine, config_path

HOME = Path("/home/ada")


@pytest.mark.parametrize(
    ("client", "platform", "expected"),
    [
        ("claude-desktop", "linux", ".config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "darwin", "Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("vscode", "linux", ".config/Code/User/mcp.json"),
        ("vscode", "darwin", "Library/Application Support/Code/User/mcp.json"),
        ("vscode", "win32", "AppData/Roaming/Code/User/mcp.json"),
        *[("cursor", platform, ".cursor/mcp.json") for platform in ("linux", "darwin", "win32")],
        *[("claude-code", platform, ".claude.json") for platform in ("linux", "darwin", "win32")],
    ],
)
def test_without_any_variable_set(client: Client, platform: str, expected: str) -> None:
    assert config_path(client, Machine(platform, {}, HOME)) == HOME / expected


@pytest.mark.parametrize(
    ("client", "platform", "variable", "expected"),
    [
        ("vscode", "linux", "XDG_CONFIG_HOME", "Code/User/mcp.json"),
        ("claude-desktop", "linux", "XDG_CONFIG_HOME", "Claude/claude_desktop_config.json"),
        ("vscode", "win32", "APPDATA", "Code/User/mcp.json"),
        ("claude-desktop", "win32", "APPDATA", "Claude/claude_desktop_config.json"),
        ("claude-code", "linux", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("claude-code", "win32", "CLAUDE_CONFIG_DIR", ".claude.json"),
    ],
)
def test_a_variable_that_moves_it_is_followed_unless_it_is_empty(
    client: Client, platform: str, variable: str, expected: str
) -> None:
    usual = config_path(client, Machine(platform, {}, HOME))
    assert config_path(client, Machine(platform, {variable: "/elsewhere"}, HOME)) == Path("/elsewhere") / expected
    assert config_path(client, Machine(platform, {variable: ""}, HOME)) == usual


@pytest.mark.parametrize(("client", "variable"), [("vscode", "XDG_CONFIG_HOME"), ("claude-desktop", "APPDATA")])
def test_a_mac_follows_the_variables_of_no_other_system(client: Client, variable: str) -> None:
    moved = Machine("darwin", {variable: "/elsewhere"}, HOME)
    assert config_path(client, moved) == config_path(client, Machine("darwin", {}, HOME))


def test_claude_desktop_as_a_windows_package_reads_a_folder_of_its_own(tmp_path: Path) -> None:
    variables = {"APPDATA": str(tmp_path / "Roaming"), "LOCALAPPDATA": str(tmp_path / "Local")}
    machine = Machine("win32", variables, tmp_path)
    inside = Path("LocalCache/Roaming/Claude/claude_desktop_config.json")
    packages = tmp_path / "Local" / "Packages"
    (packages / "Microsoft.Notepad_x").mkdir(parents=True)
    assert config_path("claude-desktop", machine) == tmp_path / "Roaming" / "Claude" / inside.name
    (packages / "Claude_old").mkdir()
    assert config_path("claude-desktop", machine) == packages / "Claude_old" / inside
    (packages / "Claude_new").mkdir()
    os.utime(packages / "Claude_old", (1, 1))
    assert config_path("claude-desktop", machine) == packages / "Claude_new" / inside
    assert config_path("vscode", machine) == tmp_path / "Roaming" / "Code" / "User" / "mcp.json"
