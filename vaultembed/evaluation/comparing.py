"""Whether one run is better than another, or only luckier in its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SAMPLES: Final = 10_000
_AT_ONCE: Final = 500
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


def compare(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> list[Difference]:
    """Of each measure. A row is one query, a column one measure. Paired bootstrap: queries are drawn again and again,
    each with both of its rows."""
    import numpy as np  # which the other commands do without

    one, apart = np.asarray(first), np.asarray(second) - np.asarray(first)
    count = len(apart)
    random = np.random.default_rng(_SEED)
    # how often each query is drawn, some samples at a time: all at once, a large set would take gigabytes
    drawn = (random.multinomial(count, [1 / count] * count, size=_AT_ONCE) for _ in range(SAMPLES // _AT_ONCE))
    means = np.concatenate([times @ apart for times in drawn]) / count
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return [
        Difference(
            first=float(one[:, column].mean()),
            second=float((one + apart)[:, column].mean()),
            difference=float(apart[:, column].mean()),
            low=float(low[column]),
            high=float(high[column]),
            better=int((apart[:, column] > 0).sum()),
            worse=int((apart[:, column] < 0).sum()),
        )
        for column in range(apart.shape[1])
    ]
