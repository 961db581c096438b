"""Where the archive is: `--archive`, else `VAULTEMBED_ARCHIVE`, else the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from vaultembed.errors import UsageError


def archive_path(given: Path | None = None) -> Path:
    """
    Raises:
        UsageError: it begins with "~" and the name of somebody who has no home here.
    """
    from_environment = os.environ.get("VAULTEMBED_ARCHIVE")
    named = given if given is not None else Path(from_environment) if from_environment else None
    if named is not None:
        try:
            return named.expanduser()
        except RuntimeError as error:
            raise UsageError(f"there is no folder {named.parts[0]}", "Write the path in full.") from error
    return platformdirs.user_data_path("vaultembed") / "archive.db"
