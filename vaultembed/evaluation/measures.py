"""How well a ranking answers a query, as trec_eval counts it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Final

from vaultembed.archive.evaluations import MEASURES, Measures

DEPTH: Final = 100
"""Results that are looked at."""


def measure(
    ranked: Sequence[str], grades: Mapping[str, int], conversations: Sequence[Hashable], wanted: Set[Hashable]
) -> Measures:
    """`ranked`: documents, the best first, in the order in which they are shown, equal scores or not. One that is not
    judged answers nothing, and keeps its rank. `conversations`: those of the results; `wanted`: those in which the
    query is answered."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    first = next((rank for rank, document in enumerate(ranked[:10], 1) if document in relevant), None)
    return Measures(
        recall_1=_share(ranked[:1], relevant),
        recall_3=_share(ranked[:3], relevant),
        recall_5=_share(ranked[:5], relevant),
        recall_10=_share(ranked[:10], relevant),
        recall_100=_share(ranked[:100], relevant),
        mrr_10=1 / first if first else 0.0,
        ndcg_10=_ndcg(ranked[:10], grades),
        conversation_recall_5=_share(conversations[:5], wanted),
    )


def _share(found: Sequence[Hashable], wanted: Set[Hashable]) -> float:
    return len(wanted & set(found)) / len(wanted) if wanted else 0.0


def _ndcg(ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:10]
    gains = [max(grades.get(document, 0), 0) for document in ranked]
    return _discounted(gains) / _discounted(ideal) if ideal else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def mean(measures: Sequence[Measures]) -> Measures:
    return Measures(*(sum(getattr(one, name) for one in measures) / len(measures) for name in MEASURES))
