"""Whether a model here gives the vectors that another program's generation holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.adopted import Checked, bind_model
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.generations.verifying import read_sample
from vaultembed.embeddings.build import model_record
from vaultembed.embeddings.recipe import recipe_for
from vaultembed.embeddings.resilient import NoVector, check_model, embed_texts, make_canary
from vaultembed.embeddings.verify import LONGEST_ADOPTED
from vaultembed.embeddings.verify import SAME_TENTH as SAME_TENTH
from vaultembed.errors import ModelError
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.models.protocol import Embedder, Vectors
from vaultembed.models.registry import model_called
from vaultembed.search.model_of import resolve_model_of

SAMPLE: Final = 32
SAME_MEDIAN: Final = 0.98
"""Cosine from which two models count as the same: the median, beside SAME_TENTH. Of 149 real texts
(`tests/benchmarks/same_space.py`): quantised to Q8_0 0.9997 and 0.9996, to Q4_K_M 0.989 and 0.985, to Q4_0 0.960 and
0.946; with a prefix 0.983 and 0.900, or 0.967 and 0.712."""


@dataclass(frozen=True, slots=True)
class Comparison:
    checked: Checked
    tenth: float
    """The cosine that nine of ten are above."""

    @property
    def is_same(self) -> bool:
        return self.checked.median_cosine >= SAME_MEDIAN and self.tenth >= SAME_TENTH


def compare(archive: Archive, generation: Generation, embedder: Embedder) -> Comparison | None:
    """Embed texts of adopted vectors again. None where no text is known that was embedded: a guess would say that the
    same model is another one.

    Raises:
        ModelError: the model does not work.
    """
    check_model(embedder)
    if embedder.facts.dimension != generation.dimension:
        return Comparison(Checked(0.0, 0.0, 0), 0.0)
    sample = read_sample(archive, generation.id, SAMPLE, random.Random(generation.id), adopted_below=LONGEST_ADOPTED)  # noqa: S311
    return _comparison(
        cosines_with(embedder, [(text, np.frombuffer(stored, "<f2").astype(np.float32)) for text, stored in sample])
    )


def _comparison(cosines: Sequence[float]) -> Comparison | None:
    if not cosines:
        return None
    checked = Checked(round(float(np.median(cosines)), 5), round(min(cosines), 5), len(cosines))
    return Comparison(checked, round(sorted(cosines)[len(cosines) // 10], 5))


def cosines_with(embedder: Embedder, known: Sequence[tuple[str, Vectors]]) -> list[float]:
    """Of each vector, of length 1, with the one that the model gives for its text; without those that it refuses.

    Raises:
        ModelError: the model does not work.
    """
    made = embed_texts(embedder, [text for text, _ in known]).results
    pairs = zip(made, known, strict=True)
    return [float(mine @ theirs) for mine, (_, theirs) in pairs if not isinstance(mine, NoVector)]


def open_same(
    name: str, dimension: int, here: Generation | None, known: Callable[[], Sequence[tuple[str, Vectors]]]
) -> Embedder | None:
    """The model of msgvault's generation, as far as this machine has it: the one that was found to give its vectors, or
    one of that name that gives those of `known`. None where there is none."""
    found = model_called(name, dimension)
    try:
        if here is not None and here.is_checked:
            return open_in_child(resolve_model_of(here))
        if found is None:
            return None
        embedder = open_in_child(resolve_model(found.name, document_prefix="", query_prefix=""))
        try:
            comparison = _comparison(cosines_with(embedder, known()))
        except ModelError:
            comparison = None
        if comparison is not None and comparison.is_same:
            return embedder
        embedder.close()
    except ModelError:
        pass  # what to get is said where it is needed
    return None


def bind(archive: Archive, generation: Generation, embedder: Embedder, path: str | None, found: Checked) -> Generation:
    """Let the generation be of the model's space from now on; what it lacks is embedded with our recipe."""
    return bind_model(
        archive,
        generation,
        model_record(embedder.facts, path),
        embedder.facts.space,
        recipe_for(embedder.facts.context_length).tag,
        make_canary(embedder),
        found,
    )
