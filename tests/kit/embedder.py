"""A small deterministic embedder for state machines and crash tests: a real implementation of the protocol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.protocol import Embedded, ModelFacts, Role

DIMENSION = 64


class WordHashEmbedder:
    """Embeds a text as the normalised sum of a fixed random vector a word: texts that share words are near.

    Words of `refused` cannot be embedded, and words of `fatal` end the process that hosts the model, as a bug in native
    code does; with `sick`, everything does.
    """

    def __init__(
        self, name: str = "word-hash", refused: Sequence[str] = (), fatal: Sequence[str] = (), *, sick: bool = False
    ) -> None:
        self._name = name
        self._refused = set(refused)
        self._fatal = set(fatal)
        self._sick = sick
        self.texts: list[str] = []
        """Everything that was embedded, in order."""

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(
            name=self._name,
            weights_sha256=hashlib.sha256(self._name.encode()).hexdigest(),
            converter="test",
            architecture="word-hash",
            dimension=DIMENSION,
            pooling="mean",
            context_length=128,
            document_prefix="",
            query_prefix="",
            licence="MIT",
        )

    def count_tokens(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text)) + 2

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        if self._sick:
            raise EmbedderCrashedError("the model process died")
        vectors = []
        for index, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower())
            if self._fatal.intersection(words):
                raise EmbedderCrashedError("the model process died")
            if self._refused.intersection(words):
                raise BadTextError(index, "its vector is not finite", len(text), self.count_tokens(text))
            vectors.append(_vector(self._name, words))
        self.texts += texts
        tokens = sum(self.count_tokens(text) for text in texts)
        return Embedded(np.array(vectors, np.float32).reshape(len(texts), DIMENSION), tokens)

    def close(self) -> None:
        pass


def _vector(name: str, words: list[str]) -> np.ndarray:
    total = np.full(DIMENSION, 1e-3)
    for word in words:
        seed = int.from_bytes(hashlib.blake2b(f"{name}:{word}".encode(), digest_size=8).digest(), "little")
        total += np.random.default_rng(seed).standard_normal(DIMENSION)
    return (total / np.linalg.norm(total)).astype(np.float32)
