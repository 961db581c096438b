"""A model on this machine: its facts, where it is, and what its bytes must be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vaultembed.errors import ModelError
from vaultembed.models.protocol import ModelFacts


@dataclass(frozen=True, slots=True)
class ModelFile:
    facts: ModelFacts
    path: Path
    """The .gguf."""
    sha256: str
    """Of the .gguf, hex."""
    way_out: str
    """What to do when the file turns out to be unusable."""
    languages: str = "unknown"


def file_sha256(path: Path) -> str:
    """Hex. 0.05 s for the default model."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(model: ModelFile) -> None:
    """Reads the whole file: weights that a disk or a hand has altered load without complaint, and give NaN or,
    worse, slightly wrong vectors.

    Raises:
        ModelError: the file is gone, or is not what it was.
    """
    try:
        found = file_sha256(model.path)
    except OSError as error:
        raise ModelError(f"The model file {model.path} cannot be read: {error.strerror}.", model.way_out) from error
    if found != model.sha256:
        raise ModelError(
            f"The model file {model.path} has been altered: its sha256 is {found[:16]}…, "
            f"it should be {model.sha256[:16]}….",
            model.way_out,
        )
