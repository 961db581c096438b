"""How a message's text becomes chunks: the recipe part of a fingerprint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.generations.records import Generation
from vaultembed.errors import UsageError
from vaultembed.text.embeddable.chunking import chunking_tag
from vaultembed.text.embeddable.prepare import prepare_tag


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
    def most_chunks(self) -> int:
        """Of one message. The outcome of a longer one has their number at the end of its recipe: `p1:t256o32c64`."""
        return min(MOST_CHUNKS, max(1, MOST_CHUNKS * MAX_TOKENS // self.max_tokens))

    @property
    def tag(self) -> str:
        """Readable; append on the right only: `p1:t256o32`."""
        return f"{self.preparation}:{chunking_tag(self.max_tokens, self.overlap_tokens)}"

    @classmethod
    def from_tag(cls, tag: str) -> Recipe:
        """The recipe that cuts as `tag` says, with the present preparation: a newer one may top up a generation.

        Raises:
            UsageError: a newer vaultembed cut it in a way that this one does not know.
        """
        found = re.fullmatch(r"[^:]+:t(\d+)o(\d+)", tag)
        if found is None:
            raise UsageError(f"the recipe {tag} is not known", "Upgrade vaultembed: pip install --upgrade vaultembed")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Job:
    """A generation, and how its texts are cut now."""

    generation: Generation
    recipe: Recipe


MAX_TOKENS: Final = 256
"""What all-MiniLM-L6-v2 was trained with; beyond it, its vectors get worse. Also a good passage to show."""
OVERLAP_TOKENS: Final = 32
MOST_CHUNKS: Final = 64
"""Raise PREPARE_VERSION with a change. A log of a megabyte would be 1,900: minutes in one step, to say no more."""

LEAST_TOKENS: Final = 16


def recipe_for(context_length: int, max_tokens: int | None = None) -> Recipe:
    """The current recipe, for a model that takes `context_length` tokens at most; or one with larger or smaller chunks.

    Raises:
        UsageError: so many tokens do not fit into the model, or are too few to mean anything.
    """
    if max_tokens is None:
        max_tokens = min(MAX_TOKENS, context_length)
    elif not LEAST_TOKENS <= max_tokens <= context_length:
        raise UsageError(
            f"chunks of {max_tokens} tokens are not possible",
            f"This model takes {LEAST_TOKENS} to {context_length}: --chunk-tokens {min(MAX_TOKENS, context_length)}",
        )
    return Recipe(max_tokens, min(OVERLAP_TOKENS, max_tokens // 8))
