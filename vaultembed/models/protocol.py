"""What the rest of vaultembed knows of an embedding model: its facts, and how to embed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from vaultembed.model_facts import ModelFacts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Embedded", "Embedder", "ModelFacts", "Role", "Vectors"]

# Quoted: importing numpy takes longer than a text search does.
Vectors: TypeAlias = "npt.NDArray[np.float32]"
Role = Literal["document", "query"]


@dataclass(frozen=True, slots=True)
class Embedded:
    vectors: Vectors
    """(texts, dimension), L2-normalised, finite."""
    tokens: int
    """How many the model was given, special tokens included."""


class Embedder(Protocol):
    """Embeds texts. Also a `Tokenizer`. Neither is thread-safe: one caller at a time."""

    @property
    def facts(self) -> ModelFacts: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as a document: its prefix and the model's special tokens included."""
        ...

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        """One vector a text, in order.

        Raises:
            BadTextError: one text cannot be embedded (too long, or its vector is unusable); names which.
            EmbedderCrashedError: the process that hosts the model died; the next call starts a new one.
        """
        ...

    def close(self) -> None: ...
