"""Where models live on this machine.

A converted file carries its own checksum in its name, so that one atomic rename makes it appear, whole and
checkable, or not at all: `all-minilm-l6-v2.c1f16.53aa5117.<sha256 of the .gguf>.gguf`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from vaultembed.errors import ModelError
from vaultembed.models.convert import CONVERTER
from vaultembed.models.model_file import file_sha256
from vaultembed.models.registry import RegistryModel
from vaultembed.paths import full_path

FOLDER_VARIABLE: Final = "VAULTEMBED_MODELS"


def models_folder() -> Path:
    """`VAULTEMBED_MODELS`, else the user's cache folder. Need not exist.

    Raises:
        UsageError: as `full_path`.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    return full_path(Path(chosen)) if chosen else platformdirs.user_cache_path("vaultembed") / "models"


def pull_command(model: RegistryModel) -> str:
    """The way out for whatever is wrong with a cached model."""
    return f"Fetch it: vaultembed models pull {model.name}"


def file_name(model: RegistryModel, sha256: str) -> str:
    return f"{model.name}.{CONVERTER}.{model.weights_sha256[:8]}.{sha256}.gguf"


def cached_file(model: RegistryModel) -> tuple[Path, str] | None:
    """The converted file and the sha256 it must have; None where the model has not been fetched."""
    pattern = file_name(model, "?" * 64)
    found = max(models_folder().glob(pattern), default=None)
    return (found, found.name.split(".")[-2]) if found is not None else None


def staging_folder(model: RegistryModel) -> Path:
    """For fetching and converting; what an interrupted fetch left there is gone on with."""
    return models_folder() / f".fetching-{model.name}"


@contextmanager
def fetch_lock(model: RegistryModel) -> Iterator[None]:
    """Held by the one process that fetches the model; the kernel lets go of it when that process dies.

    Raises:
        ModelError: the folder cannot be written to.
    """
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".lock-{model.name}").open("wb")
    except OSError as error:
        raise ModelError(
            f"The model cannot be kept in {folder}: {error.strerror}.",
            f"Name a folder you can write to in {FOLDER_VARIABLE}.",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remembered_sha256(path: Path) -> str:
    """sha256 of a file given by path. Read whole once; while its size, time and inode stay, the answer is remembered.

    A model of a gigabyte would cost a second at every query otherwise.
    """
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    note = models_folder() / "checksums.json"
    try:
        known = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and isinstance(known.get(key), str):
        return str(known[key])
    sha256 = file_sha256(path)
    with contextlib.suppress(OSError):  # remembering is a convenience
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({**_still_true(known), key: sha256}), "utf-8")
        draft.replace(note)
    return sha256


def _still_true(known: object) -> dict[str, str]:
    return {k: v for k, v in known.items() if isinstance(v, str)} if isinstance(known, dict) else {}
