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
    if not typer.confirm(question, default=False, err=True):
        raise UsageError("nothing was changed", None)
