"""`import`: mail of any kind that is known into the archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive
from vaultembed.archive.fulltext import refresh_stale
from vaultembed.service.import_run import ImportCounts, ImportProgress, PathImport, Raw
from vaultembed.service.result import Result
from vaultembed.sources import discover


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

    Raises:
        UsageError: a path does not exist or holds no mail. Found out before anything is imported.
    """
    started = time.monotonic()
    for path in paths:
        next(iter(discover(path)), None)  # an empty Maildir has nothing, and is no error
    with open_archive(archive_path) as archive:
        refresh_stale(archive)
        counts = ImportCounts()
        for path in paths:
            run = PathImport(archive, path, raw, counts, on_progress, should_stop)
            counts = run.run()
            if should_stop():
                break
    interrupted = should_stop()
    data = Imported(archive_path, tuple(paths), counts, time.monotonic() - started, interrupted)
    notes = []
    if interrupted:
        notes.append("Interrupted; what was read is safe. The same command goes on from here.")
    if counts.problems:
        notes.append(f"{counts.problems:,} with something wrong in them: vaultembed problems")
    if counts.added or counts.updated:
        notes.append("Text search works now. For search by meaning: vaultembed embeddings build")
    return Result("import", data, tuple(notes), 130 if interrupted else 0)
