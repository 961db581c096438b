"""`embeddings verify`: whether a generation is what it says it is, before or after it is put to use."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import (
    Coverage,
    Generation,
    coverage_of,
    generation_with_id,
    record_verification,
)
from vaultembed.archive.generations.verifying import (
    count_unsound,
    read_sample,
    vectors_of_generation,
)
from vaultembed.archive.vector_format import is_well_formed
from vaultembed.embeddings.quality import Quality
from vaultembed.embeddings.resilient import LEAST_COSINE, NoVector, embed_texts
from vaultembed.errors import DamageError, IncompleteError
from vaultembed.models.protocol import Embedder

SAMPLE: Final = 32
"""Chunks that are embedded again: about a second."""
SAME_TENTH: Final = 0.95
"""Cosine that nine of ten adopted vectors are above, if another program's model is the same as the one here."""
NOT_COMPARED: Final = "none of its vectors could be compared with its model: the texts are not kept, or refused"
LONGEST_ADOPTED: Final = 1_500
"""Characters: a longer text may have been cut off by either model."""


@dataclass(frozen=True, slots=True)
class Verified:
    changes: int
    """Of the generation, in the state that was looked at."""
    coverage: Coverage
    """missing must be 0."""
    vectors: int
    """Looked at, all of them."""
    altered: int
    """Vectors that no longer match their checksum."""
    malformed: int
    """Not finite, not of length 1, or not of the generation's dimension."""
    unsound: int
    """Messages whose chunks, vectors and outcome do not agree, or whose vectors the coarse index lacks."""
    sampled: int
    """Chunks embedded again."""
    refused: int
    """Chunks of the sample that the model cannot embed any more, for which there is nothing to compare. It is well
    otherwise, or that would be an error."""
    least_cosine: float | None
    """Of the sample with what is stored; None where nothing was compared. Of adopted vectors, only if too many of them
    are of another model than the one here."""
    quality: Quality | str | None = None
    """Beside the generation in use; a text says why that is not known. None where none is in use, or it was not asked
    for."""

    @property
    def is_sound(self) -> bool:
        """All that is there is right; there may be messages missing."""
        sample_fits = self.least_cosine is None or self.least_cosine >= LEAST_COSINE
        return sample_fits and not (self.altered or self.malformed or self.unsound)

    @property
    def vouches(self) -> bool:
        """It is sound, and some of it was compared with the model: any vectors of the right length are sound."""
        return self.is_sound and (self.sampled > 0 or not self.coverage.embedded)

    @property
    def is_worse(self) -> bool:
        """It finds less than the generation in use."""
        return isinstance(self.quality, Quality) and self.quality.is_worse

    @property
    def tells(self) -> bool:
        """Whether it passed is known."""
        return self.vouches or not self.is_sound


def verify_for_use(
    archive: Archive,
    generation: Generation,
    embedder: Embedder | None,
    on_vectors: Callable[[int], None] = lambda _: None,
    judge: Callable[[], Quality | str | None] = lambda: None,
    *,
    accept_worse: bool = False,
) -> Verified:
    """Verify, and remember what came of it. `judge` compares it with the generation in use.

    Raises:
        ModelError: as `verify_generation`.
        DamageError: it did not pass.
        WorseError: it finds less than the generation in use, and `accept_worse` was not given.
        IncompleteError: there was nothing to compare with the model.
    """
    with archive.snapshot():  # in which nobody discards and prunes it
        verified = verify_generation(archive, generation, embedder, on_vectors)
        if verified.vouches:
            verified = replace(verified, quality=judge())
    passed = verified.vouches and (accept_worse or not verified.is_worse)
    if verified.tells:
        record_verification(archive, generation.id, verified.changes, passed=passed)
    if not verified.is_sound:
        raise DamageError(
            f"generation {generation.id} did not pass verification; it is not activated",
            f"What is wrong: vaultembed embeddings verify {generation.id}, and vaultembed doctor. To use it all the"
            f" same: vaultembed embeddings activate {generation.id} --force",
        )
    if not verified.vouches:
        raise IncompleteError(
            f"generation {generation.id} cannot be verified: {NOT_COMPARED}",
            "Embed anew: vaultembed embeddings build --new. To use it all the same: vaultembed embeddings activate"
            f" {generation.id} --force",
        )
    if isinstance(verified.quality, Quality) and not passed:
        raise WorseError(generation, verified.quality)
    return verified


class WorseError(IncompleteError):
    """A generation finds less than the one in use."""

    code = "generation_worse"

    def __init__(self, generation: Generation, quality: Quality) -> None:
        super().__init__(
            f"generation {generation.id} finds less than generation {quality.in_use}, which stays in use: right answers"
            f" to {quality.questions} questions made from this archive score {quality.found:.2f}, not"
            f" {quality.found_in_use:.2f}",
            "Is it the model you wanted, with the prefixes that it needs? To use it all the same: vaultembed embeddings"
            f" activate {generation.id} --accept-worse. To abandon it: vaultembed embeddings discard",
        )


def verify_generation(
    archive: Archive,
    generation: Generation,
    embedder: Embedder | None,
    on_vectors: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Look at every vector, and embed a sample again where there is an embedder. In a snapshot of the caller's. Needs
    `load_vec`. Changes nothing.

    Raises:
        ModelError: the model fails on a text that is known to be good.
    """
    vectors = altered = malformed = 0
    for stored in vectors_of_generation(archive, generation.id):
        vectors += 1
        altered += zlib.crc32(stored.embedding) != stored.checksum
        malformed += not is_well_formed(stored.embedding, generation.dimension)
        if vectors % 10_000 == 0:
            on_vectors(vectors)
    pick = random.Random(generation.id)  # noqa: S311
    own = read_sample(archive, generation.id, SAMPLE, pick)
    theirs = read_sample(archive, generation.id, SAMPLE, pick, adopted_below=LONGEST_ADOPTED)
    cosines, refused = _compare(embedder, own) if embedder is not None else ([], 0)
    adopted, refused_too = _compare(embedder, theirs) if embedder is not None else ([], 0)
    strayed = adopted if adopted and sorted(adopted)[len(adopted) // 10] < SAME_TENTH else []
    return Verified(
        changes=generation_with_id(archive, generation.id).changes,
        coverage=coverage_of(archive, generation.id),
        vectors=vectors,
        altered=altered,
        malformed=malformed,
        unsound=count_unsound(archive, generation.id),
        sampled=len(cosines) + len(adopted),
        refused=refused + refused_too,
        least_cosine=min(cosines + strayed, default=None),
    )


def _compare(embedder: Embedder, sample: list[tuple[str, bytes]]) -> tuple[list[float], int]:
    """Cosines of the vectors made now with those stored, and how many could not be made."""
    cosines: list[float] = []
    refused = 0
    for vector, (_, embedding) in zip(embed_texts(embedder, [text for text, _ in sample]).results, sample, strict=True):
        if isinstance(vector, NoVector):
            refused += 1
            continue
        stored = np.frombuffer(embedding, "<f2").astype(np.float32)
        norm = float(np.linalg.norm(stored))
        can_be_compared = stored.shape == vector.shape and 0 < norm < np.inf  # false for NaN, too
        cosines.append(float(vector @ stored / norm) if can_be_compared else 0.0)
    return cosines, refused
