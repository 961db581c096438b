"""`import`: mail of any kind that is known into the archive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive
from vaultembed.archive.generations.records import Coverage, Generation, coverage_of, generation_to_fill
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.errors import UsageError
from vaultembed.importing.paths import ImportCounts, ImportProgress, PathImport
from vaultembed.importing.size import size_of_files, total_size
from vaultembed.importing.writing import Raw
from vaultembed.msgvault.binding import CompareView, bind_what_is_here, unchecked_generations
from vaultembed.msgvault.files import ForeignDamageError, find_archive, is_vectors
from vaultembed.msgvault.moving_in import MsgvaultImport, MsgvaultPaths, find_vectors
from vaultembed.msgvault.views import MsgvaultView
from vaultembed.search.answering import model_unknown
from vaultembed.service.backup import migration_notes
from vaultembed.service.disk_space import needed_by_import, space_needed_hint
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class Imported:
    archive: Path
    paths: tuple[Path, ...]
    counts: ImportCounts
    msgvault: tuple[MsgvaultView, ...]
    """What came from msgvault archives among the paths."""
    compared: tuple[CompareView, ...]
    """Models here, compared with generations of theirs."""
    seconds: float
    interrupted: bool


def find_archives(paths: Sequence[Path], vectors: Path | None) -> dict[Path, MsgvaultPaths]:
    """Those of the paths that are msgvault archives.

    Raises:
        UsageError: a path does not exist; or `vectors` goes with none of them, or does not say with which.
    """
    for path in (*paths, *([vectors] if vectors else [])):
        if not os.path.lexists(path):
            raise UsageError(f"{path} does not exist", "Check the spelling. Nothing was imported.")
        if is_vectors(path) and path != vectors:
            raise UsageError(
                f"{path} holds msgvault's vectors, without the messages",
                f"Name the folder: vaultembed import {path.parent}. Or its msgvault.db, with --vectors {path}",
            )
    found = {path: archive for path in paths if (archive := find_archive(path)) is not None}
    if vectors is not None and len(found) != 1:
        which = "none of the paths is one" if not found else "there is more than one"
        raise UsageError(
            f"--vectors goes with one msgvault archive, and {which}",
            "Name the folder of msgvault, or its msgvault.db: vaultembed import DIR --vectors FILE",
        )
    return {path: MsgvaultPaths(archive, find_vectors(archive, vectors)) for path, archive in found.items()}


def import_mail(
    archive_path: Path,
    paths: Sequence[Path],
    *,
    raw: Raw = "keep",
    vectors: Path | None = None,
    on_progress: Callable[[ImportProgress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[Imported]:
    """Import mboxes, Maildirs, message files, folders of these, and msgvault archives; what is known is skipped.

    `vectors`: the vectors.db of the one msgvault archive among the paths, where it does not lie beside it.

    A path that holds no mail, or none that can be read, is named in the notes; the others go through, and the exit
    code is 1.

    Raises:
        UsageError: a path does not exist. Found out before anything is imported.
    """
    started = time.monotonic()
    archives = find_archives(paths, vectors)
    notes: list[str] = []
    passed_by: list[str] = []
    views: list[MsgvaultView] = []
    read: dict[Path, ImportProgress] = {}

    def note(at: ImportProgress) -> None:
        read[at.path] = at
        on_progress(at)

    def needed() -> int:
        left = total_size([path for path in paths if path not in archives])
        left -= sum(at.done for path, at in read.items() if path not in archives)
        for pair in archives.values():
            at = read.get(pair.archive)
            share = at.done / at.total if at and at.total else 0.0
            left += round((1 - share) * size_of_files([pair.archive, *([pair.vectors] if pair.vectors else [])]))
        return needed_by_import(archive_path, left)

    with space_needed_hint(needed), open_archive(archive_path) as archive:
        migrated = migration_notes(archive)
        refresh_stale(archive)
        counts = ImportCounts()
        for path in paths:
            before = counts
            try:
                if path in archives:
                    run = MsgvaultImport(archive, archives[path], raw, counts, note, should_stop)
                    archive.load_vec()
                    views.append(run.run())
                    counts = run.counts
                    passed_by += beside(path, archives[path].archive)
                else:
                    counts = PathImport(archive, path, raw, counts, note, should_stop).run()
            except (UsageError, ForeignDamageError) as error:  # no mail there; the other paths go through
                notes.append(f"Not imported: {error.message}")
                continue
            if counts.problems > before.problems and _messages(counts) == _messages(before):
                notes.append(f"Not imported: nothing in {path} could be read. Why: vaultembed problems")
            if should_stop():
                break
        compared = bind_what_is_here(archive, should_stop) if views and not should_stop() else []
        unchecked = unchecked_generations(archive) if views else []
        filled = generation_to_fill(archive)
        coverage = coverage_of(archive, filled.id if filled else None)
    failed = bool(notes) or any(view.left_out for view in views)
    notes += passed_by
    notes += migrated
    interrupted = should_stop()
    data = Imported(
        archive_path,
        tuple(paths),
        counts,
        tuple(views),
        tuple(compared),
        time.monotonic() - started,
        interrupted,
    )
    if interrupted:
        notes.append("Interrupted; what was read is safe. The same command goes on from here.")
    if counts.problems:
        notes.append(f"{counts.problems:,} with something wrong in them: vaultembed problems")
    if counts.deleted:
        notes.append(f"{counts.deleted:,} were deleted from the archive before and stay so. Which: vaultembed undelete")
    for each in (generation for view in views for generation in view.generations):
        is_taken_over = any(view.generation == each.generation and view.into is not None for view in compared)
        if each.state_here == "retired" and not interrupted and not is_taken_over:
            notes.append(
                f"Generation {each.generation}, from msgvault, is out of service: one of another model is in use here,"
                " and embeds these messages anew"
            )
    if not (interrupted and views):  # of an adopted generation nothing is in use before the end
        notes += next_steps(unchecked, counts, coverage if views else None)
    return Result("import", data, tuple(notes), 130 if interrupted else 1 if failed else 0)


def beside(path: Path, archive: Path) -> list[str]:
    """Mail and further archives in the folder of a msgvault archive, which are not looked at."""
    if path == archive:
        return []
    with suppress(OSError):
        for name in sorted(os.listdir(path)):
            other = path / name
            is_mail = name.endswith((".mbox", ".eml")) or (other / "cur").is_dir()
            if is_mail or (other != archive and other.is_file() and find_archive(other) is not None):
                return [f"Not looked at: {other}, and other mail there may be in {path}. Name it by itself."]
    return []


def next_steps(unchecked: Sequence[Generation], counts: ImportCounts, adopted: Coverage | None) -> list[str]:
    """`adopted`: of the generation to be filled, after an import from msgvault."""
    if unchecked:
        hints = dict.fromkeys(model_unknown(generation).hint for generation in unchecked)
        return [f"Text search works now. For search by meaning: {hint}" for hint in hints]
    if adopted is not None and adopted.missing < adopted.live:
        if not adopted.missing:
            return ["Search works now, by words and by meaning."]
        missing = f"{adopted.missing:,} messages are still to be embedded: vaultembed embeddings build"
        return [f"Search works now, by words and by meaning. {missing}"]
    if counts.added or counts.updated:
        return ["Text search works now. For search by meaning: vaultembed embeddings build"]
    return []


def _messages(counts: ImportCounts) -> int:
    return counts.added + counts.updated + counts.unchanged + counts.duplicate + counts.deleted
