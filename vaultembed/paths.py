"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

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
