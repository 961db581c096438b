"""Clients and checkers that others wrote: MCP Inspector, the conformance suite, mcpcheck."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.kit.outside_clients import npm_command, pip_command, run

pytestmark = pytest.mark.clients

SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-error",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
)
"""Those that need no fixtures of the suite's own in the server."""


@pytest.fixture(scope="module")
def inspector() -> list[str]:
    return [*npm_command("@modelcontextprotocol/inspector", "2.12.0", "mcp-inspector"), "--cli"]


@pytest.fixture(scope="module")
def conformance() -> list[str]:
    return npm_command("@modelcontextprotocol/conformance", "0.1.16", "conformance")


@pytest.fixture(scope="module")
def mcpcheck() -> list[str]:
    return pip_command("jbt-mcpcheck", "0.1.1", "mcpcheck")


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_finds_nothing_wrong_and_gets_answers(
    inspector: list[str], answering: Path, url: str, tmp_path: Path, transport: str
) -> None:
    server = [sys.executable, "-m", "vaultembed", "mcp", "--archive", str(answering)] if transport == "stdio" else [url]
    listed = run([*inspector, *server, "--method", "tools/list", "--strict"], tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert len(json.loads(listed.stdout)["tools"]) == 7
    call = ["--method", "tools/call", "--tool-name", "get_message", "--tool-arg", "message_id=1"]
    found = run([*inspector, *server, *call], tmp_path)
    assert json.loads(found.stdout)["structuredContent"]["subject"] == "Water everywhere"
    read = run([*inspector, *server, "--method", "resources/read", "--uri", "message://1"], tmp_path)
    assert "flooded" in json.loads(read.stdout)["contents"][0]["text"]
    prompts = run([*inspector, *server, "--method", "prompts/list"], tmp_path)
    assert len(json.loads(prompts.stdout)["prompts"]) == 3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_conformance_suite_passes(conformance: list[str], url: str, tmp_path: Path, scenario: str) -> None:
    done = run([*conformance, "server", "--url", url, "--scenario", scenario], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 failed, 0 warnings" in done.stdout, done.stdout


def test_mcpcheck_passes_without_a_warning(mcpcheck: list[str], url: str, tmp_path: Path) -> None:
    done = run([*mcpcheck, url, "--strict", "--legacy-probes"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "All 8 checks passed" in done.stdout
