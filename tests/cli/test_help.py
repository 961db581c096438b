"""What a person is told before anything is done: help pages, examples, completion, sentences about wrong values."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.kit.command_docs import command_docs, contexts
from vaultembed import __version__
from vaultembed.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = {context.command_path: context for context in contexts()}


def test_the_command_reference_is_what_help_says() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == command_docs()


@pytest.mark.parametrize("columns", [80, 120])
def test_help_pages_fit_the_terminal_and_cut_nothing_off(columns: int) -> None:
    for context in contexts(columns):
        page = context.get_help()
        assert max(map(len, page.splitlines())) <= columns, page
        for line in page.splitlines():
            assert not line.endswith(("...", "…")) or line.startswith("Usage:"), line


def test_help_pages_name_no_types_of_python_and_no_ranges() -> None:
    for path, context in PAGES.items():
        page = context.get_help()
        for odd in ("<", "x>=", "range", "9223372036854775807", "{", "--no-new", "list["):
            assert odd not in page, (path, odd)
        for parameter in context.command.params:
            assert not getattr(parameter, "secondary_opts", ()), (path, parameter.name)


def examples() -> list[tuple[str, str]]:
    return [(path, line) for path, context in PAGES.items() for line in (context.command.epilog or "").splitlines()]


def test_every_command_has_two_or_three_examples_of_its_own() -> None:
    for path, context in PAGES.items():
        lines = (context.command.epilog or "").splitlines()
        assert 2 <= len(lines) <= 4, path
        assert all(path in line for line in lines), path


@pytest.mark.parametrize("line", [line for _, line in examples()])
def test_every_example_can_be_parsed(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    while "=" in words[0]:  # a setting for this one command
        words.pop(0)
    depth = next(n for n in (3, 2, 1) if " ".join(words[:n]) in PAGES)
    found: Any = PAGES[" ".join(words[:depth])]
    with found.command.make_context(found.info_name, words[depth:], parent=found.parent) as parsed:
        assert not parsed.args


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="vaultembed")


def test_help_shows_the_page_of_a_command() -> None:
    assert run("help").output == run("--help").output
    assert run("help", "embeddings", "build").output == run("embeddings", "build", "--help").output
    assert run("help", "serch").exit_code == 2
    assert "Did you mean 'search'" in run("help", "serch").output
    assert run("help", "search", "more").exit_code == 2


def test_the_version_has_a_short_option() -> None:
    assert run("-V").output == run("--version").output == f"vaultembed {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("search -n 0 x", "give a whole number from 1 to 10,000, not 0"),
        ("search -n many x", "give a whole number from 1 to 10,000, not many"),
        ("show 0", "give a whole number, 1 or more, not 0"),
        ("show 9223372036854775808", "9223372036854775808 is too large"),
        ("undelete 3 x", "give a whole number, 1 or more, not x"),
        ("embeddings build --workers 65", "give a whole number from 1 to 64, not 65"),
        ("embeddings build --backstop-hours -1", "give a number, 0 or more, not -1"),
        ("embeddings build --backstop-hours nan", "give a number, 0 or more, not nan"),
        ("mcp --time-limit 0", "give a number from 1 to 3,600, not 0"),
        ("embeddings build --after soon", "soon is not a date"),
        ("embeddings build --max-time soon", "soon is not a length of time"),
        ("embeddings build --rate-limit 0", "0 is not a rate"),
        ("search --mode best x", "'best' is not one of 'hybrid', 'vector', 'text'"),
        ("import", "Missing argument 'PATH...'"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(arguments: str, says: str) -> None:
    done = run(*arguments.split())
    assert done.exit_code == 2
    assert says in done.output


def test_the_shell_completes_commands_options_and_models(tmp_path: Path) -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash")
    script = Path(sys.executable).with_name("vaultembed")
    if not script.exists():
        pytest.skip("vaultembed is not installed beside this Python")
    ask = """
        PATH="$1:$PATH"
        eval "$(_VAULTEMBED_COMPLETE=source_bash vaultembed)"
        complete -p vaultembed > /dev/null
        shift
        for line in "$@"; do
            read -ra COMP_WORDS <<< "$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMPREPLY=()
            _vaultembed_completion vaultembed
            echo "${COMPREPLY[*]}"
        done
    """
    lines = ["vaultembed emb", "vaultembed search --mo", "vaultembed search --mode v", "vaultembed models info all"]
    done = subprocess.run(
        [bash, "--norc", "-c", ask, "bash", str(script.parent), *lines], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["embeddings", "--mode", "vector", "all-minilm-l6-v2"], done.stderr
