"""How much of a heavy test runs: VAULTEMBED_TEST_SCALE, a number, 1 by default."""

from __future__ import annotations

import os


def scaled(number: int) -> int:
    return max(1, round(number * float(os.environ.get("VAULTEMBED_TEST_SCALE", "1"))))
