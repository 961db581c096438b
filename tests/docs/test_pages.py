"""The pages: every link leads somewhere, every name, variable and command in them is one that there is."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from tests.kit.pages import DOCS, vaultembed_commands
from vaultembed.archive.doctor.fixes import _REPAIRS
from vaultembed.cli.app import app
from vaultembed.cli.help import EXIT_CODES
from vaultembed.errors import VaultembedError

ROOT = DOCS.parent
PACKAGE = ROOT / "vaultembed"
PAGES = sorted([ROOT / "README.md", ROOT / "schema" / "README.md", *DOCS.rglob("*.md")])
WRITTEN = [page for page in PAGES if page.name != "commands.md"]
PLACEHOLDERS = {"N": "1", "ID": "1", "ID…": "1", "RUN": "1", "SECONDS": "9", "CLIENT": "cursor"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
written = pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(((?!https?:)[^)\s]+)\)", page.read_text("utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not heading or heading in anchors(target), link


def test_the_index_leads_to_every_page() -> None:
    index = DOCS / "index.md"
    found = {(DOCS / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(PAGES) - {index} <= found


def test_every_variable_that_is_read_is_told_of() -> None:
    read = set()
    for module in PACKAGE.rglob("*.py"):
        read |= set(re.findall(r"\bVAULTEMBED_[A-Z_]+\b", module.read_text("utf-8")))
    told = set(re.findall(r"\bVAULTEMBED_[A-Z_]+\b", (DOCS / "configuration.md").read_text("utf-8")))
    assert {"VAULTEMBED_ARCHIVE", "VAULTEMBED_MODELS"} <= read <= told


@pytest.mark.parametrize("page", ["architecture", "contributing"])
def test_every_function_that_a_page_names_is_there(page: str) -> None:
    """`room/module:name` is a name in vaultembed/room/module.py; `room/module`, or `room/`, is such a place."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    named = re.findall(r"`([a-z_/]+):([A-Za-z_][\w.]*)`", text)
    assert len(named) >= 20
    for module, name in named:
        assert name in names(module), f"{module}:{name}"
    rooms = "|".join(room.name for room in PACKAGE.iterdir() if room.is_dir())
    for place in set(re.findall(rf"`((?:{rooms})/[a-z_/]*)`", text)):
        assert (PACKAGE / place).is_dir() or (PACKAGE / place).with_suffix(".py").is_file(), place


@cache
def names(module: str) -> set[str]:
    """What a module defines or hands on, and what its classes define."""
    path = PACKAGE / module
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    found = set(defined(tree.body))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for name in defined(node.body)}
    return found


def defined(body: list[ast.stmt]) -> list[str]:
    found: list[str] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return found


def test_every_test_that_the_architecture_names_is_there() -> None:
    """And every trigger and index of the schema that upholds an invariant."""
    text = (DOCS / "architecture.md").read_text("utf-8")
    tests = "".join(module.read_text("utf-8") for module in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) >= 10
    for name in named:
        assert f"def {name}(" in tests, name
    schema = "".join(file.read_text("utf-8") for file in (ROOT / "schema").glob("*.up.sql"))
    upheld = [row for row in text.splitlines() if re.match(r"\| I\d+ \|", row)]
    assert len(upheld) == 10
    for row in upheld:
        for listed in re.findall(r"\b(?:triggers?|index(?:es)?) ((?:`[\w*]+`(?:, )?)+)", row):
            for name in re.findall(r"`(\w+)", listed):
                assert re.search(rf"(TRIGGER|INDEX) {name}", schema), name


def test_every_message_that_is_explained_is_one_that_there_is() -> None:
    """In the first column of troubleshooting; what compilers and proxies say is theirs."""
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    _, _, ours = page.partition("## Models")
    cells = [row.split(" | ")[0] for row in ours.splitlines() if row.startswith("| ")]
    explained = [message for cell in cells for message in re.findall(r"`([^`]*)`", cell) if " " in message]
    assert len(explained) >= 30
    said = [text for module in PACKAGE.rglob("*.py") for text in strings(module)]
    for message in explained:
        if "SOCKS" not in message:
            pattern = re.compile(r".*".join(map(re.escape, re.split(r"…|\b[NM]\b", message))))
            assert any(pattern.search(text) for text in said), message


def strings(module: Path) -> list[str]:
    """The texts in a module, as they are put together; "…" stands for a value."""
    found = []
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@written
def test_every_command_is_one_that_there_is(page: Path) -> None:
    for line in vaultembed_commands(page):
        understood([PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True)[1:]])


root_command = cache(lambda: typer.main.get_command(app))


def understood(arguments: list[str]) -> None:
    """Raises: an error of typer's: there is no such command, or it takes no such option."""
    command = root_command()
    context = typer.Context(command)
    while isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, typer.Context(found, info_name=name, parent=context)
    if arguments == ["--install-completion"]:
        return  # it would be installed
    if not arguments:
        return  # only named, as in "`vaultembed show` writes them out"
    with contextlib.suppress(typer.Exit):  # --version answers at once
        command.make_context(context.info_name, arguments, parent=context.parent)


@pytest.mark.parametrize("line", ["mcp --instal cursor", "mcp --install emacs", "embedings build", "mcp extra"])
def test_a_command_that_there_is_not_would_be_seen(line: str) -> None:
    with pytest.raises(Exception, match=r"No such (option|command)|is not one of|unexpected extra argument"):
        understood(shlex.split(line))


def table_below(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    text = (DOCS / page).read_text("utf-8").partition(f"\n## {heading}\n")[2]
    lines = itertools.takewhile(lambda line: line.startswith("|"), text[text.index("\n|") + 1 :].splitlines())
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines][2:]


def kinds_of_errors(kind: type[VaultembedError] = VaultembedError) -> Iterator[type[VaultembedError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds_of_errors(below)


def test_every_code_of_an_error_is_told_of() -> None:
    kinds = [kind for kind in kinds_of_errors() if kind.__module__ == "vaultembed.errors"]
    codes = {code for row in table_below("json.md", "Error codes") for code in re.findall(r"`(\w+)`", row[0])}
    assert codes == {kind.code for kind in kinds}
    exits = {int(row[0]) for row in table_below("json.md", "Exit codes")}
    assert {kind.exit_code for kind in kinds} <= exits
    assert set(map(int, re.findall(r"(?<!\w)(\d+) [a-z]", EXIT_CODES))) == exits


def test_what_doctor_repairs_is_what_its_page_says() -> None:
    rows = table_below("doctor.md", "What it looks at, and what `--fix` does")
    told = {kind for row in rows if not row[-1].startswith("–") for kind in re.findall(r"`(\w+)`", row[0])}
    assert told == {kind for kinds, _ in _REPAIRS for kind in kinds}
