"""What the original model says, from the fixture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaultembed.models.protocol import Vectors

_FILE = Path(__file__).resolve().parents[1] / "fixtures" / "reference_vectors.npz"


@dataclass(frozen=True)
class Reference:
    texts: list[str]
    ids: list[list[int]]
    vectors: Vectors
    every_character: bytes


def load_reference() -> Reference:
    with np.load(_FILE) as stored:
        ends = np.cumsum(stored["lengths"], dtype=np.int64)
        return Reference(
            texts=json.loads(stored["texts"].tobytes()),
            ids=[part.tolist() for part in np.split(stored["ids"], ends[:-1])],
            vectors=stored["vectors"].astype(np.float32),
            every_character=stored["every_character"].tobytes(),
        )
