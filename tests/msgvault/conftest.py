from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.kit.msgvault import Embed, Pair, Shape
from tests.msgvault.cast import write_cast
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_process
from vaultembed.msgvault import comparing


@pytest.fixture(scope="session")
def embed(model: ModelFile) -> Embed:
    """The default model; each text once."""
    embedder = open_in_process(model)
    known: dict[str, np.ndarray] = {}

    def call(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embedder.embed(new).vectors, strict=True))
        return np.stack([known[text] for text in texts])

    return call


@pytest.fixture(scope="session")
def cast_of(tmp_path_factory: pytest.TempPathFactory, embed: Embed) -> Callable[..., Pair]:
    """The cast in a shape; the same files for every test, which must not write to them."""
    made: dict[tuple[object, ...], Pair] = {}

    def call(shape: Shape, **more: object) -> Pair:
        key = (shape, *sorted(more.items()))
        if key not in made:
            made[key] = write_cast(tmp_path_factory.mktemp("msgvault") / "data", shape, embed, **more)
        return made[key]

    return call


@pytest.fixture
def few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a model is msgvault's is told by a few texts, where that is not what is tested (test_models.py)."""
    monkeypatch.setattr(comparing, "SAMPLE", 8)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"
