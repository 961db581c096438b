"""What changes the state of generations: `embeddings activate`, `rollback`, `retire` and `discard`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations.records import generation_in_state, generation_with_id
from vaultembed.archive.generations.transitions import UnverifiedError, activate, discard, restamp, retire, rollback
from vaultembed.errors import NotReadyError
from vaultembed.service.backup import migration_notes
from vaultembed.service.generations import GenerationView, generation_view
from vaultembed.service.result import Result
from vaultembed.service.verifying import UNTOLD, OnVectors, verify_for_use


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change of states."""

    archive: Path
    generation: GenerationView
    """That was named."""
    active: GenerationView | None
    """That serves now."""
    changed: bool
    """False where it was so already."""
    restamped: int
    """Messages whose stamp was renewed; none of them needs embedding again."""


def activate_generation(
    archive_path: Path,
    generation_id: int,
    *,
    max_failed: int,
    force: bool = False,
    accept_worse: bool = False,
    on_vectors: OnVectors = UNTOLD,
) -> Result[ChangeView]:
    """Let search by meaning use another generation; verified first, unless something vouches for it as it is.

    Raises:
        WorseError: it finds less than the one in use, and neither `accept_worse` nor `force` was given.
        IncompleteError: it is not complete, and `force` was not given.
        DamageError, ModelError: it does not pass, or cannot be verified; and `force` was not given.
        VaultembedError: it is empty, discarded or pruned.
    """
    return _changed(
        archive_path,
        "embeddings activate",
        lambda archive: (generation_id, activate(archive, generation_id, max_failed, force=force)),
        on_vectors,
        accept_worse=accept_worse,
    )


def roll_back(archive_path: Path, *, on_vectors: OnVectors = UNTOLD) -> Result[ChangeView]:
    """Go back to the generation that was active before; verified first only if it was written to since. Once more goes
    forward again.

    Raises:
        DamageError, ModelError: it was, and it does not pass, or cannot be verified.
        VaultembedError: there is none that still has its vectors.
    """
    return _changed(
        archive_path,
        "embeddings rollback",
        lambda archive: (rollback(archive).id, True),
        on_vectors,
        accept_worse=True,  # who goes back knows why
    )


def retire_generation(archive_path: Path, generation_id: int, *, force: bool = False) -> Result[ChangeView]:
    """Take the active generation out of service.

    Raises:
        UsageError: it is not active, or `force` was not given.
    """
    return _changed(
        archive_path,
        "embeddings retire",
        lambda archive: (generation_id, retire(archive, generation_id, force=force)),
    )


def building_generation(archive_path: Path) -> Result[GenerationView]:
    """The one that is being built: what `discard` would abandon.

    Raises:
        NotReadyError: there is none.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        building = generation_in_state(archive, "building")
        if building is None:
            raise NotReadyError("no generation is being built", "To list them: vaultembed embeddings list")
        return Result("embeddings", generation_view(archive, building))


def discard_generation(archive_path: Path, generation_id: int | None = None) -> Result[ChangeView]:
    """Abandon the generation that is being built.

    Raises:
        UsageError: none is being built, or that one is not.
    """
    result = _changed(archive_path, "embeddings discard", lambda archive: (discard(archive, generation_id).id, True))
    return Result(
        result.command, result.data, ("Its vectors take up space until: vaultembed embeddings prune", *result.notes)
    )


def _changed(
    archive_path: Path,
    command: str,
    change: Callable[[Archive], tuple[int, bool]],
    on_vectors: OnVectors = UNTOLD,
    *,
    accept_worse: bool = False,
) -> Result[ChangeView]:
    found: tuple[str, ...] = ()
    require_archive(archive_path)
    with open_archive(archive_path) as archive:
        try:
            generation_id, changed = change(archive)
        except UnverifiedError as unverified:
            found = verify_for_use(archive, unverified.generation, on_vectors, accept_worse=accept_worse)
            generation_id, changed = change(archive)
        restamped = restamp(archive)
        active = generation_in_state(archive, "active")
        view = ChangeView(
            archive=archive_path,
            generation=generation_view(archive, generation_with_id(archive, generation_id)),
            active=None if active is None else generation_view(archive, active),
            changed=changed,
            restamped=restamped,
        )
        building = generation_in_state(archive, "building")
        notes = [*migration_notes(archive), *found]
    if view.active is None:
        notes.append("No generation is active: search by meaning needs one. Next: vaultembed embeddings build")
    elif view.active.coverage.missing and building is None:
        notes.append(
            f"Generation {view.active.id} misses {view.active.coverage.missing:,} of"
            f" {view.active.coverage.live:,} messages. Next: vaultembed embeddings build"
        )
    return Result(command, view, tuple(notes))
