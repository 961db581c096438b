"""`vaultembed repair-encoding`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn

import typer

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, say
from vaultembed.paths import archive_path
from vaultembed.service.display import visible
from vaultembed.service.repair_runs import RunsView, UndoView, repair_runs, undo_repair
from vaultembed.service.repairing import (
    FIELDS,
    ChangeLine,
    Field,
    RepairRequest,
    RepairView,
    repair_encoding,
)
from vaultembed.service.result import Result

SHOWN: Final = 20
_WIDTH: Final = 60
_HOW: Final = {
    "raw": "read again from the message as it was sent",
    "decoded": "an encoding was left on",
    "detected": "in another charset",
    "reversed": "a wrong reading undone",
    "replaced": "bytes that are no text replaced",
    "body": "made again from the body",
}


def run(archive: Path | None, request: RepairRequest, *, as_json: bool) -> NoReturn:
    def call() -> Result[RepairView]:
        progress = Progress("Looking" if request.dry_run else "Repairing")
        try:
            with stopping() as stop:
                result = repair_encoding(
                    archive_path(archive),
                    request,
                    on_progress=lambda done, total, seconds: progress.update(
                        done, total, seconds, f"{done:,} of {count(total, 'message')}"
                    ),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("repair-encoding", call, render, as_json=as_json, text=visible)


def run_undo(archive: Path | None, run_id: int, *, as_json: bool) -> NoReturn:
    def call() -> Result[UndoView]:
        with stopping() as stop:
            return stop.exit_code(undo_repair(archive_path(archive), run_id, should_stop=stop))

    finish("repair-encoding", call, render_undo, as_json=as_json)


def run_list(archive: Path | None, *, as_json: bool) -> NoReturn:
    finish("repair-encoding", lambda: repair_runs(archive_path(archive)), render_runs, as_json=as_json)


def render(data: RepairView) -> None:
    for change in data.changes:
        _render_change(change)
    texts = sum(data.changed.values())
    if texts > len(data.changes):
        say(f"and {texts - len(data.changes):,} more; --json lists all.")
    say(
        f"{count(data.messages, 'message')} looked at, {data.suspects:,} of them more closely"
        f" ({data.raw_read:,} as they were sent)."
    )
    if not texts:
        return
    by_field = ", ".join(f"{number:,} {name}" for name, number in sorted(data.changed.items(), key=lambda one: -one[1]))
    verb = "would be repaired" if data.dry_run else "repaired"
    say(f"{count(texts, 'text')} of {count(data.repaired_messages, 'message')} {verb}: {by_field}.")
    for method, number in sorted(data.methods.items(), key=lambda one: -one[1]):
        say(f"  {number:>7,}  {_HOW.get(method, method)}")


def _render_change(change: ChangeLine) -> None:
    before, after = _around_difference(change.before, change.after)
    where = f"{change.field} {change.place}".strip()
    say(f"{change.message_id}  {where}  ({change.how}, {change.confidence:.0%})")
    say(f"    - {before}")
    say(f"    + {after}")


def _around_difference(before: str, after: str) -> tuple[str, str]:
    """Both on one line each, from shortly before they begin to differ."""
    both = zip(before, after, strict=False)
    start = next((i for i, (a, b) in enumerate(both) if a != b), min(len(before), len(after)))
    start = max(0, start - 15)
    return _one_line(before, start), _one_line(after, start)


def _one_line(text: str, start: int) -> str:
    shown = " ".join(text[start : start + _WIDTH].split())
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + _WIDTH else ''}"


def render_undo(data: UndoView) -> None:
    say(f"{count(data.undone, 'text')} put back as before repair {data.run}.")


def render_runs(data: RunsView) -> None:
    for found in data.runs:
        state = "" if found.finished else ", interrupted"
        undone = f", {found.undone:,} undone" if found.undone else ""
        say(f"{found.id}  {found.started_at}  {count(found.repairs, 'text')} repaired{undone}{state}")


def fields_of(names: list[str]) -> tuple[Field, ...]:
    for name in names:
        if name not in FIELDS:
            raise typer.BadParameter(f"{name!r} is not a field; fields are {', '.join(FIELDS)}", param_hint="--only")
    return tuple(name for name in FIELDS if name in names)


def ids_of(listing: str | None) -> tuple[int, ...]:
    parts = [part.strip() for part in (listing or "").replace(" ", ",").split(",") if part.strip()]
    if any(not (part.isascii() and part.isdigit() and 0 < int(part) < 2**63) for part in parts):
        raise typer.BadParameter(f"{listing!r} is not a list of ids, such as 17,18,23", param_hint="--ids")
    return tuple(dict.fromkeys(int(part) for part in parts))
