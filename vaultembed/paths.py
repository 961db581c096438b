"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from vaultembed.errors import UsageError


def full_path(path: Path) -> Path:
    """With the home of whoever "~" or "~name" stands for.

    Raises:
        UsageError: that has no home here.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no home {path.parts[0]}", "Write the path in full.") from error


def archive_path(given: Path | None = None) -> Path:
    """Raises: as `full_path`."""
    from_environment = os.environ.get("VAULTEMBED_ARCHIVE")
    named = given if given is not None else Path(from_environment) if from_environment else None
    return platformdirs.user_data_path("vaultembed") / "archive.db" if named is None else full_path(named)
