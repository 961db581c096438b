"""Whether one run is better than another, or only luckier in its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SAMPLES: Final = 10_000
_SEED: Final = 20_091_231  # any: the same runs give the same interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a measure, second run less first, over the queries that both answered."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    """Within these the difference lies in 95 % of the samples; significant where 0 does not."""
    better: int
    worse: int

    @property
    def is_significant(self) -> bool:
        return self.low > 0 or self.high < 0


def compare(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Paired bootstrap: queries are drawn again and again, each with both of its values."""
    import numpy as np  # which the other commands do without

    one, other = np.asarray(first), np.asarray(second)
    apart = other - one
    random = np.random.default_rng(_SEED)
    means = [apart[random.integers(0, len(apart), len(apart))].mean() for _ in range(SAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return Difference(
        first=float(one.mean()),
        second=float(other.mean()),
        difference=float(apart.mean()),
        low=float(low),
        high=float(high),
        better=int((apart > 0).sum()),
        worse=int((apart < 0).sum()),
    )
