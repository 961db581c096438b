"""`import`: mail of any kind that is known into the archive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive, open_archive, require_archive
from vaultembed.archive.generations.records import (
    Coverage,
    coverage_of,
    generation_in_state,
    generation_to_fill,
)
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.mail.problems import Unread as Unread
from vaultembed.archive.mail.problems import tell_unread
from vaultembed.archive.mail.readings import count_outdated
from vaultembed.archive.mail.rereading import Reread
from vaultembed.errors import UsageError
from vaultembed.importing.parsing import Parsers
from vaultembed.importing.paths import ImportCounts, PathImport, with_rereads
from vaultembed.importing.paths import ImportProgress as ImportProgress
from vaultembed.importing.rereading import read_kept_again
from vaultembed.importing.size import size_of_files, total_size
from vaultembed.importing.writing import Raw as Raw
from vaultembed.msgvault.binding import CompareView as CompareView
from vaultembed.msgvault.binding import bind_what_is_here, unchecked_generations, way_out
from vaultembed.msgvault.files import ForeignDamageError, find_archive, is_vectors
from vaultembed.msgvault.moving_in import MsgvaultImport
from vaultembed.msgvault.opened import MsgvaultPaths, find_vectors
from vaultembed.msgvault.their_vectors import without_vectors
from vaultembed.msgvault.views import AdoptedView as AdoptedView
from vaultembed.msgvault.views import MsgvaultView as MsgvaultView
from vaultembed.msgvault.views import as_it_is_now
from vaultembed.service.backup import migration_notes
from vaultembed.service.disk_space import needed_by_import, space_needed_hint
from vaultembed.service.result import Result

_MOST_REASONS: Final = 20
"""Why mail was not read that a note is made of."""


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
    unread: tuple[Unread, ...]
    """What could not be read and no import has said so before."""
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

    A path that does not exist, holds no mail, or none that can be read, is named in the notes; the others go through,
    and the exit code is 3. So it is where anything within them could not be read, the first time that this is said.

    Raises:
        UsageError: none of the paths exists.
    """
    started = time.monotonic()
    present = [path for path in paths if os.path.lexists(path)] or paths
    parsers = Parsers(should_stop)
    run = _Import(present, find_archives(present, vectors), parsers, raw, on_progress, should_stop)
    run.refused += [f"Not imported: {path} does not exist" for path in paths if path not in present]
    with (
        parsers,
        space_needed_hint(lambda: needed_by_import(archive_path, run.bytes_left())),
        open_archive(archive_path) as archive,
    ):
        migrated = migration_notes(archive)
        refresh_stale(archive, should_stop)
        run.read_into(archive)
        if not should_stop():
            refresh_stale(archive)  # messages of chats that have another name
        compared = bind_what_is_here(archive, should_stop) if run.views and not should_stop() else []
        views = tuple(as_it_is_now(archive, view) for view in run.views)
        unchecked = unchecked_generations(archive) if views else []
        filled, active = generation_to_fill(archive), generation_in_state(archive, "active")
        ways_out = [way_out(each, next((c for c in compared if c.generation == each.id), None)) for each in unchecked]
        coverage = coverage_of(archive, filled.id if filled else None)
        outdated = count_outdated(archive)
        interrupted = should_stop()
        unread = () if interrupted else tuple(tell_unread(archive))
    data = Imported(
        archive_path,
        tuple(paths),
        run.counts,
        views,
        tuple(compared),
        time.monotonic() - started,
        unread,
        interrupted,
    )
    notes = [*run.refused, *run.passed_by, *migrated, *_notes(data)]
    if outdated and not interrupted:
        notes.append(
            f"{outdated:,} messages were read by an earlier version. Import their sources again; if those are out of"
            " reach: vaultembed import --reread"
        )
    if not (interrupted and run.views):  # of an adopted generation nothing is in use before the end
        answers = active is not None and active.is_checked
        notes += next_steps(ways_out, answers, run.counts, coverage if run.views else None)
    failed = len(run.refused) == len(paths) or any(view.left_out for view in run.views)
    exit_code = 130 if interrupted else 1 if failed else 3 if run.refused or unread else 0
    return Result("import", data, tuple(notes), exit_code)


