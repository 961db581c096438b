"""The one seam through which tests stop or hold a real process at a named moment.

`VAULTEMBED_FAILPOINT=NAME[:N]` kills the process with SIGKILL when it reaches failpoint NAME for the N-th time (default
1). Unset, as it is for every user, a failpoint costs one look-up in a dict.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

VARIABLE: Final = "VAULTEMBED_FAILPOINT"
_reached: Final[Counter[str]] = Counter()


def failpoint(name: str) -> None:
    """Die here, without any cleaning up, if the environment asks for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    target, _, count = wanted.partition(":")
    if target != name:
        return
    _reached[name] += 1
    if _reached[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
