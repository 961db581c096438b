from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.models.model_file import ModelFile


def test_the_demo_finds_each_of_its_messages_first_and_by_meaning_alone(tmp_path: Path, model: ModelFile) -> None:
    kept = tmp_path / "demo.db"
    data = vaultembed_json("demo", "--keep", kept, archive=tmp_path / "unused.db")
    assert [search["rank"] for search in data["searches"]] == [1, 1, 1]
    assert not any(search["found_by_words"] for search in data["searches"])
    assert data["imported"]["counts"]["duplicate"] == 1
    coverage = data["built"]["generation"]["coverage"]
    assert coverage["missing"] == coverage["failed"] == 0
    assert not (tmp_path / "unused.db").exists()
    check_invariants(kept)
    again = vaultembed("demo", "--keep", kept)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.slow
def test_the_demo_explains_itself_and_ends_with_what_to_type(model: ModelFile) -> None:
    done = vaultembed("demo")
    assert done.returncode == 0, done.stderr
    assert "vaultembed import ~/Mail" in done.stdout