def read_again(
    archive_path: Path,
    *,
    on_progress: Callable[[ImportProgress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[Imported]:
    """Read all messages again that an earlier version has read and that are kept as they were sent. An import does it
    for those of its sources; this is for those whose source is out of reach, or gone."""
    require_archive(archive_path)
    started = time.monotonic()
    counts = ImportCounts()
    with Parsers(should_stop) as parsers, open_archive(archive_path) as archive:
        migrated = migration_notes(archive)
        total = count_outdated(archive)

        def on_batch(done: Collection[Reread]) -> None:
            nonlocal counts
            counts = with_rereads(counts, done)
            on_progress(ImportProgress(archive_path, counts.reread, counts.reread, total, time.monotonic() - started))

        read_kept_again(archive, parsers, None, on_batch, should_stop)
    seconds = time.monotonic() - started
    data = Imported(archive_path, (), counts, (), (), seconds, (), interrupted=should_stop())
    return Result("import", data, (*migrated, *_notes(data)), 130 if data.interrupted else 0)


class _Import:
    """Reads one path after the other, and keeps what became of them."""

    def __init__(
        self,
        paths: Sequence[Path],
        archives: Mapping[Path, MsgvaultPaths],
        parsers: Parsers,
        raw: Raw,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._paths = paths
        self._archives = archives
        self._parsers = parsers
        self._raw = raw
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._read: dict[Path, ImportProgress] = {}
        self.counts = ImportCounts()
        self.views: list[MsgvaultView] = []
        self.refused: list[str] = []
        """What was not imported, for a person."""
        self.passed_by: list[str] = []

    def read_into(self, archive: Archive) -> None:
        for path in self._paths:
            before = self.counts
            try:
                self._read_path(archive, path)
            except (UsageError, ForeignDamageError) as error:  # no mail there; the other paths go through
                self.refused.append(f"Not imported: {error.message}")
                continue
            if self.counts.unread > before.unread and self.counts.messages == before.messages:
                self.refused.append(f"Not imported: nothing in {path} could be read. Why: vaultembed problems")
            if self._should_stop():
                break

    def _read_path(self, archive: Archive, path: Path) -> None:
        if path not in self._archives:
            run = PathImport(archive, self._parsers, path, self._raw, self.counts, self._note, self._should_stop)
            self.counts = run.run()
            return
        pair = self._archives[path]
        adopting = MsgvaultImport(archive, self._parsers, pair, self._raw, self.counts, self._note, self._should_stop)
        archive.load_vec()
        self.views.append(adopting.run())
        self.counts = adopting.counts
        self.passed_by += beside(path, pair.archive)

    def _note(self, at: ImportProgress) -> None:
        self._read[at.path] = at
        self._on_progress(at)

    def bytes_left(self) -> int:
        """Of the sources, about."""
        left = total_size([path for path in self._paths if path not in self._archives])
        left -= sum(at.done for path, at in self._read.items() if path not in self._archives)
        for pair in self._archives.values():
            at = self._read.get(pair.archive)
            share = at.done / at.total if at and at.total else 0.0
            left += round((1 - share) * size_of_files([pair.archive, *([pair.vectors] if pair.vectors else [])]))
        return left


def _not_read(unread: Unread) -> str:
    where = unread.first if unread.number == 1 else f"{unread.number:,}, the first {unread.first}"
    return f"Not read: {where}: {unread.why}"


def _notes(imported: Imported) -> list[str]:
    notes = []
    counts = imported.counts
    if imported.interrupted:
        notes.append("Interrupted; what was read is safe. The same command goes on from here.")
    notes += [_not_read(each) for each in imported.unread[:_MOST_REASONS]]
    said = sum(each.number for each in imported.unread[:_MOST_REASONS])
    if counts.unread > said:
        notes.append(f"{counts.unread - said:,} {'more ' if said else ''}could not be read: vaultembed problems")
    if counts.problems:
        notes.append(f"{counts.problems:,} with something missing or not as it was sent: vaultembed problems")
    if counts.deleted:
        notes.append(f"{counts.deleted:,} were deleted from the archive before and stay so. Which: vaultembed undelete")
    notes += [note for view in imported.msgvault for note in lacking(view)]
    for each in (generation for view in imported.msgvault for generation in view.generations):
        is_taken_over = any(view.generation == each.generation and view.into is not None for view in imported.compared)
        if each.state_here == "retired" and not imported.interrupted and not is_taken_over:
            notes.append(
                f"Generation {each.generation}, from msgvault, is out of service: one of another model is in use here,"
                " and embeds these messages anew"
            )
    return notes


def lacking(view: MsgvaultView) -> list[str]:
    """Vectors, or messages, that there should be: the commonest cause is a copy that was made while msgvault ran."""
    reasons = ("vectors missing", "unknown stamp")
    number = max((sum(each.again.get(reason, 0) for reason in reasons) for each in view.generations), default=0)
    notes = [without_vectors(number)] if number else []
    if view.beyond and not os.path.exists(f"{view.path}-wal"):
        notes.append(
            f"vectors.db has vectors of {view.beyond:,} messages later than the last of msgvault.db. Were they removed"
            " there? If it is a copy: was msgvault.db-wal copied with it?"
        )
    return notes


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


def next_steps(ways_out: Sequence[str], answers: bool, counts: ImportCounts, adopted: Coverage | None) -> list[str]:
    """`ways_out`: for msgvault's generations whose model was not found. `answers`: another one does, by meaning.
    `adopted`: of the generation to be filled, after an import from msgvault."""
    if ways_out and answers:
        return [
            "Search works now, by words and by meaning. To go on without what is being built: vaultembed embeddings"
            f" discard. To put it to use: {each}"
            for each in ways_out
        ]
    if ways_out:
        return [f"Text search works now. For search by meaning: {each}" for each in dict.fromkeys(ways_out)]
    if adopted is not None and adopted.missing < adopted.live:
        if not adopted.missing:
            return ["Search works now, by words and by meaning."]
        missing = f"{adopted.missing:,} messages are still to be embedded: vaultembed embeddings build"
        return [f"Search works now, by words and by meaning. {missing}"]
    if counts.added or counts.updated:
        return ["Text search works now. For search by meaning: vaultembed embeddings build"]
    return []
