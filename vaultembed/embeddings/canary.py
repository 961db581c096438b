"""A fixed text whose vector tells whether a model still gives the vectors that a generation was made with.

Weights can be the same and vectors not: another llama.cpp, another GPU driver, a broken memory module.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vaultembed.archive.vectors import to_rows
from vaultembed.embeddings.resilient import PROBE
from vaultembed.errors import ModelError
from vaultembed.models.protocol import Embedder

LEAST_COSINE: Final = 0.999
"""CPU and GPU, and float16 here and there, differ by less than 0.0001."""


def make_canary(embedder: Embedder) -> bytes:
    """float16, as vectors are stored. The model must have passed `check_model`."""
    return to_rows(embedder.embed([PROBE]).vectors)[0]


def check_canary(embedder: Embedder, canary: bytes, generation_id: int) -> float:
    """The cosine between what the model gives now and what it gave when the generation began.

    Raises:
        ModelError: they differ: its vectors and those of the generation cannot be compared.
    """
    then = np.frombuffer(canary, "<f2").astype(np.float32)
    now = embedder.embed([PROBE]).vectors[0]
    cosine = float(now @ then / max(float(np.linalg.norm(then)), 1e-9)) if now.shape == then.shape else 0.0
    if not cosine >= LEAST_COSINE:
        raise ModelError(
            f"the model {embedder.facts.name} gives other vectors now than when generation {generation_id} was begun"
            f" (cosine {cosine:.4f} for the same text): they cannot be compared",
            "Was llama.cpp or the model file replaced? Put it back, or embed anew with what there is now:"
            " vaultembed embeddings build --new",
        )
    return cosine
