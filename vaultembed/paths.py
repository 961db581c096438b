"""Paths as people write them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

from vaultembed.errors import UsageError


def full_path(path: Path) -> Path:
    """With the home of whoever "~" or "~name" stands for.

    Raises:
        UsageError: that has no home here, or it is a URL, or longer than a name can be.
    """
    begin = path.parts[0] if path.parts else ""
    if len(begin) > 2 and begin.endswith(":") and len(path.parts) > 1 and not Path(begin).exists():
        # else it would be a folder of that name; and a URL may hold a password, so it is not repeated
        raise UsageError(f"{begin}//… is a URL, and a path is asked for", "Name a file on this machine.")
    try:
        path = path.expanduser()
        os.lstat(path)
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no home {path.parts[0]}", "Write the path in full.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{path} cannot be the name of a file: {error.strerror}") from error
    return path


def archive_path(given: Path | None = None) -> Path:
    """Raises: as `full_path`."""
    from_environment = os.environ.get("VAULTEMBED_ARCHIVE")
    named = given if given is not None else Path(from_environment) if from_environment else None
    return platformdirs.user_data_path("vaultembed") / "archive.db" if named is None else full_path(named)
