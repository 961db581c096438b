from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.kit.archives import new_archive
from vaultembed.archive.database import Archive
from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import pull_model, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL

# a run in the background has it ignored, and so would all that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)

# the tests start hundreds of processes, and each would compile the package anew; pytest too keeps what it has compiled
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_MEMORY = Path("/dev/shm")  # noqa: S108 (each test's folder in it is its own)
_ROOM = 4 << 30

if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
    # Every commit waits for the disk, here two thirds of all the time; and nothing here is about a power cut.
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# what is right is right on a busy machine too
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Empty, and open for writing."""
    with new_archive(tmp_path / "a.db") as opened:
        opened.load_vec()
        yield opened
