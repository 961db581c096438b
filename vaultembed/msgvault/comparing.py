"""Whether a model here gives the vectors that another program's generation holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.adopted import AdoptedChunk, Checked, bind_model, read_adopted_sample
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.generations.work import read_work
from vaultembed.embeddings.build import model_record
from vaultembed.embeddings.recipe import recipe_for
from vaultembed.embeddings.resilient import NoVector, check_model, embed_texts, make_canary
from vaultembed.embeddings.verify import LONGEST_ADOPTED
from vaultembed.embeddings.verify import SAME_TENTH as SAME_TENTH
from vaultembed.models.protocol import Embedder
from vaultembed.msgvault.embedded_text import candidates
from vaultembed.text.embeddable.chunking import text_hash

SAMPLE: Final = 48
_ENOUGH: Final = 8
"""With so many texts that are known, none need be guessed at."""
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
    """Embed texts of adopted vectors again. None where there is nothing to compare.

    Where the text that was embedded is not known, the best of those that it may have been counts.

    Raises:
        ModelError: the model does not work.
    """
    check_model(embedder)
    if embedder.facts.dimension != generation.dimension:
        return Comparison(Checked(0.0, 0.0, 0), 0.0)
    sample = read_adopted_sample(archive, generation.id, 4 * SAMPLE, random.Random(generation.id))  # noqa: S311
    known = [chunk for chunk in sample if _is_known(chunk) and len(chunk.text or "") <= LONGEST_ADOPTED][:SAMPLE]
    cosines = [_best(embedder, [chunk.text or ""], chunk) for chunk in known]
    if len(known) < _ENOUGH:
        for chunk in [chunk for chunk in sample if not _is_known(chunk)][:SAMPLE]:
            texts = [
                t for work in read_work(archive, [chunk.message_id]) for t in candidates(work.subject, work.body_text)
            ]
            cosines.append(_best(embedder, [text for text in texts if len(text) <= LONGEST_ADOPTED], chunk))
    found = [cosine for cosine in cosines if cosine is not None]
    if not found:
        return None
    checked = Checked(round(float(np.median(found)), 5), round(min(found), 5), len(found))
    return Comparison(checked, round(sorted(found)[len(found) // 10], 5))


def _is_known(chunk: AdoptedChunk) -> bool:
    return chunk.text is not None and text_hash(chunk.text) == chunk.text_hash


def _best(embedder: Embedder, texts: Sequence[str], chunk: AdoptedChunk) -> float | None:
    """The highest cosine of a text's vector with the one adopted; None where none can be embedded."""
    stored = np.frombuffer(chunk.embedding, "<f2").astype(np.float32)
    vectors = [vector for vector in embed_texts(embedder, texts).results if not isinstance(vector, NoVector)]
    return max((float(np.asarray(vector) @ stored) for vector in vectors), default=None)


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
