"""Claude Code itself, as docs/mcp/claude-code.md has it: it connects, asks before it calls, is given marked mail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.assistant import http_server
from tests.kit.model_api import model_api
from tests.kit.outside_clients import npm_program
from tests.kit.pages import DOCS, shell_lines
from tests.kit.processes import COMMAND, environment
from vaultembed.models.model_file import ModelFile

pytestmark = pytest.mark.clients

WORD = "t0ken-of-more-than-32-characters-0123456789"
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


class ClaudeCode:
    """With a home of its own, and nothing of the environment that it could find an account in."""

    def __init__(self, program: Path, home: Path, model: ModelFile) -> None:
        self.program = program
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "VAULTEMBED_MODELS": str(model.path.parent),
            **QUIET,
        }

    def __call__(self, *arguments: str, **variables: str) -> str:
        done = subprocess.run(
            [str(self.program), *arguments],
            cwd=self.home,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr

    def shell(self, script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """`folder`: holds `claude`."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env={**self.environment, **variables, "PATH": f"{folder}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def install(self, archive: Path, **variables: str) -> None:
        """`vaultembed mcp --install claude-code --write`."""
        subprocess.run(
            [*COMMAND, "mcp", "--install", "claude-code", "--write"],
            env={**environment(archive), "HOME": str(self.home), **variables},
            capture_output=True,
            timeout=60,
            check=True,
        )


@pytest.fixture(scope="module")
def program() -> Path:
    return npm_program("@anthropic-ai/claude-code-linux-x64", "2.1.332", "claude")


@pytest.fixture
def claude(program: Path, tmp_path: Path, model: ModelFile) -> ClaudeCode:
    return ClaudeCode(program, tmp_path, model)


def test_the_lines_of_its_page_do_what_they_are_said_to(claude: ClaudeCode, answering: Path, tmp_path: Path) -> None:
    lines = shell_lines(DOCS / "mcp" / "claude-code.md")[4:]
    assert len(lines) == 5
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "claude").symlink_to(claude.program)
    (tmp_path / ".vaultembed-token").write_text(WORD + "\n")
    (tmp_path / ".vaultembed-token").chmod(0o600)
    claude.install(answering)
    with (
        http_server(answering, "--token-file", tmp_path / ".vaultembed-token") as url,
        model_api("mcp__vaultembed__search_messages", query="invoice", limit=1) as model,
    ):
        script = "\n".join(lines[:2] + lines[4:] + lines[2:4]).replace("http://127.0.0.1:8737/mcp", url)
        done = claude.shell(
            "set -ex\n" + script + "\nclaude mcp get vaultembed",
            folder,
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_AUTH_TOKEN="none",  # noqa: S106 (no secret)
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✔ Connected") == 2
    assert "Type: stdio" in done.stdout
    assert "Type: http" in done.stdout
    assert "Invoice 4411" in model.results[-1]


def test_it_connects_by_what_install_has_written_and_removes_it(claude: ClaudeCode, answering: Path) -> None:
    claude.install(answering)
    shown = claude("mcp", "get", "vaultembed")
    assert "✔ Connected" in shown
    assert "User config (available in all your projects)" in shown
    assert str(answering) in shown
    claude("mcp", "remove", "vaultembed", "-s", "user")
    assert "No MCP server" in claude("mcp", "get", "vaultembed")


def test_where_its_folder_is_moved_install_writes_there(claude: ClaudeCode, answering: Path, tmp_path: Path) -> None:
    moved = str(tmp_path / "moved")
    claude.install(answering, CLAUDE_CONFIG_DIR=moved)
    assert "✔ Connected" in claude("mcp", "get", "vaultembed", CLAUDE_CONFIG_DIR=moved)
    assert not (tmp_path / ".claude.json").exists()


def test_in_one_project_it_is_added_by_its_own_command(claude: ClaudeCode, answering: Path) -> None:
    server = [sys.executable, "-P", "-m", "vaultembed", "mcp", "--archive", str(answering)]
    claude("mcp", "add", "vaultembed", "--", *server)
    shown = claude("mcp", "get", "vaultembed")
    assert "✔ Connected" in shown
    assert "Local config (private to you in this project)" in shown


def test_over_http_it_needs_the_token_from_its_environment(claude: ClaudeCode, answering: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(WORD)
    token.chmod(0o600)
    with http_server(answering, "--token-file", token) as url:
        header = "Authorization: Bearer ${VAULTEMBED_TOKEN}"
        claude("mcp", "add", "--scope", "user", "--transport", "http", "vaultembed", url, "--header", header)
        assert WORD not in (tmp_path / ".claude.json").read_text()
        assert "✔ Connected" in claude("mcp", "get", "vaultembed", VAULTEMBED_TOKEN=WORD)
        without = claude("mcp", "get", "vaultembed")
        assert "✘ Failed to connect" in without
        assert "a token is needed" in without


def test_it_is_asked_first_and_then_gives_the_model_mail_between_marks(claude: ClaudeCode, answering: Path) -> None:
    claude.install(answering)
    ask = ["--permission-mode", "default", "-p", "What is wet? Look in my mail."]
    with model_api("mcp__vaultembed__search_messages", query="flat under water", limit=1) as model:
        to_it = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_AUTH_TOKEN": "none"}
        claude(*ask, **to_it)
        assert "haven't granted it" in model.results[-1]
        said = claude("--allowedTools=mcp__vaultembed", *ask, **to_it)
    mark = re.search(r"<(untrusted_mail_[0-9a-f]+)>The pipe under the sink burst", model.results[-1])
    assert mark, model.results[-1]
    assert f"</{mark[1]}>" in model.results[-1]
    assert mark[1] in said
