from __future__ import annotations

from pathlib import Path

import pytest

from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import pull_model, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL


@pytest.fixture(scope="session")
def model() -> ModelFile:
    """The real default model: from the cache, where the README's first command put it; else fetched now."""
    try:
        return resolve_model(DEFAULT_MODEL)
    except ModelError:
        return pull_model(DEFAULT_MODEL)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real mail beside the checkout; it is not part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"there is no real mail at {folder}")
    return folder
