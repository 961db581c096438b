"""How a message's text becomes chunks: the recipe part of a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vaultembed.text.chunking import chunking_tag
from vaultembed.text.prepare import prepare_tag


@dataclass(frozen=True, slots=True)
class Recipe:
    max_tokens: int
    """Of one chunk, prefix and special tokens included."""
    overlap_tokens: int

    @property
    def preparation(self) -> str:
        """The part that makes the embeddable text; chunks cut differently share it."""
        return prepare_tag()

    @property
    def tag(self) -> str:
        """Readable; append on the right only: `p1:t256o32`."""
        return f"{self.preparation}:{chunking_tag(self.max_tokens, self.overlap_tokens)}"


MAX_TOKENS: Final = 256
"""What all-MiniLM-L6-v2 was trained with; beyond it, its vectors get worse. Also a good passage to show."""
OVERLAP_TOKENS: Final = 32


def recipe_for(context_length: int) -> Recipe:
    """The current recipe, for a model that takes `context_length` tokens at most."""
    max_tokens = min(MAX_TOKENS, context_length)
    return Recipe(max_tokens, min(OVERLAP_TOKENS, max_tokens // 8))
