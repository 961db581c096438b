"""Archives as older versions left them: each opens, says what was done, is sound, and is found in; nothing is embedded
again."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import pytest

from tests.fixtures.make_archive import FOLDER, MESSAGES
from tests.kit.archives import check_invariants
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.archive.schema_files import read_migrations
from vaultembed.models.model_file import ModelFile

FIRST_KEPT: Final = 5
VERSIONS: Final = tuple(range(FIRST_KEPT, len(read_migrations()) + 1))


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path, model: ModelFile) -> tuple[int, Path]:
    archive = tmp_path / "archive.db"
    archive.write_bytes(gzip.decompress((FOLDER / f"v{request.param}.db.gz").read_bytes()))
    return request.param, archive


def test_every_version_left_an_archive() -> None:
    found = {int(path.name[1:].partition(".")[0]) for path in FOLDER.glob("v*.db.gz")}
    assert found == set(VERSIONS), "make it when the version is released: python -m tests.fixtures.make_archive"


def test_an_older_archive_is_brought_up_to_date_and_found_in(old: tuple[int, Path]) -> None:
    version, archive = old
    built = vaultembed("embeddings", "build", archive=archive)
    assert built.returncode == 0, built.stderr
    brought = f"from schema version {version} to {len(read_migrations())}"
    assert (brought in built.stderr) == (version < len(read_migrations()))
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


def test_an_older_archive_is_not_changed_by_a_command_that_reads(old: tuple[int, Path]) -> None:
    version, archive = old
    before = archive.read_bytes()
    done = vaultembed("search", "money", archive=archive)
    assert archive.read_bytes() == before
    if version < len(read_migrations()):
        assert done.returncode == 1
        assert "vaultembed migrate" in done.stderr
