"""Archives as older versions left them: each opens, says what was done, is sound, and is found in; nothing is embedded
again. Those of before the first release are refused."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from tests.fixtures.make_archive import FOLDER, MESSAGES, make_archive
from tests.kit.archives import check_invariants
from tests.kit.assistant import RefusedError, assistant
from tests.kit.later import upgrade
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.archive.schema_files import FIRST_VERSION, latest_version
from vaultembed.cli.app import app
from vaultembed.models.model_file import ModelFile

DEVELOPMENT = FOLDER / "v6.db.gz"
KEPT = {int(path.name[1:].partition(".")[0]): path for path in FOLDER.glob("v*.db.gz") if path != DEVELOPMENT}


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    return make_archive(tmp_path_factory.mktemp("present"))


@pytest.fixture(params=sorted({*KEPT, latest_version()}))
def old(
    request: pytest.FixtureRequest, tmp_path: Path, present: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int, Path]:
    """An archive of each version there was, the version that it has, and the one of the vaultembed that meets it."""
    archive = tmp_path / "archive.db"
    if request.param in KEPT:
        archive.write_bytes(gzip.decompress(KEPT[request.param].read_bytes()))
    else:
        shutil.copy(present, archive)
    return request.param, upgrade(tmp_path, monkeypatch), archive


def test_an_older_archive_is_brought_up_to_date_and_found_in(old: tuple[int, int, Path]) -> None:
    version, latest, archive = old
    built = vaultembed("embeddings", "build", archive=archive)
    assert built.returncode == 0, built.stderr
    assert f"from schema version {version} to {latest}." in built.stderr
    assert "every message is covered" in built.stdout
    check_invariants(archive)
    assert vaultembed_json("doctor", archive=archive)["healthy"]
    stats = vaultembed_json("embeddings", archive=archive)["generations"][0]["coverage"]
    assert (stats["live"], stats["missing"]) == (MESSAGES - 1, 0)
    by_meaning = vaultembed_json("search", "--mode", "vector", "money for the trip", archive=archive)["results"]
    assert len(by_meaning) == 10
    word = by_meaning[0]["subject"].split()[-1].strip("?!.")
    by_words = vaultembed_json("search", "--mode", "text", word, archive=archive)["results"]
    assert ids_of(by_words) & ids_of(by_meaning)
    again = vaultembed("embeddings", "build", archive=archive)
    assert "schema version" not in again.stderr


def ids_of(results: list[dict[str, object]]) -> set[object]:
    return {result["id"] for result in results}


def test_an_older_archive_is_not_changed_by_a_command_that_reads(old: tuple[int, int, Path]) -> None:
    _, _, archive = old
    before = archive.read_bytes()
    done = vaultembed("search", "money", archive=archive)
    assert archive.read_bytes() == before
    assert done.returncode == 1
    assert "vaultembed migrate" in done.stderr


ARGUMENTS = {
    "import": ["{mail}"],
    "search": ["money"],
    "show": ["1"],
    "delete": ["1", "--yes"],
    "undelete": ["1"],
    "backup": ["{folder}/backup.db"],
    "eval run": ["{mail}"],
    "embeddings activate": ["1"],
    "embeddings retire": ["1"],
    "embeddings discard": ["--yes"],
    "embeddings prune": ["--yes"],
}
ELSEWHERE = {
    "restore": "takes no archive but the one that it moves aside",
    **dict.fromkeys(
        ("eval list", "eval show", "eval compare"), "read the file beside the archive, and not the archive"
    ),
    "mcp": "answers each call with what search, show and stats say",
}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All that take an archive, whatever group they stand in."""
    if any(parameter.name == "archive" for parameter in command.params):
        yield " ".join(path), command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


@pytest.mark.slow
def test_every_command_that_only_reads_names_the_one_that_brings_an_older_archive_up_to_date(
    tmp_path: Path, present: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may write migrates by itself; nothing else changes the file, or says something else."""
    folder = tmp_path / "my mail's"
    folder.mkdir()
    archive = folder / "archive.db"
    (tmp_path / "mail.eml").write_bytes(b"Subject: hello\n\nhello\n")
    upgrade(tmp_path, monkeypatch)
    before = present.read_bytes()
    refused = set()
    for name, _ in commands(typer.main.get_command(app)):
        if name in ELSEWHERE or name == "migrate":
            continue
        shutil.copy(present, archive)
        arguments = [one.format(mail=tmp_path / "mail.eml", folder=tmp_path) for one in ARGUMENTS.get(name, [])]
        done = CliRunner().invoke(app, [*name.split(), *arguments, "--json", "--archive", str(archive)])
        if archive.read_bytes() == before and name != "backup":
            error = json.loads(done.stdout)["error"]
            assert (done.exit_code, error["code"]) == (1, "archive_outdated"), (name, done.output)
            _, command = error["hint"].split(": ")
            refused.add(name)
    assert {"search", "show", "stats", "problems", "embeddings", "embeddings runs", "embeddings verify"} <= refused
    assert shlex.split(command) == ["vaultembed", "migrate", "--archive", str(archive)]
    shutil.copy(present, archive)
    with assistant(archive) as helper:
        for tool, given in TOOLS.items():
            with pytest.raises(RefusedError) as told:
                helper.call(tool, **given)
            assert told.value.code == "archive_outdated", tool
            assert command in str(told.value.hint), tool
        assert CliRunner().invoke(app, [*shlex.split(command)[1:], "--yes"]).exit_code == 0
        assert helper.call("get_stats")["totals"]["messages"] == MESSAGES - 1


TOOLS: dict[str, dict[str, object]] = {
    "search_messages": {"query": "money"},
    "find_similar_messages": {"message_id": 1},
    "get_message": {"message_id": 1},
    "get_thread": {"thread_id": 1},
    "list_messages": {},
    "aggregate": {"by": "type"},
    "get_stats": {},
}


def test_every_command_refuses_an_archive_of_before_the_first_release(tmp_path: Path) -> None:
    archive = tmp_path / "archive.db"
    archive.write_bytes(gzip.decompress(DEVELOPMENT.read_bytes()))
    before = archive.read_bytes()
    (tmp_path / "mail.eml").write_bytes(b"Subject: hello\n\nhello\n")
    found = {name for name, _ in commands(typer.main.get_command(app))}
    assert {"import", "migrate", "doctor", "embeddings", "embeddings build"} <= found
    for name in sorted(found - set(ELSEWHERE)):
        arguments = [one.format(mail=tmp_path / "mail.eml", folder=tmp_path) for one in ARGUMENTS.get(name, [])]
        done = CliRunner().invoke(app, [*name.split(), *arguments], env={"VAULTEMBED_ARCHIVE": str(archive)})
        assert done.exit_code == 1, (name, done.output)
        assert "schema version 6: a development version" in done.stderr, name
        assert "vaultembed import PATH --archive NEW" in done.stderr, name
    assert CliRunner().invoke(app, ["restore", str(archive), "--check"]).exit_code == 1
    assert archive.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"archive.db", "mail.eml"}


def test_the_kept_archives_are_of_released_versions() -> None:
    assert all(FIRST_VERSION <= version <= latest_version() for version in KEPT)
