"""docs/mcp.md and the page of each client: what they say to type works, and what they show is what is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.kit.pages import DOCS, json_blocks, shell_lines
from vaultembed.models.model_file import ModelFile
from vaultembed.sample import sample_path
from vaultembed.service.mcp_clients import Client, Machine, config_path

CLIENTS: tuple[Client, ...] = get_args(Client)
PAGES = {client: DOCS / "mcp" / f"{client}.md" for client in CLIENTS}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_overview_leads_to_the_page(client: Client) -> None:
    assert f"(mcp/{PAGES[client].name})" in (DOCS / "mcp.md").read_text("utf-8")


def test_all_begin_with_the_same_lines_and_set_up_their_client() -> None:
    beginnings = {tuple(shell_lines(page)[:3]) for page in PAGES.values()}
    assert len(beginnings) == 1
    for client, page in PAGES.items():
        assert shell_lines(page)[3] == f"vaultembed mcp --install {client} --write"
        assert all(line.startswith(("claude ", "export ")) for line in shell_lines(page)[4:])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, script: Path, model: ModelFile) -> Path:
    """Of a new user who has done what is above the line that sets up the client."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "Mail").mkdir()
    shutil.copy(sample_path(), folder / "Mail" / "inbox")
    installing, *lines = shell_lines(PAGES["cursor"])[:3]
    assert installing == "pip install '.[mcp]'"
    for line in lines:
        done = typed(line, folder, script, model)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return folder


@pytest.fixture(scope="module")
def script() -> Path:
    found = Path(sys.executable).with_name("vaultembed")
    if not found.exists():
        pytest.skip("vaultembed is not installed beside this Python: pip install -e '.[dev]'")
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the places are those of Linux")
@pytest.mark.parametrize("client", CLIENTS)
def test_the_file_written_is_as_the_page_shows_it(client: Client, home: Path, script: Path, model: ModelFile) -> None:
    done = typed(shell_lines(PAGES[client])[3], home, script, model)
    assert done.returncode == 0, done.stderr
    written = config_path(client, Machine(sys.platform, {}, home))
    assert f"{written} is written." in done.stdout
    assert "yet" not in done.stderr, "something is missing"
    assert without_paths(json.loads(written.read_text())) == without_paths(json_blocks(PAGES[client])[0])


@pytest.mark.parametrize("client", CLIENTS)
def test_it_names_the_file_on_each_system(client: Client) -> None:
    page = PAGES[client].read_text("utf-8")
    for platform in ("linux", "darwin", "win32"):
        path = config_path(client, Machine(platform, {}, Path("~")))
        shown = str(path)
        if platform == "win32":
            shown = shown.replace("~/AppData/Roaming", "%APPDATA%").replace("/", "\\")
            shown = shown.replace("~", "%USERPROFILE%") if client == "cursor" else shown.replace("~\\", "~/")
        assert f"`{shown}`" in page, shown


@pytest.mark.parametrize(("client", "key"), [("cursor", "mcpServers"), ("vscode", "servers")])
def test_over_http_it_shows_the_usual_address_and_a_token_that_is_not_in_the_file(client: Client, key: str) -> None:
    entry = json_blocks(PAGES[client])[1][key]["vaultembed"]
    assert entry["url"] == "http://127.0.0.1:8737/mcp"
    assert re.fullmatch(r"Bearer \$\{(env|input):[\w-]+\}", entry["headers"]["Authorization"])


def typed(line: str, home: Path, script: Path, model: ModelFile) -> subprocess.CompletedProcess[str]:
    """Run as a new user with that home types it."""
    models = home / ".cache" / "vaultembed" / "models"
    models.parent.mkdir(parents=True, exist_ok=True)
    if not models.exists():
        models.symlink_to(model.path.parent)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VAULTEMBED_", "XDG_", "CLAUDE", "COLUMNS"))
    }
    env = {
        **kept,
        "HOME": str(home),
        "PATH": f"{script.parent}:{os.environ['PATH']}",
    }
    return subprocess.run(line, shell=True, cwd=home, env=env, capture_output=True, text=True, timeout=120, check=False)


def without_paths(configuration: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(configuration)
    return dict(json.loads(re.sub(r'"/[^"]*/(python[\d.]*|archive\.db)"', lambda m: f'"{m[1][:6]}"', text)))
