"""`backup` and `restore`: a whole copy of the archive, and the way back."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaultembed.archive.backup import COMPANIONS, Contents, Stopped, check_place
from vaultembed.archive.database import Archive, open_older_readonly
from vaultembed.archive.migrations import migrate_command
from vaultembed.archive.schema_files import latest_version
from vaultembed.archive.upkeep.copying import copy_archive
from vaultembed.archive.upkeep.restore import check_copy, has_archive, restore_copy
from vaultembed.errors import StorageError, UsageError
from vaultembed.service.result import Result, iso


@dataclass(frozen=True, slots=True)
class ContentsView:
    schema_version: int
    messages: int
    deleted: int
    generations: int
    vectors: int
    first_sent_at: str | None
    last_sent_at: str | None
    last_added_at: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class BackupView:
    archive: Path
    backup: Path
    contents: ContentsView | None
    """None: it was interrupted, and there is no backup."""
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckView:
    backup: Path
    contents: ContentsView | None
    """None: it was interrupted."""
    seconds: float


@dataclass(frozen=True, slots=True)
class RestoreView:
    archive: Path
    backup: Path
    contents: ContentsView | None
    """None: it was interrupted, and nothing was changed."""
    replaced: Path | None
    """Where the archive is that was there before."""
    seconds: float


@dataclass(frozen=True, slots=True)
class CopyProgress:
    phase: Literal["copying", "checking"]
    bytes_done: int
    bytes_total: int
    seconds: float


OnProgress = Callable[[CopyProgress], None]


def back_up(
    archive_path: Path,
    destination: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[BackupView]:
    """Copy the archive to a file, and check the copy; others may read and write the archive meanwhile.

    Raises:
        UsageError: the destination exists, unless `overwrite`; or is the archive itself.
        DamageError: the archive is damaged; no backup was made.
        BusyError: another backup to the same place is being made.
        DiskFullError, StorageError: the destination cannot be written.
    """
    telling = _Telling(on_progress)
    with open_older_readonly(archive_path) as archive:
        _check_destination(archive_path, destination, overwrite=overwrite)
        try:
            contents = copy_archive(
                archive,
                destination,
                overwrite=overwrite,
                on_step=telling.on_step,
                on_check=telling.on_check,
                should_stop=should_stop,
            )
        except Stopped:
            note = "Interrupted: no backup was made, and what was there is as it was."
            return Result("backup", BackupView(archive_path, destination, None, telling.seconds), (note,), 130)
    return Result("backup", BackupView(archive_path, destination, _view(contents), telling.seconds))


def check_backup(path: Path, *, should_stop: Callable[[], bool] = lambda: False) -> Result[CheckView]:
    """Whether a backup is whole, and what it holds; changes nothing.

    Raises:
        UsageError: no such file, or no archive.
        DamageError: it is damaged.
    """
    started = time.monotonic()
    try:
        contents = check_copy(path, should_stop)
    except Stopped:
        note = "Interrupted: whether it is whole is not known."
        return Result("restore", CheckView(path, None, time.monotonic() - started), (note,), 130)
    notes = _notes(contents, "Once restored, bring it up to date: vaultembed migrate --archive FILE")
    return Result("restore", CheckView(path, _view(contents), time.monotonic() - started), notes)


def would_replace(archive_path: Path) -> bool:
    """Whether a restore would move an archive aside, so that `replace` is needed.

    Raises:
        UsageError: there is something else at its place.
    """
    return has_archive(archive_path)


def restore(
    path: Path,
    archive_path: Path,
    *,
    replace: bool = False,
    on_progress: OnProgress = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[RestoreView]:
    """Make the archive a copy of a backup. An archive that is there is moved aside, if `replace` says so.

    Raises:
        UsageError: an archive is there, and not to be replaced; or the backup is no archive.
        DamageError: the backup is damaged; nothing was changed.
        BusyError: another process has the archive open.
        DiskFullError, StorageError: the archive's place cannot be written.
    """
    telling = _Telling(on_progress)
    try:
        contents, replaced = restore_copy(
            path,
            archive_path,
            replace=replace,
            on_step=telling.on_step,
            on_check=telling.on_check,
            should_stop=should_stop,
        )
    except Stopped:
        note = "Interrupted: nothing was changed."
        return Result("restore", RestoreView(archive_path, path, None, None, telling.seconds), (note,), 130)
    view = RestoreView(archive_path, path, _view(contents), replaced, telling.seconds)
    return Result("restore", view, _notes(contents, f"Bring it up to date: {migrate_command(archive_path)}"))


def migration_notes(archive: Archive) -> tuple[str, ...]:
    """What a command must say whose opening of the archive brought it up to date, or finished what was begun."""
    notes = [f"Finished what an import had left to be done: {done}." for done in archive.steps_taken]
    if archive.migrated is not None:
        before, now = archive.migrated.from_version, latest_version()
        kept = archive.migrated.backup
        notes.append(f"The archive was brought from schema version {before} to {now}. Before: {kept}")
    return tuple(notes)


def _check_destination(archive_path: Path, destination: Path, *, overwrite: bool) -> None:
    try:
        str(destination).encode()  # or SQLite cannot open it
        _require_elsewhere(archive_path, destination)
        check_place(destination, overwrite=overwrite)
    except ValueError as error:
        raise UsageError(f"{destination} cannot be the name of a backup: it is not UTF-8") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{destination} cannot be the name of a backup: {error.strerror}") from error
        raise StorageError(f"cannot write {destination}: {error.strerror}") from error


def _require_elsewhere(archive_path: Path, destination: Path) -> None:
    archive = archive_path.resolve()
    taken = {archive, *(archive.with_name(archive.name + end) for end in COMPANIONS)}
    same = destination.exists() and destination.samefile(archive_path)
    if same or destination.resolve() in taken:
        raise UsageError(f"{destination} is the archive itself", "Name another file for the backup.")


def _notes(contents: Contents, what_then: str) -> tuple[str, ...]:
    if contents.schema_version < latest_version():
        return (f"It has the schema of an older vaultembed. {what_then}",)
    return ()


def _view(contents: Contents) -> ContentsView:
    return ContentsView(
        schema_version=contents.schema_version,
        messages=contents.messages,
        deleted=contents.deleted,
        generations=contents.generations,
        vectors=contents.vectors,
        first_sent_at=iso(contents.first_sent_at),
        last_sent_at=iso(contents.last_sent_at),
        last_added_at=iso(contents.last_added_at),
        bytes=contents.data_bytes,
    )


class _Telling:
    """Turns steps into progress."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._total = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def on_step(self, done: int, total: int) -> None:
        self._total = total
        self._on_progress(CopyProgress("copying", done, total, self.seconds))

    def on_check(self) -> None:
        self._on_progress(CopyProgress("checking", self._total, self._total, self.seconds))
