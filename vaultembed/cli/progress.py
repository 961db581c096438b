"""Progress on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Final

import typer

from vaultembed.cli.wording import duration

_LINE_EVERY: Final = 10.0


class Progress:
    """Shows how far a long command is. `total` may be unknown at first."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[detail]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(what, total=None, detail="")
            self._bar.start()

    def update(self, done: float, total: float | None, seconds: float, detail: str) -> None:
        """`done` of `total`, in whatever unit; `detail` is shown as it is."""
        left = ""
        if total and done and seconds > 1:
            left = f", {duration(max(total - done, 0) * seconds / done)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, detail=detail + left)
        elif time.monotonic() - self._last >= _LINE_EVERY:
            self._last = time.monotonic()
            share = f" {done / total:.0%}" if total else ""
            typer.echo(f"{self._what}{share}: {detail}{left}", err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
