"""`vaultembed show` and `vaultembed problems`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import typer

from vaultembed.cli.output import finish, reported_errors, written
from vaultembed.cli.wording import count, safe_line, say, size, style
from vaultembed.paths import archive_path
from vaultembed.service.display import visible
from vaultembed.service.showing import MessageView, ProblemsView, raw_message, show_message, show_problems


def run(message_id: int, archive: Path | None, *, as_json: bool) -> NoReturn:
    finish("show", lambda: show_message(archive_path(archive), message_id), render, as_json=as_json, text=visible)


def run_raw(message_id: int, archive: Path | None) -> None:
    with reported_errors("show", as_json=False):
        raw = raw_message(archive_path(archive), message_id)
        with written():
            if sys.stdout.isatty():
                for line in raw.splitlines():  # bytes that are no UTF-8 are written out as \xff
                    typer.echo(visible(line.decode("utf-8", "surrogateescape")))
            else:
                sys.stdout.buffer.write(raw)
                sys.stdout.buffer.flush()


def run_problems(archive: Path | None, kind: str | None, number: int, *, as_json: bool) -> NoReturn:
    finish(
        "problems",
        lambda: show_problems(archive_path(archive), kind=kind, limit=number),
        render_problems,
        as_json=as_json,
    )


def render(data: MessageView) -> None:
    def line(name: str, value: str) -> None:
        if value:
            say(style(f"{name + ':':<12}", bold=True) + " " + safe_line(value))

    line("From", _person(data.sender_name, data.sender_address))
    for kind in ("to", "cc", "bcc", "mention"):
        people = [_person(r.name, r.address) for r in data.recipients if r.kind == kind]
        line(kind.capitalize(), ", ".join(people[:20]) + (f" and {len(people) - 20} more" if len(people) > 20 else ""))
    line("Date", data.date or "")
    line("Subject", data.subject)
    line("List", data.list_id or "")
    line("Labels", ", ".join(data.labels))
    line("Message-ID", data.rfc822_message_id or "")
    for attachment in data.attachments:
        line("Attachment", f"{attachment.filename or '(no name)'} ({attachment.mime_type}, {size(attachment.size)})")
    for place in data.places:
        flags = f" [{' '.join(place.flags)}]" if place.flags else ""
        line("Found in", place.locator + flags + (" (gone since)" if place.gone else ""))
    for problem in data.problems:
        line("Problem", f"{problem.kind}: {problem.detail}")
    say("")
    typer.echo(visible(data.body_text) or "(no text)")
    if len(data.conversation) > 1:
        say(f"\nConversation of {count(len(data.conversation), 'message')}:")
        for entry in data.conversation:
            here = "*" if entry.id == data.id else " "
            who = f"{safe_line(entry.sender)}: {safe_line(entry.subject)}"
            say(f" {here} {entry.id:>6}  {(entry.date or '')[:10]:<10}  {who}")


def render_problems(data: ProblemsView) -> None:
    for kind, number in data.counts.items():
        say(f"{number:>8,}  {safe_line(kind)}")
    if data.problems:
        say("")
    for problem in data.problems:
        which = f"message {problem.message_id}, {problem.locator}" if problem.message_id else problem.locator
        say(f"{safe_line(problem.kind)}: {safe_line(problem.detail)}\n    {safe_line(which)}")


def _person(name: str, address: str) -> str:
    return f"{name} <{address}>" if name else address
