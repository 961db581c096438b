"""Options that many commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Optional

import typer

ArchiveOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads it at run time)
    typer.Option(
        "--archive", "-a", help="The archive file. Default: $VAULTEMBED_ARCHIVE, else the user's data folder."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", "-m", help="Name of a known model, or path of a .gguf. Default: that of the archive."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LARGEST: Final = 2**63 - 1  # of SQLite
OptionalText = Optional[str]  # noqa: UP045


def above(context: typer.Context, name: str) -> Any:
    """What was given for an option before the subcommand: `embeddings --json list`."""
    return context.parent.params.get(name) if context.parent else None
