"""Fetching and converting a model, so that a whole and working file appears in the cache, or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vaultembed.errors import ModelError, StorageError
from vaultembed.models.cache import (
    cached_file,
    fetch_lock,
    file_name,
    models_folder,
    pull_command,
    staging_folder,
)
from vaultembed.models.convert import CONVERTER, convert
from vaultembed.models.fetch import PullProgress, Report, fetch
from vaultembed.models.host import ChildEmbedder
from vaultembed.models.inspection import inspect_file
from vaultembed.models.model_file import ModelFile, file_sha256
from vaultembed.models.registry import RegistryModel

if TYPE_CHECKING:
    from vaultembed.models.protocol import Vectors

_SAME_SIGNS: Final = 0.97
"""Share of a probe's signs that must agree: another machine's arithmetic flips a few that are close to zero."""


def pull(model: RegistryModel, report: Report) -> Path:
    """The path of the model's .gguf, fetched and converted unless it is here and whole.

    Safe to interrupt at any point. Two processes may pull at once: the second waits, and finds it done.

    Raises:
        ModelError: no source is in reach or has the right bytes, or the result does not work.
        StorageError: the disk is full, or fails.
    """
    with fetch_lock(model):
        found = cached_file(model)
        if found is not None:
            path, sha256 = found
            if file_sha256(path) == sha256:
                return path
            path.unlink()
        try:
            return _fetch_and_convert(model, staging_folder(model), report)
        except OSError as error:
            raise StorageError(
                f"The model {model.title} could not be written to {models_folder()}: {error.strerror or error}.",
                f"See that there are 300 MB free, then: vaultembed models pull {model.name}",
            ) from error


def vector_signs(vectors: Vectors) -> str:
    """The signs of the first vector, as `RegistryModel.probe_signs` holds them."""
    import numpy as np

    return np.packbits(vectors[0] > 0).tobytes().hex()


def _fetch_and_convert(model: RegistryModel, staging: Path, report: Report) -> Path:
    staging.mkdir(exist_ok=True)
    source = fetch(model, staging, report)
    report(PullProgress(f"converting {model.title}", 0, 0))
    draft = staging / "converted.gguf"
    convert(source, draft, model)
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    sha256 = file_sha256(draft)
    report(PullProgress(f"checking {model.title}", 0, 0))
    inspect_file(draft)
    check_probe(model, ModelFile(model.facts(CONVERTER), draft, sha256, pull_command(model)))
    target = models_folder() / file_name(model, sha256)
    draft.replace(target)
    shutil.rmtree(staging)
    return target


def check_probe(model: RegistryModel, file: ModelFile) -> None:
    """Embeds a known text, in a child: the first time that llama.cpp sees this file."""
    embedder = ChildEmbedder(file)
    try:
        signs = vector_signs(embedder.embed([model.probe]).vectors)
    finally:
        embedder.close()
    differing = (int(signs, 16) ^ int(model.probe_signs, 16)).bit_count()
    if differing > (1 - _SAME_SIGNS) * model.dimension:
        raise ModelError(
            f"{model.title} gives other vectors than it should "
            f"({differing} of {model.dimension} signs differ for a known text).",
            "If it was fetched just now, this is a fault of vaultembed or of its gguf or llama-cpp-python package:"
            " please report it. A file from elsewhere is another model.",
        )
