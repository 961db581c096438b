"""What an embedding model is: what runs it says so, and the archive keeps it with each generation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def _prefix_mark(prefix: str) -> str:
    return hashlib.sha256(prefix.encode("utf-8")).hexdigest()[:6] if prefix else "-"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What identifies the space a model's vectors live in, and what it can take."""

    name: str
    weights_sha256: str
    """Of the source weights (a registry model) or of the .gguf itself (a model given by path); hex."""
    converter: str
    """Which conversion made the .gguf from the source weights, e.g. `c1f16`; `gguf` where none did."""
    architecture: str
    dimension: int
    pooling: str
    """`mean`, `cls` or `last`."""
    context_length: int
    """The most tokens of one text, special tokens and prefix included."""
    document_prefix: str
    query_prefix: str
    licence: str

    @property
    def space(self) -> str:
        """The space part of a fingerprint. Vectors are comparable only where it is equal. Append on the right only.

        For example `all-minilm-l6-v2:w53aa5117:c1f16:384:mean:d-:q-`; a prefix stands as its short hash, so that
        no text of a user's choice can end up between the colons.
        """
        return ":".join(
            (
                self.name,
                f"w{self.weights_sha256[:8]}",
                self.converter,
                str(self.dimension),
                self.pooling,
                f"d{_prefix_mark(self.document_prefix)}",
                f"q{_prefix_mark(self.query_prefix)}",
            )
        )
