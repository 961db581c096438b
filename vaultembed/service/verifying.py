"""`embeddings verify`: looks at a generation whole, also before it is put to use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.generations.records import Generation, count_chunks, record_verification
from vaultembed.errors import BusyError, DamageError, IncompleteError, ModelError, NotReadyError, StorageError
from vaultembed.service.generations import GenerationView, generation_view, named_or_current
from vaultembed.service.result import Result

if TYPE_CHECKING:  # what does not verify does without numpy
    from vaultembed.embeddings.verify import Verified

OnVectors = Callable[[int, int], None]
"""Gets how many vectors were looked at, and of how many."""
UNTOLD: Final[OnVectors] = lambda _done, _total: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class QualityView:
    """How well a generation finds the right answers to questions made from this archive: mean reciprocal ranks, 0 to 1,
    and a 95 % interval of their difference."""

    generation_in_use: int
    questions: int
    found: float
    found_in_use: float
    difference_least: float
    difference_most: float
    worse: bool
    """Significantly."""


@dataclass(frozen=True, slots=True)
class VerifyView:
    archive: Path
    generation: GenerationView
    vectors: int
    altered: int
    malformed: int
    unsound: int
    sampled: int
    refused: int
    """Chunks of the sample that the model cannot embed any more."""
    least_cosine: float | None
    quality: QualityView | None
    """Beside the generation in use; None where they were not compared."""
    sound: bool


def verify_embeddings(
    archive_path: Path,
    generation_id: int | None = None,
    *,
    sample: bool = True,
    on_vectors: OnVectors = UNTOLD,
) -> Result[VerifyView]:
    """Check a generation whole: the one being built, else the active one. Exit code 3 if messages are missing, or it
    finds less than the generation in use; 5 if what is there is not right. Remembered where the archive can be written
    to.

    Raises:
        NotReadyError: there is no generation yet.
        ModelError: its model is not here, to embed a sample again.
    """
    from vaultembed.embeddings.quality import compare_with_active
    from vaultembed.embeddings.verify import NOT_COMPARED, verify_generation
    from vaultembed.search.model_of import open_model_of

    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        archive.load_vec()
        generation = named_or_current(archive, generation_id)
        if generation.pruned_at is not None:
            raise NotReadyError(f"the vectors of generation {generation.id} were pruned: there is nothing to verify")
        total = count_chunks(archive, generation.id)
        with closing(open_model_of(generation)) if sample and total else nullcontext() as embedder:
            verified = verify_generation(archive, generation, embedder, lambda done: on_vectors(done, total))
            if embedder is not None and verified.vouches:
                quality = compare_with_active(archive, generation, embedder, open_model_of)
                verified = replace(verified, quality=quality)
    if verified.tells:
        passed = verified.vouches and not verified.is_worse
        with suppress(StorageError, BusyError), open_archive(archive_path) as archive:
            record_verification(archive, generation.id, verified.changes, passed=passed)
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        view = VerifyView(
            archive=archive_path,
            generation=generation_view(archive, generation),
            vectors=verified.vectors,
            altered=verified.altered,
            malformed=verified.malformed,
            unsound=verified.unsound,
            sampled=verified.sampled,
            refused=verified.refused,
            least_cosine=verified.least_cosine,
            quality=quality_view(verified),
            sound=verified.is_sound,
        )
    exit_code = 0 if verified.is_sound else DamageError.exit_code
    if verified.is_sound and (verified.coverage.missing or verified.is_worse):
        exit_code = IncompleteError.exit_code
    notes = _notes(generation, verified)
    if sample and not verified.tells:
        notes = [f"This says little: {NOT_COMPARED}"]
    return Result("embeddings verify", view, tuple(notes), exit_code)


def _notes(generation: Generation, verified: Verified) -> list[str]:
    notes = []
    missing = verified.coverage.missing
    if not verified.is_sound:
        notes.append("What is wrong, and repairing it: vaultembed doctor, then vaultembed doctor --fix")
    if missing and generation.state in ("building", "active"):
        notes.append(f"{missing:,} messages are missing. Next: vaultembed embeddings build")
    elif missing and generation.state == "retired":
        notes.append(f"{missing:,} messages are missing. To fill it again: {generation.build_command}")
    elif verified.is_worse:
        notes.append(f"To use it all the same: vaultembed embeddings activate {generation.id} --accept-worse")
    elif verified.is_sound and generation.state == "building":
        notes.append(f"Sound and complete. To use it: vaultembed embeddings activate {generation.id}")
    return [*notes, *quality_notes(verified)]


def quality_view(verified: Verified) -> QualityView | None:
    found = verified.quality
    if found is None or isinstance(found, str):
        return None
    return QualityView(
        generation_in_use=found.in_use,
        questions=found.questions,
        found=round(found.found, 4),
        found_in_use=round(found.found_in_use, 4),
        difference_least=round(found.least, 4),
        difference_most=round(found.most, 4),
        worse=found.is_worse,
    )


def quality_notes(verified: Verified) -> tuple[str, ...]:
    if not isinstance(verified.quality, str):
        return ()
    return (f"Whether it finds as well as the generation in use is not known: {verified.quality.rstrip('.')}.",)


def verify_for_use(
    archive: Archive, generation: Generation, on_vectors: OnVectors, *, accept_worse: bool = False
) -> tuple[str, ...]:
    """Returns notes."""
    from vaultembed.embeddings.quality import Quality, compare_with_active
    from vaultembed.embeddings.verify import verify_for_use as verified_for_use
    from vaultembed.search.model_of import open_model_of

    archive.load_vec()
    total = count_chunks(archive, generation.id)
    try:
        with closing(open_model_of(generation)) if total else nullcontext() as embedder:

            def judge() -> Quality | str | None:
                return None if embedder is None else compare_with_active(archive, generation, embedder, open_model_of)

            verified = verified_for_use(
                archive,
                generation,
                embedder,
                lambda done: on_vectors(done, total),
                judge,
                accept_worse=accept_worse,
            )
            return quality_notes(verified)
    except ModelError as error:
        unverified = f"Or use it unverified: vaultembed embeddings activate {generation.id} --force"
        raise ModelError(
            f"generation {generation.id} cannot be verified: {error.message}",
            f"{error.hint or ''}\n{unverified}".strip(),
        ) from error
