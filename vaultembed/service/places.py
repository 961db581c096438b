"""Paths as people write them. The archive's: `--archive`, else `VAULTEMBED_ARCHIVE`, else in the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from vaultembed.paths import full_path


def archive_path(given: Path | None = None) -> Path:
    """Raises: as `full_path`."""
    from_environment = os.environ.get("VAULTEMBED_ARCHIVE")
    named = given if given is not None else Path(from_environment) if from_environment else None
    return platformdirs.user_data_path("vaultembed") / "archive.db" if named is None else full_path(named)
