"""`vaultembed backup`, `vaultembed restore` and `vaultembed migrate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from vaultembed.cli.output import Stop, confirmed, finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, duration, say, size
from vaultembed.failpoints import failpoint
from vaultembed.paths import archive_path
from vaultembed.service.backup import (
    BackupView,
    CheckView,
    ContentsView,
    CopyProgress,
    OnProgress,
    RestoreView,
    back_up,
    check_backup,
    restore,
    would_replace,
)
from vaultembed.service.migration import MigrationView, migrate, plan_migration
from vaultembed.service.result import Result


def run_backup(destination: Path, archive: Path | None, *, overwrite: bool, as_json: bool) -> NoReturn:
    def call() -> Result[BackupView]:
        with _shown("Backing up") as (on_progress, stop):
            result = back_up(
                archive_path(archive),
                destination,
                overwrite=overwrite,
                on_progress=on_progress,
                should_stop=stop,
            )
            return stop.exit_code(result)

    finish("backup", call, render_backup, as_json=as_json)


def run_check(backup: Path, *, as_json: bool) -> NoReturn:
    def call() -> Result[CheckView]:
        with _shown("Checking") as (_, stop):
            return stop.exit_code(check_backup(backup, should_stop=stop))

    finish("restore", call, render_check, as_json=as_json)


def run_restore(backup: Path, archive: Path | None, *, yes: bool, as_json: bool) -> NoReturn:
    def call() -> Result[RestoreView]:
        target = archive_path(archive)
        replace = would_replace(target)  # looked at once: what appears after the question was not agreed to
        failpoint("restore.after_look")
        if replace and not yes:
            found = _checked(backup)
            if found is None:
                note = "Interrupted: nothing was changed."
                return Result("restore", RestoreView(target, backup, None, None, 0), (note,), 130)
            confirmed(
                f"Replace {target} with {backup} ({count(found.messages, 'message')}, {size(found.bytes)})?"
                " It is moved aside, not deleted.",
                yes=yes,
            )
        with _shown("Restoring") as (on_progress, stop):
            result = restore(backup, target, replace=replace, on_progress=on_progress, should_stop=stop)
            return stop.exit_code(result)

    finish("restore", call, render_restore, as_json=as_json)


def run_migrate(to: int | None, archive: Path | None, *, yes: bool, as_json: bool) -> NoReturn:
    def call() -> Result[MigrationView]:
        path = archive_path(archive)
        plan = plan_migration(path, to)
        if plan.to_version < plan.from_version:
            lost = "; ".join(plan.lost) or "nothing that it holds"
            confirmed(
                f"Bring {path} from schema version {plan.from_version} down to {plan.to_version}? It loses: {lost}."
                " A backup is made first.",
                yes=yes,
            )
        return migrate(path, to)

    finish("migrate", call, render_migrate, as_json=as_json)


def _checked(backup: Path) -> ContentsView | None:
    """None where it was interrupted."""
    with _shown("Checking") as (_, stop):
        return check_backup(backup, should_stop=stop).data.contents


@contextmanager
def _shown(what: str) -> Iterator[tuple[OnProgress, Stop]]:
    progress = Progress(what)

    def on_progress(at: CopyProgress) -> None:
        detail = f"{size(at.bytes_done)} of {size(at.bytes_total)}" if at.phase == "copying" else "checking the copy"
        progress.update(at.bytes_done, at.bytes_total, at.seconds, detail)

    try:
        with stopping() as stop:
            yield on_progress, stop
    finally:
        progress.close()


def render_backup(data: BackupView) -> None:
    if data.contents is None:
        return
    say(f"{data.backup}: {size(data.contents.bytes)} in {duration(data.seconds)}, checked")
    _render_contents(data.contents)


def render_check(data: CheckView) -> None:
    if data.contents is None:
        return
    say(f"{data.backup} is whole: {size(data.contents.bytes)}")
    _render_contents(data.contents)


def render_restore(data: RestoreView) -> None:
    if data.contents is None:
        return
    say(f"{data.archive} is now what {data.backup} holds")
    _render_contents(data.contents)
    if data.replaced is not None:
        say(f"  the archive that was there: {data.replaced}")


def render_migrate(data: MigrationView) -> None:
    if data.from_version == data.to_version:
        say(f"{data.archive} has schema version {data.to_version}; nothing to do.")
        return
    say(f"{data.archive} was brought from schema version {data.from_version} to {data.to_version}")
    for lost in data.lost:
        say(f"  lost: {lost}")
    if data.backup is not None:
        say(f"  as it was before: {data.backup}")


def _render_contents(contents: ContentsView) -> None:
    deleted = f", {contents.deleted:,} deleted" if contents.deleted else ""
    dates = ""
    if contents.first_sent_at and contents.last_sent_at:
        dates = f", sent {contents.first_sent_at[:10]} to {contents.last_sent_at[:10]}"
    say(f"  {count(contents.messages, 'message')}{deleted}{dates}")
    say(f"  {count(contents.vectors, 'vector')} in {count(contents.generations, 'generation')}")
    added = f", last message added {contents.last_added_at[:10]}" if contents.last_added_at else ""
    say(f"  schema version {contents.schema_version}{added}")
