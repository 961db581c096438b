"""`vaultembed delete` and `vaultembed undelete`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from vaultembed.cli.output import confirmed, finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, safe_line, say
from vaultembed.errors import UsageError
from vaultembed.paths import archive_path
from vaultembed.service.deletion import (
    DeletedView,
    DeletionView,
    MessageLine,
    Selection,
    UndeletionView,
    delete_messages,
    deleted_messages,
    select_messages,
    undelete_messages,
)
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """What `delete` was given."""

    arguments: list[str]
    as_query: bool
    forever: bool
    among_deleted: bool
    dry_run: bool
    shown: int
    yes: bool


def run_delete(archive: Path | None, request: DeleteRequest, *, as_json: bool) -> NoReturn:
    def call() -> Result[DeletionView]:
        if request.among_deleted and not request.forever:
            raise UsageError(
                "deleted messages can only be deleted for ever",
                "Add --forever. To list them: vaultembed undelete",
            )
        path = archive_path(archive)
        selection = select_messages(
            path,
            request.arguments,
            as_query=request.as_query,
            among_deleted=request.among_deleted,
            shown=request.shown,
        )
        if selection.ids and not request.dry_run:
            _ask(selection, forever=request.forever, yes=request.yes)
        progress = Progress("Deleting")
        try:
            with stopping() as stop:
                result = delete_messages(
                    path,
                    selection,
                    forever=request.forever,
                    dry_run=request.dry_run,
                    on_messages=lambda done: progress.update(
                        done, len(selection.ids), 0, f"{done:,} of {count(len(selection.ids), 'message')}"
                    ),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("delete", call, lambda data: render_delete(data, request), as_json=as_json)


def _ask(selection: Selection, *, forever: bool, yes: bool) -> None:
    number = count(len(selection.ids), "message")
    if not yes:
        for line in (*_reading(selection.read_as), *_lines(selection.first, len(selection.ids))):
            say(line, err=True)
    confirmed(f"Delete {number}?", yes=yes)
    if forever:
        confirmed(
            f"This removes {number} with text, raw form and vectors from the archive, and cannot be undone. Go on?",
            yes=yes,
        )


def run_undelete(ids: list[int], archive: Path | None, number: int, *, everything: bool, as_json: bool) -> NoReturn:
    def call() -> Result[UndeletionView]:
        if ids and everything:
            raise UsageError("both ids and --all are given", "Give one of the two.")
        with stopping() as stop:
            result = undelete_messages(archive_path(archive), None if everything else ids, should_stop=stop)
            return stop.exit_code(result)

    if ids or everything:
        finish("undelete", call, render_undelete, as_json=as_json)
    finish("undelete", lambda: deleted_messages(archive_path(archive), number), render_deleted, as_json=as_json)


def render_delete(data: DeletionView, request: DeleteRequest) -> None:
    what = f"{count(data.selected, 'message')} would be" if data.dry_run else count(data.deleted, "message")
    say(f"{what} deleted{' for ever' if data.forever else ''}.")
    was_asked = data.selected and not (data.dry_run or request.yes)  # and was told then
    for line in [] if was_asked else _reading(data.read_as):
        say(line)
    for line in _lines(data.first, data.selected) if data.dry_run else []:
        say(line)


def render_deleted(data: DeletedView) -> None:
    for line in _lines(data.messages, len(data.messages)):
        say(line)


def render_undelete(data: UndeletionView) -> None:
    say(f"{count(data.undeleted, 'message')} brought back.")


def _reading(query: str | None) -> list[str]:
    return [] if query is None else [f"Read as: {safe_line(query)}"]


def _lines(messages: tuple[MessageLine, ...], total: int) -> list[str]:
    lines = []
    for message in messages:
        deleted = f" (deleted {message.deleted_at[:10]})" if message.deleted_at else ""
        what = f"{safe_line(message.sender)}: {safe_line(message.subject)}"
        lines.append(f"{message.id:>8}  {(message.date or '')[:10]:<10}  {what}{deleted}")
    if total > len(messages):
        lines.append(f"          and {total - len(messages):,} more")
    return lines
