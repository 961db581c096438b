"""Turns a query into one vector, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaultembed.text.embeddable.chunking import chunk_text

if TYPE_CHECKING:
    from vaultembed.models.protocol import Embedder, Vectors

_SPARE_TOKENS = 64
"""Left for a query prefix, which `count_tokens` does not count."""


def embed_query(embedder: Embedder, text: str, max_tokens: int) -> Vectors:
    """(dimension,), normalised. A query above `max_tokens`, a pasted mail say, is the mean of its parts: cut off at the
    end, it would silently be another query."""
    if embedder.count_tokens(text) <= max_tokens:
        vector: Vectors = embedder.embed([text], "query").vectors[0]
        return vector
    import numpy as np

    chunks = chunk_text(text, embedder, max_tokens - _SPARE_TOKENS, 0)
    parts = embedder.embed([text[chunk.char_start : chunk.char_end] for chunk in chunks], "query").vectors
    mean = parts.mean(axis=0)
    normalised: Vectors = (mean / np.linalg.norm(mean)).astype(np.float32)
    return normalised
