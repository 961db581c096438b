"""`embeddings prune`: removes generations out of use, and gives their space back to the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations.records import count_chunks, list_generations
from vaultembed.archive.upkeep.erasing import erase_traces
from vaultembed.archive.upkeep.pruning import collect_garbage, find_prunable, prune_generation, remove_unused_texts
from vaultembed.archive.upkeep.shrinking import SCATTERED, Shrunk, file_bytes, shrink
from vaultembed.archive.upkeep.space import BYTES_PER_CHUNK
from vaultembed.archive.vectors.coarse_table import close_holes, has_vec_table
from vaultembed.service.result import Result

_TOLERATED: Final = 0.1
"""Holes in a coarse index that pruning leaves, of its slots: who prunes wants the space."""
_ALWAYS: Final = 1_024


@dataclass(frozen=True, slots=True)
class PrunableView:
    id: int
    state: str
    model: str
    chunks: int
    about_bytes: int
    begun: bool
    """Its pruning was interrupted; what is left goes without being asked about."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    generations: tuple[PrunableView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneView:
    archive: Path
    pruned: tuple[int, ...] = ()
    """Generations."""
    collected: int = 0
    """Vectors of deleted and edited messages."""
    bytes_before: int
    bytes_after: int
    rewritten: bool = False
    """The whole file was written anew."""
    freed: int = 0
    interrupted: bool = False
    dry_run: bool = False
    candidates: tuple[PrunableView, ...]
    """What was, or would be, pruned."""


def plan_prune(archive_path: Path, generations: Sequence[int] = ()) -> PrunePlan:
    """What pruning would remove: these generations, or all that are out of use.

    Raises:
        UsageError: one of them is not there, or in use.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        found = find_prunable(archive, generations)
        views = []
        for generation in (*found.generations, *found.begun):
            chunks = count_chunks(archive, generation.id)
            each = 2 * generation.dimension + generation.dimension // 8 + BYTES_PER_CHUNK
            views.append(
                PrunableView(
                    id=generation.id,
                    state=generation.state,
                    model=generation.model_label,
                    chunks=chunks,
                    about_bytes=chunks * each,
                    begun=generation in found.begun,
                )
            )
        return PrunePlan(tuple(views))


def prune_embeddings(
    archive_path: Path,
    plan: PrunePlan,
    *,
    dry_run: bool = False,
    rewrite: bool = False,
    on_chunks: Callable[[int], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[PruneView]:
    """Do what `plan_prune` said; collect vectors of deleted messages; give the space back to the disk. Interrupted, it
    goes on where it was. `rewrite`: write the file anew even if little is to be gained."""
    require_archive(archive_path)
    if dry_run:
        return _dry_run(archive_path, plan)
    with open_archive(archive_path) as archive:
        archive.load_vec()
        before = file_bytes(archive)
        pruned = _prune(archive, plan, on_chunks, should_stop)
        collected = 0
        if not should_stop():
            collected = collect_garbage(archive, should_stop).vectors
            remove_unused_texts(archive, should_stop)
            _close_all_holes(archive, should_stop)
        if rewrite and not should_stop():
            erase_traces(archive, should_stop)
        shrunk = None if should_stop() else shrink(archive, should_stop, scattered_share=0 if rewrite else SCATTERED)
    after = before if shrunk is None else shrunk.bytes_after
    view = PruneView(
        archive=archive_path,
        pruned=pruned,
        collected=collected,
        bytes_before=before,
        bytes_after=after,
        rewritten=shrunk is not None and shrunk.rewritten,
        freed=max(before - after, 0),
        interrupted=should_stop(),
        candidates=plan.generations,
    )
    left = None if shrunk is None else shrunk.left
    exit_code = 130 if view.interrupted else 3 if rewrite and left else 0
    return Result("embeddings prune", view, tuple(_notes(view, shrunk, rewrite=rewrite)), exit_code)


def _dry_run(archive_path: Path, plan: PrunePlan) -> Result[PruneView]:
    size = archive_path.stat().st_size
    view = PruneView(
        archive=archive_path, bytes_before=size, bytes_after=size, dry_run=True, candidates=plan.generations
    )
    return Result("embeddings prune", view, ("Nothing was removed. Leave out --dry-run to do it.",))


def _prune(
    archive: Archive, plan: PrunePlan, on_chunks: Callable[[int], None], should_stop: Callable[[], bool]
) -> tuple[int, ...]:
    """The generations that were pruned whole."""
    pruned: list[int] = []
    done = 0
    for generation in plan.generations:

        def note(gone: int, base: int = done) -> None:
            on_chunks(base + gone)

        if not prune_generation(archive, generation.id, should_stop, note):
            break
        done += generation.chunks
        pruned.append(generation.id)
    return tuple(pruned)


def _close_all_holes(archive: Archive, should_stop: Callable[[], bool]) -> None:
    for generation in list_generations(archive):
        if generation.pruned_at is None and has_vec_table(archive, generation.id):
            close_holes(archive, generation.id, should_stop, tolerated=_TOLERATED, always=_ALWAYS)


def _notes(view: PruneView, shrunk: Shrunk | None, *, rewrite: bool) -> list[str]:
    if view.interrupted:
        return ["Interrupted; the archive is right as it is. The same command goes on from here."]
    if shrunk is None or shrunk.left is None:
        return []
    later = "Later: vaultembed embeddings prune" + (" --rewrite" if rewrite else "")
    if shrunk.left == "reader":
        what = "Another process is reading the archive: the file becomes smaller when that has ended."
        return [f"{what} {later}" if rewrite else what]
    why = "another process is writing to it" if shrunk.left == "busy" else "the disk has too little room for that"
    free = f"About {shrunk.scattered / 1e6:,.1f} MB are free in small pieces."
    return [f"{free} Writing the file anew would give them back, but {why}. {later}"]
