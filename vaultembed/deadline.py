"""How long one call may take. It goes with the context that the call runs in, through all layers: a server sets
one for each call; a command has none, and ends with Ctrl-C.

What may take long asks for it: SQLite is interrupted, and who waits for a lock or a child process waits no longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from vaultembed.errors import TimedOutError

_SLICE_SECONDS: Final = 0.05
"""So often who waits looks whether anybody still waits for the answer: a lock and a pipe tell nothing of that."""


class Deadline:
    """Of one call. Begins when it is made. Safe to use from several threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._is_given_up = False
        self._lock = threading.Lock()
        self._interrupts: list[Callable[[], None]] = []

    @property
    def is_over(self) -> bool:
        """The time is, or nobody waits for the answer any more."""
        return self._is_given_up or time.monotonic() >= self._end

    @property
    def seconds_left(self) -> float:
        """By the clock alone; 0 when there are none."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """
        Raises:
            TimedOutError: it is over.
        """
        if self.is_over:
            raise self.error()

    def wait(self, happens: Callable[[float], object]) -> None:
        """Until it has happened: `happens` waits for it, so many seconds at the most, and says whether it has.

        Raises:
            TimedOutError: it is over, and it has not.
        """
        while not happens(min(_SLICE_SECONDS, self.seconds_left)):
            self.check()

    def error(self) -> TimedOutError:
        return TimedOutError(
            f"this took longer than {self._seconds:g} seconds, and was stopped",
            "Ask for less: narrow it down by date, sender, label or source. Or allow more: vaultembed mcp --time-limit",
        )

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._is_given_up = True

    def interrupt(self) -> None:
        """Interrupts what is at work now, and not what begins a moment later: to be called until all has ended."""
        with self._lock:
            for interrupt in self._interrupts:
                interrupt()

    @contextmanager
    def _interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._interrupts.append(interrupt)
        try:
            yield
        finally:
            with self._lock:
                self._interrupts.remove(interrupt)


_stop: Callable[[], bool] | None = None


@contextmanager
def heeding(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Inside, in all threads of this process, who waits for a lock gives up soon after `should_stop` says so: signals
    are for the process as a whole."""
    global _stop
    before, _stop = _stop, should_stop
    try:
        yield
    finally:
        _stop = before


def is_stopping() -> bool:
    return _stop is not None and _stop()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Inside, this is the deadline of what this thread does."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def current_deadline() -> Deadline | None:
    return _current.get()


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Inside, `interrupt` is called, from another thread, when the call is to stop."""
    deadline = _current.get()
    if deadline is None:
        yield
        return
    with deadline._interrupting(interrupt):
        yield


def check_deadline() -> None:
    """
    Raises:
        TimedOutError: this call is over.
    """
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


def at_most(seconds: float) -> float:
    """So many, or what is left of the call's time where that is less."""
    deadline = _current.get()
    return seconds if deadline is None else min(seconds, deadline.seconds_left)


@contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """The lock.

    Raises:
        TimedOutError: it did not become free before the call was over.
    """
    deadline = _current.get()
    if deadline is None:
        lock.acquire()
    else:
        deadline.wait(lambda seconds: lock.acquire(timeout=seconds))
    try:
        check_deadline()
        yield
    finally:
        lock.release()
