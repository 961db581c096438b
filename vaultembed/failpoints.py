"""The one seam through which tests stop, hold or interrupt the real thing at a named moment.

`VAULTEMBED_FAILPOINT=NAME[:N]` kills the process with SIGKILL when it reaches failpoint NAME for the N-th time (default
1). A test in the same process gives `action_at` what is to happen there. Unset, as it is for every user, a failpoint
costs two look-ups in a dict.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

VARIABLE: Final = "VAULTEMBED_FAILPOINT"
_reached: Final[Counter[str]] = Counter()
_actions: Final[dict[str, Callable[[], None]]] = {}


def failpoint(name: str) -> None:
    """Die here, without any cleaning up, if the environment asks for it; or do what a test wants done here."""
    action = _actions.get(name)
    if action is not None:
        action()
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    target, _, count = wanted.partition(":")
    if target != name:
        return
    _reached[name] += 1
    if _reached[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def action_at(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Inside, `action` runs at every failpoint of that name, in the thread that comes there."""
    _actions[name] = action
    try:
        yield
    finally:
        del _actions[name]
