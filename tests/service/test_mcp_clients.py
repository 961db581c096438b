"""`vaultembed mcp --install`: the client's configuration, shown or merged. Its places: test_mcp_places.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.processes import COMMAND, environment
from vaultembed.errors import UsageError
from vaultembed.service.mcp_clients import configure_client

CLIENTS = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers"),
    "claude-code": (".claude.json", "mcpServers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
    "vscode": (".config/Code/User/mcp.json", "servers"),
}
ONE_OF_CLIENTS = ["vscode", *(pytest.param(client, marks=pytest.mark.slow) for client in CLIENTS if client != "vscode")]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the places are those of Linux")


ELSEWHERE = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CLAUDE_CONFIG_DIR", "VAULTEMBED_MODELS")


def install(
    home: Path, client: str, *options: str, exit_code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in environment(home / "mail.db").items() if name not in ELSEWHERE}
    done = subprocess.run(
        [*COMMAND, "mcp", "--install", client, *options],
        env={**env, "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == exit_code, done.stderr
    return done


def written(home: Path, client: str) -> dict[str, Any]:
    path, key = CLIENTS[client]
    found: dict[str, Any] = json.loads((home / path).read_text())[key]["vaultembed"]
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_it_is_shown_and_nothing_is_written(tmp_path: Path, client: str) -> None:
    shown = install(tmp_path, client).stdout
    path, key = CLIENTS[client]
    assert str(tmp_path / path) in shown
    entry = json.loads(shown[shown.index("{") :])[key]["vaultembed"]
    assert entry["args"][-1] == str(tmp_path / "mail.db")
    assert not (tmp_path / path).exists()


@pytest.mark.parametrize("client", ONE_OF_CLIENTS)
def test_what_is_written_starts_the_server_from_anywhere(tmp_path: Path, client: str) -> None:
    install(tmp_path, client, "--write")
    entry = written(tmp_path, client)
    started = subprocess.run(
        [entry["command"], *entry["args"]],
        input=b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        b'"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n',
        capture_output=True,
        cwd="/",
        env={"HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert json.loads(started.stdout)["result"]["serverInfo"]["name"] == "vaultembed"


@pytest.mark.parametrize("client", ONE_OF_CLIENTS)
def test_nothing_of_the_project_that_is_open_is_run(tmp_path: Path, client: str) -> None:
    install(tmp_path, client, "--write")
    entry = written(tmp_path, client)
    project = tmp_path / "project"
    project.mkdir()
    for module in ("platformdirs", "typer", "mcp", "vaultembed"):
        (project / f"{module}.py").write_text("raise SystemExit('the project was run')")
    done = subprocess.run(
        [entry["command"], *entry["args"]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=project,
        env={**environment(), "HOME": str(tmp_path)},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_folder_of_models_that_the_shell_names_is_named_to_the_client(tmp_path: Path, client: str) -> None:
    install(tmp_path, client, "--write")
    assert "env" not in written(tmp_path, client)
    install(tmp_path, client, "--write", VAULTEMBED_MODELS=str(tmp_path / "models"))
    assert written(tmp_path, client)["env"] == {"VAULTEMBED_MODELS": str(tmp_path / "models")}
    install(tmp_path, client, "--write", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert written(tmp_path, client)["env"] == {"VAULTEMBED_MODELS": str(tmp_path / "cache/vaultembed/models")}


def test_what_else_the_client_is_told_stays_and_a_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / CLIENTS["cursor"][0]
    path.parent.mkdir()
    before = '{"theme": "dunkelgrün", "mcpServers": {"other": {"command": "x"}}}'
    path.write_text(before)
    path.chmod(0o600)
    done = install(tmp_path, "cursor", "--write")
    config = json.loads(path.read_text())
    assert (config["theme"], config["mcpServers"]["other"]) == ("dunkelgrün", {"command": "x"})
    assert path.stat().st_mode & 0o777 == 0o600
    (backup,) = path.parent.glob("mcp.json.backup-*")
    assert backup.read_text() == before
    assert str(backup) in done.stdout
    again = install(tmp_path, "cursor", "--write")
    assert "says so already" in again.stdout
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("given", [["--only=from:ada 'x'"], ["--only", "from:ada 'x'"]])
def test_a_limit_is_not_lifted_by_leaving_it_out(tmp_path: Path, given: list[str]) -> None:
    path, key = CLIENTS["cursor"]
    (tmp_path / path).parent.mkdir(parents=True)
    before = json.dumps({key: {"vaultembed": {"command": "python", "args": ["-m", "vaultembed", "mcp", *given]}}})
    (tmp_path / path).write_text(before)
    with pytest.raises(UsageError, match="without --only it would see all") as refused:
        configured(tmp_path, None)
    assert refused.value.hint == """Give it again: --only 'from:ada '"'"'x'"'"''. To open all: --only in:anywhere"""
    assert (tmp_path / path).read_text() == before
    for only in ("from:ada 'x'", "from:ben", "in:anywhere"):
        configured(tmp_path, only)
        assert written(tmp_path, "cursor")["args"][-1] == f"--only={only}"


def configured(home: Path, only: str | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        configure_client("cursor", home / "mail.db", only, write=True)


def test_an_archive_that_is_not_there_yet_is_told_at_once(tmp_path: Path) -> None:
    told = f"There is no archive at {tmp_path / 'mail.db'} yet"
    assert told in install(tmp_path, "cursor").stderr
    assert told in install(tmp_path, "cursor", "--write").stderr
    (tmp_path / "mail.db").touch()
    assert told not in install(tmp_path, "cursor", "--write").stderr


def test_a_package_that_is_missing_is_told_at_once_and_not_in_the_log_of_the_client(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['mcp'] = None\n"  # as if it were not installed
        "from pathlib import Path\n"
        "from vaultembed.service.mcp_clients import configure_client\n"
        "print(configure_client('cursor', Path('a.db'), write=False).notes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment(), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "it needs the package mcp. Install it: " in done.stdout, done.stderr


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.json"
    kept.write_text("{}")
    path = tmp_path / CLIENTS["claude-code"][0]
    path.symlink_to(kept)
    install(tmp_path, "claude-code", "--write")
    assert path.is_symlink()
    assert "vaultembed" in kept.read_text()


@pytest.mark.parametrize("content", ["// a comment\n{}", "[]", '{"servers": []}', "\x00\xff", "{"])
def test_what_cannot_be_merged_is_left_alone_and_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / CLIENTS["vscode"][0]
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    done = install(tmp_path, "vscode", "--write", exit_code=2)
    assert "Add this to it yourself" in done.stderr
    assert '"vaultembed"' in done.stderr
    assert path.read_bytes() == content.encode("latin-1")
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ".cursor"
    folder.mkdir(mode=0o500)
    done = install(tmp_path, "cursor", "--write", exit_code=74)
    assert "cannot be written" in done.stderr


def test_as_json_it_says_what_it_did(tmp_path: Path) -> None:
    done = install(tmp_path, "cursor", "--write", "--json")
    data = json.loads(done.stdout)["data"]
    assert (data["written"], data["changed"], data["backup"]) == (True, True, None)


@pytest.mark.parametrize("options", [("--write",), ("--json",), ("--remote",), ("--token-file", "x")])
def test_options_that_belong_to_others_are_refused_alone(options: tuple[str, ...]) -> None:
    done = subprocess.run([*COMMAND, "mcp", *options], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
