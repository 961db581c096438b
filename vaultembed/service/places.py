"""Where the archive is: `--archive`, else `VAULTEMBED_ARCHIVE`, else the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def archive_path(given: Path | None = None) -> Path:
    if given is not None:
        return given.expanduser()
    from_environment = os.environ.get("VAULTEMBED_ARCHIVE")
    if from_environment:
        return Path(from_environment).expanduser()
    return platformdirs.user_data_path("vaultembed") / "archive.db"
