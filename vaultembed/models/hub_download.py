"""Downloads files of a hub repository into a folder; what an earlier run left unfinished there is resumed.

A process of its own (`vaultembed.models.fetch` starts it): huggingface_hub takes its settings from the environment
when it is imported, and a download that hangs can then be ended.
"""

from __future__ import annotations

import sys
from typing import Final

_UNREACHABLE: Final = 5.0
"""Seconds until the hub counts as out of reach. Its own client tries five times over 20 seconds."""


def main() -> None:
    """Arguments: repository, revision, folder, file names."""
    repository, revision, folder, *files = sys.argv[1:]
    from huggingface_hub import constants, get_session, hf_hub_download

    try:
        get_session().head(constants.ENDPOINT, timeout=_UNREACHABLE)
    except Exception as error:
        sys.exit(f"could not be reached ({_line(error)})")
    try:
        for file in files:
            hf_hub_download(repository, file, revision=revision, local_dir=folder)
    except Exception as error:  # whatever it is, the next source is tried; the line says why
        sys.exit(_line(error))


def _line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
