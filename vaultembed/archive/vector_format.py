"""How a vector stands in the file: as float16 (the truth), and by its signs (in the coarse index)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

NORM_TOLERANCE: Final = 0.01

Floats = npt.NDArray[np.float32]


def to_rows(vectors: Floats) -> list[bytes]:
    """(n, dimension) normalised float32 → float16 bytes, as stored."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def is_well_formed(embedding: bytes, dimension: int) -> bool:
    """Of the dimension, finite, and of length 1: a float16 vector of 384 dimensions is within 0.001 of it."""
    if len(embedding) != 2 * dimension:
        return False
    norm = float(np.linalg.norm(np.frombuffer(embedding, "<f2").astype(np.float32)))
    return abs(norm - 1) <= NORM_TOLERANCE  # false for NaN, too


def to_bits(embedding: bytes) -> bytes:
    """The signs of a stored embedding."""
    return np.packbits(np.frombuffer(embedding, "<f2") > 0, bitorder="little").tobytes()
