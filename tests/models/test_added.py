"""Model files that a person adds under a name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vaultembed.errors import ModelError, UsageError
from vaultembed.models.convert import CONVERTER, convert
from vaultembed.models.model_file import ModelFile, file_sha256
from vaultembed.models.open import open_in_process, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL
from vaultembed.service.models import add_model, list_models

from . import tiny


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAULTEMBED_MODELS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model of nobody's registry."""
    entry = tiny.write_source(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "Tiny.gguf", entry)
    return tmp_path / "Tiny.gguf"


def test_an_added_model_is_used_by_its_name_and_its_own_file_can_go(cache: Path, file: Path) -> None:
    added = add_model(file, "Boats").data
    file.unlink()
    resolved = resolve_model("boats", query_prefix="query: ")
    assert resolved.path == added.path
    assert resolved.sha256 == file_sha256(added.path)
    assert resolved.facts.query_prefix == "query: "
    embedder = open_in_process(resolved)
    assert embedder.embed(["boat"]).vectors.shape == (1, 32)
    embedder.close()
    assert resolve_model(str(added.path)).facts.space == resolve_model("boats").facts.space


def test_an_added_model_is_listed_until_its_file_is_cut_off(cache: Path, file: Path) -> None:
    path = add_model(file, "boats").data.path
    (listed,) = (model for model in list_models().data.models if model.name == "boats")
    assert (listed.here, listed.problem, listed.dimension) == (True, None, 32)
    with path.open("rb+") as opened:
        opened.truncate(path.stat().st_size - 1000)
    (listed,) = (model for model in list_models().data.models if model.name == "boats")
    assert not listed.here
    assert "is cut off" in str(listed.problem)


def test_what_is_no_whole_model_is_refused_and_nothing_is_kept(cache: Path, file: Path) -> None:
    with file.open("rb+") as opened:
        opened.truncate(file.stat().st_size - 1000)
    with pytest.raises(ModelError, match="is cut off"):
        add_model(file)
    assert not list(cache.rglob("*.gguf"))


def test_a_name_is_one_model_and_can_be_typed(cache: Path, file: Path, model: ModelFile) -> None:
    add_model(file, "boats")
    add_model(file, "boats")
    with pytest.raises(UsageError, match="another model is named boats already"):
        add_model(model.path, "boats")
    for name in ("my boats", "../boats", ""):
        with pytest.raises(UsageError, match="cannot be a name"):
            add_model(file, name or " ")


def test_a_known_model_from_another_machine_takes_its_place_if_it_is_that_model(
    cache: Path, file: Path, model: ModelFile
) -> None:
    add_model(model.path)
    assert resolve_model(DEFAULT_MODEL).sha256 == model.sha256
    false = file.with_name(f"{DEFAULT_MODEL}.{CONVERTER}.{model.sha256}.gguf")
    shutil.copy(file, false)
    with pytest.raises(ModelError, match="as 32 dimensions"):
        add_model(false)
