"""Options that many commands have, and what their values must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

LARGEST: Final = 2**63 - 1  # of SQLite


def whole(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """What reads a whole number, and says in words which it may be: Typer's own says "x>=0" and "int range"."""
    upto = f" from {least:,} to {most:,}" if most < LARGEST else f", {least:,} or more"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number > LARGEST:
            raise typer.BadParameter(f"{text} is too large")
        if not least <= number <= most:
            raise typer.BadParameter(f"give a whole number{upto}, not {text}")
        return number

    return read


def decimal(least: float, most: float = float("inf")) -> Callable[[str], float]:
    """The same for any number."""
    upto = f" from {least:,} to {most:,}" if most < float("inf") else f", {least:,} or more"

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:  # nan is neither
            raise typer.BadParameter(f"give a number{upto}, not {text}")
        return number

    return read


def model_names() -> list[str]:
    """For the shell to complete."""
    from vaultembed.service.models import known_names

    return known_names()


OptionalText = str | None
OptionalNumber = int | None
OptionalPath = Path | None
OptionalPaths = list[Path] | None
Numbers = list[int] | None
Texts = list[str] | None

ArchiveOption = Annotated[
    OptionalPath,
    typer.Option(
        "--archive",
        "-a",
        metavar="FILE",
        help="The archive file. Default: $VAULTEMBED_ARCHIVE, else the user's data folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def above(context: typer.Context, name: str) -> Any:
    """What was given for an option before the subcommand: `embeddings --json list`."""
    return context.parent.params.get(name) if context.parent else None
