"""What is printed fits an 80 column terminal, and goes whole into a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.kit.mail import many, mbox
from vaultembed.cli.app import app
from vaultembed.cli.wording import columns, fit
from vaultembed.models.model_file import ModelFile
from vaultembed.sample import sample_path

COMMANDS = [
    pytest.param(("demo",), marks=pytest.mark.slow),
    ("stats",),
    ("embeddings",),
    ("embeddings", "failures"),
    ("search", "the cat is back"),
    ("search", "nothing that is here at all", "--mode", "text"),
    ("delete", "--dry-run", "boat"),
    ("problems",),
    ("models",),
    ("models", "info", "all-minilm-l6-v2"),
    ("doctor",),
    ("embeddings", "verify"),
    ("embeddings", "rollback"),
    ("show", "9999"),
    ("delete",),
    ("repair-encoding", "--dry-run"),
    ("mcp", "--install", "claude-desktop"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    path = tmp_path_factory.mktemp("width") / "a.db"
    box = tmp_path_factory.mktemp("mail") / f"a mailbox with {'quite ' * 20}a name.mbox"
    mbox(box, many(3))
    for arguments in (("import", str(sample_path()), str(box)), ("embeddings", "build", "--limit", "20")):
        done = run(path, *arguments)
        assert done.exit_code in (0, 3), done.output
        check(done.output)
    return path


def run(archive: Path, *arguments: str, columns: str = "80"):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": columns, "VAULTEMBED_ARCHIVE": str(archive)})


def check(output: str) -> None:
    for line in output.splitlines():
        assert len(line) <= 80 or " " not in line.strip(), line  # a path cannot be broken


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_line_fits(archive: Path, arguments: tuple[str, ...]) -> None:
    output = run(archive, *arguments).output
    assert output
    check(output)


def test_a_pipe_gets_each_line_whole(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert columns() is None
    output = run(archive, "stats", columns="").output
    assert any(line.startswith("Being built:") and line.endswith("missing") for line in output.splitlines())


def test_a_line_goes_on_below_its_value_and_commands_stay_whole() -> None:
    assert fit("Name:   one two three", 17) == "Name:   one two\n        three"
    assert fit("Go on with: vaultembed embeddings build", 30) == "Go on with:\nvaultembed embeddings build"
    assert fit("\x1b[1mone\x1b[0m two", 7) == "\x1b[1mone\x1b[0m two"
    assert fit("x" * 20, 10) == "x" * 20
