"""`repair-encoding --undo` and `--runs`: the repairs there were, and putting texts back as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations.records import coverage_of, generation_to_fill
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.mail.repairs import list_runs, repairs_of_run, undo_changes
from vaultembed.archive.mail.stored_texts import Change, read_embedded_texts
from vaultembed.errors import UsageError
from vaultembed.service.backup import migration_notes
from vaultembed.service.repairing import BATCH, after_changes, is_embedded_alike
from vaultembed.service.result import Result, iso
from vaultembed.text.embeddable.prepare import base_subject


@dataclass(frozen=True, slots=True)
class UndoView:
    archive: Path
    run: int
    undone: int
    changed_since: int
    """Texts that are not what the repair made of them any more; they stay as they are."""
    missing: int
    """Messages to be embedded, in the generation that a build fills."""


@dataclass(frozen=True, slots=True)
class RunLine:
    id: int
    started_at: str | None
    finished: bool
    repairs: int
    undone: int


@dataclass(frozen=True, slots=True)
class RunsView:
    archive: Path
    runs: tuple[RunLine, ...]


def undo_repair(
    archive_path: Path, run_id: int, *, should_stop: Callable[[], bool] = lambda: False
) -> Result[UndoView]:
    """Put every text that a run changed back as it was. Exit code 3 if some have changed since and were left.

    Raises:
        UsageError: there is no such run.
    """
    require_archive(archive_path)
    undone = changed_since = 0
    with open_archive(archive_path) as archive:
        if run_id not in {run.id for run in list_runs(archive)}:
            raise UsageError(f"there is no repair {run_id}", "To list them: vaultembed repair-encoding --runs")
        after = 2**63 - 1
        while not should_stop() and (repairs := repairs_of_run(archive, run_id, after, BATCH)):
            after = repairs[-1][0]
            with archive.transaction():
                for message_id, of_message in _by_message(repairs).items():
                    before = read_embedded_texts(archive, message_id)
                    keeps = is_embedded_alike(before, after_changes(before, [change for _, change in of_message]))
                    done = undo_changes(archive, message_id, of_message, keeps_embedding=keeps)
                    undone += len(done)
                    changed_since += len(of_message) - len(done)
        refresh_stale(archive)  # messages of chats whose names were put back
        notes = list(migration_notes(archive))
        generation = generation_to_fill(archive)
        missing = 0 if generation is None else coverage_of(archive, generation.id).missing
    if should_stop():
        notes.append("Interrupted; what is undone stays so. The same command goes on.")
    if changed_since:
        notes.append(f"{changed_since:,} texts have changed since they were repaired; they were left as they are.")
    if missing:
        notes.append(f"{missing:,} messages are to be embedded. Next: vaultembed embeddings build")
    exit_code = 130 if should_stop() else 3 if changed_since else 0
    view = UndoView(archive_path, run_id, undone, changed_since, missing)
    return Result("repair-encoding", view, tuple(notes), exit_code)


def _by_message(repairs: Iterable[tuple[int, Change]]) -> dict[int, list[tuple[int, Change]]]:
    found: dict[int, list[tuple[int, Change]]] = {}
    for repair_id, change in repairs:
        key = base_subject(change.before.decode("utf-8", "replace"))[0] if change.at.field == "conversation" else ""
        back = Change(change.at, change.after, change.before, change.method, change.confidence, key)
        found.setdefault(change.at.message_id, []).append((repair_id, back))
    return found


def repair_runs(archive_path: Path) -> Result[RunsView]:
    """The runs that have changed something."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        runs = tuple(
            RunLine(run.id, iso(run.started_at), run.ended_at is not None, run.repairs, run.undone)
            for run in list_runs(archive)
        )
    note = "To take one back: vaultembed repair-encoding --undo RUN" if runs else "Nothing was ever repaired here."
    return Result("repair-encoding", RunsView(archive_path, runs), (note,))
