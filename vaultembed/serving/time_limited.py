"""Calls, worked on in threads: so many at a time, and each for so long and no longer, whatever it asks for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from vaultembed.deadline import Deadline, within

R = TypeVar("R")

CALL_SECONDS: Final = 50.0
"""Many clients stop waiting after 60, and then cannot tell their user why."""
_AGAIN_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 1.0
"""So long a call that was stopped may take to say so itself, or to give what it has found so far."""


class Calls:
    """Of one kind: those of another do not wait for these."""

    def __init__(self, at_once: int, seconds: float = CALL_SECONDS) -> None:
        """`seconds`: of a call, the time that it waits for others included."""
        self._seconds = seconds
        self._free = anyio.CapacityLimiter(at_once)
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def run(self, function: Callable[[], R]) -> R:
        """What `function` returns or raises. When its time is over, or nobody waits for it any more, it is interrupted.
        Whoever asked does not wait for it any longer, but until it has ended its place among those at work stays taken:
        so there are never more threads than are worked in at once.

        Raises:
            TimedOutError: the time was over.
        """
        deadline = Deadline(self._seconds)
        work = asyncio.create_task(self._work(function, deadline))
        work.add_done_callback(_forget)
        try:
            await asyncio.wait({work}, timeout=deadline.seconds_left)  # does not cancel it, which would stop no thread
            await _interrupt(work, deadline, _GRACE_SECONDS)
            if not work.done():
                raise deadline.error()
            return work.result()
        finally:
            if not work.done():
                deadline.give_up()
                deadline.interrupt()  # at the end of the server nothing begun here comes to run
                ending = asyncio.create_task(_interrupt(work, deadline, math.inf))
                self._unfinished.add(ending)
                ending.add_done_callback(self._unfinished.discard)

    async def _work(self, function: Callable[[], R], deadline: Deadline) -> R:
        def call() -> R:
            with within(deadline):
                return function()

        async with self._free:
            deadline.check()
            return await anyio.to_thread.run_sync(call)


async def _interrupt(work: asyncio.Task[Any], deadline: Deadline, seconds: float) -> None:
    """Until it has ended, for so long at the most."""
    end = time.monotonic() + seconds
    while not work.done() and time.monotonic() < end:
        deadline.interrupt()
        await asyncio.wait({work}, timeout=_AGAIN_SECONDS)


def _forget(work: asyncio.Task[Any]) -> None:
    """What a call has raised that was given up, maybe in the moment in which it ended, there is nobody to tell. asyncio
    would write it to the log."""
    if not work.cancelled():
        work.exception()
