"""Asks before what cannot be undone."""

from __future__ import annotations

import sys

import typer

from vaultembed.errors import UsageError


def confirmed(question: str, yes: bool) -> None:
    """Return if the person agrees, or said --yes beforehand.

    Raises:
        UsageError: they do not, or there is nobody to ask.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"nobody is there to answer: {question}", "To agree beforehand: --yes")
    try:
        agrees = typer.confirm(question, default=False, err=True)
    except typer.Abort:  # Ctrl-C, or the end of input
        typer.echo("\nNothing was changed.", err=True)
        raise typer.Exit(130) from None
    if not agrees:
        raise UsageError("nothing was changed", None)
