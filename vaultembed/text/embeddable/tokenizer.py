"""What chunking needs to know of a model."""

from __future__ import annotations

from typing import Protocol


class Tokenizer(Protocol):
    """Counts tokens the way the model will see a document."""

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as a document: its prefix and the model's special tokens included."""
        ...
