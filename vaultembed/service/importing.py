"""`import`: mail of any kind that is known into the archive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive
from vaultembed.archive.fulltext import refresh_stale
from vaultembed.errors import UsageError
from vaultembed.service.backup import migration_notes
from vaultembed.service.disk_space import needed_by_import, space_needed_hint
from vaultembed.service.import_run import ImportCounts, ImportProgress, PathImport, Raw
from vaultembed.service.result import Result
from vaultembed.service.total_size import total_size


@dataclass(frozen=True, slots=True)
class Imported:
    archive: Path
    paths: tuple[Path, ...]
    counts: ImportCounts
    seconds: float
    interrupted: bool


def import_mail(
    archive_path: Path,
    paths: Sequence[Path],
    *,
    raw: Raw = "keep",
    on_progress: Callable[[ImportProgress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[Imported]:
    """Import mboxes, Maildirs, message files and folders of these; what is known already is skipped.

    A path that holds no mail, or none that can be read, is named in the notes; the others go through, and the exit
    code is 1.

    Raises:
        UsageError: a path does not exist. Found out before anything is imported.
    """
    started = time.monotonic()
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path} does not exist", "Check the spelling. Nothing was imported.")
    notes = []
    read: dict[Path, int] = {}

    def note(at: ImportProgress) -> None:
        read[at.path] = at.bytes_done
        on_progress(at)

    def needed() -> int:
        return needed_by_import(archive_path, total_size(paths) - sum(read.values()))

    with space_needed_hint(needed), open_archive(archive_path) as archive:
        migrated = migration_notes(archive)
        refresh_stale(archive)
        counts = ImportCounts()
        for path in paths:
            before = counts
            try:
                counts = PathImport(archive, path, raw, counts, note, should_stop).run()
            except UsageError as error:  # no mail there; the other paths go through
                notes.append(f"Not imported: {error.message}")
                continue
            if counts.problems > before.problems and _messages(counts) == _messages(before):
                notes.append(f"Not imported: nothing in {path} could be read. Why: vaultembed problems")
            if should_stop():
                break
    failed = bool(notes)
    notes += migrated
    interrupted = should_stop()
    data = Imported(archive_path, tuple(paths), counts, time.monotonic() - started, interrupted)
    if interrupted:
        notes.append("Interrupted; what was read is safe. The same command goes on from here.")
    if counts.problems:
        notes.append(f"{counts.problems:,} with something wrong in them: vaultembed problems")
    if counts.deleted:
        notes.append(f"{counts.deleted:,} were deleted from the archive before and stay so. Which: vaultembed undelete")
    if counts.added or counts.updated:
        notes.append("Text search works now. For search by meaning: vaultembed embeddings build")
    return Result("import", data, tuple(notes), 130 if interrupted else 1 if failed else 0)


def _messages(counts: ImportCounts) -> int:
    return counts.added + counts.updated + counts.unchanged + counts.duplicate + counts.deleted
