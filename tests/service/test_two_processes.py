"""Two processes on one archive are normal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.mail import many, mbox
from tests.kit.processes import start, vaultembed_json
from vaultembed.models.model_file import ModelFile


def test_two_imports_of_the_same_mail_make_each_message_once(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    box = mbox(tmp_path / "box", many(1500))
    both = [start("import", box, archive=archive) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert vaultembed_json("stats", archive=archive)["totals"]["messages"] == 1500
    check_invariants(archive)


@pytest.mark.slow
def test_mail_imported_during_a_build_is_embedded_by_it_or_the_next(tmp_path: Path, model: ModelFile) -> None:
    archive = tmp_path / "a.db"
    vaultembed_json("import", mbox(tmp_path / "box", many(300)), archive=archive)
    build = start("embeddings", "build", archive=archive)
    vaultembed_json("import", mbox(tmp_path / "more", many(50, start=300)), archive=archive)
    _, errors = build.communicate(timeout=120)
    assert build.returncode in (0, 3), errors
    vaultembed_json("embeddings", "build", archive=archive)
    coverage = vaultembed_json("embeddings", archive=archive)["generations"][0]["coverage"]
    assert coverage == {
        "live": 350,
        "embedded": 350,
        "blank": 0,
        "failed": 0,
        "missing": 0,
        "in_part": 0,
        "outside_scope": 0,
    }
    check_invariants(archive)


def test_two_builds_at_once_write_each_message_once(tmp_path: Path, model: ModelFile) -> None:
    archive = tmp_path / "a.db"
    vaultembed_json("import", mbox(tmp_path / "box", many(100)), archive=archive)
    both = [start("embeddings", "build", archive=archive) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    data = vaultembed_json("embeddings", archive=archive)
    assert [generation["state"] for generation in data["generations"]] == ["active"]
    check_invariants(archive)


@pytest.mark.slow
def test_an_archive_may_be_opened_by_many_while_it_is_being_created(tmp_path: Path) -> None:
    box = mbox(tmp_path / "box", many(1))
    for attempt in range(4):
        archive = tmp_path / f"{attempt}.db"
        crowd = [start("import", box, archive=archive) for _ in range(5)]
        for process in crowd:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
