"""Progress on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from vaultembed.cli.wording import columns, duration, say

if TYPE_CHECKING:
    from rich.status import Status

_LINE_EVERY: Final = 10.0
_SHARE: Final = len("  100% ")


class Progress:
    """Shows how far a long command is. `total` may be unknown at first."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()
        self._bar = None
        self._width = 24 if (columns(err=True) or 0) > 100 else 8
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=self._width),
                TaskProgressColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(what, total=None, detail="")
            self._bar.start()

    def update(self, done: float, total: float | None, seconds: float, detail: str, of: str = "") -> None:
        """`done` of `total`, in whatever unit; `detail` is shown as it is, and the name of what it is if it fits."""
        left = ""
        if total and done and seconds > 1:
            left = f", {duration(max(total - done, 0) * seconds / done)} left"
        if self._bar is not None:
            told = f"{detail}{left}"
            if of and len(f"{self._what} {told}: {of}") + self._width + _SHARE <= (columns(err=True) or 0):
                told += f": {of}"
            self._bar.update(self._task, completed=done, total=total, detail=told)
        elif time.monotonic() - self._last >= _LINE_EVERY:
            self._last = time.monotonic()
            share = f" {done / total:.0%}" if total else ""
            say(f"{self._what}{share}: {detail}{left}{f': {of}' if of else ''}", err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class StepDisplay:
    """A line that says what is being done, on a terminal alone, and goes when that is done."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def show(self, what: str) -> None:
        self.close()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.status import Status

            self._status = Status(f"{what} …", console=Console(stderr=True))
            self._status.start()

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
