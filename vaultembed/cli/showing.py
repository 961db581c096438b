"""`vaultembed show` and `vaultembed problems`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NoReturn

import typer

from vaultembed.cli.output import finish, reported_errors, written
from vaultembed.cli.wording import count, safe_line, say, size, style
from vaultembed.paths import archive_path
from vaultembed.service.display import visible
from vaultembed.service.showing import (
    ConversationEntry,
    MessageView,
    ProblemsView,
    raw_message,
    show_message,
    show_problems,
)

_MOST_PEOPLE: Final = 20
_AROUND: Final = 50
"""Messages of its conversation, before it and after it: of a chat there may be 20,000."""


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
        line(kind.capitalize(), _listed([_person(r.name, r.address) for r in data.recipients if r.kind == kind]))
    line("Date", data.date or "")
    line("Chat", data.chat or "")
    line("Subject", data.subject)
    if data.reply_to is not None:
        line("Reply to", f"{data.reply_to.id}  {_said(data.reply_to, data.chat)}")
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
    if data.reactions:
        say("")
    for reaction in data.reactions:
        who = (reaction.person.name or reaction.person.address) if reaction.person else "somebody"
        say(f"{safe_line(reaction.reaction)} {safe_line(who)}")
    if len(data.conversation) > 1:
        _render_conversation(data)


def _render_conversation(data: MessageView) -> None:
    what = f"Conversation of {count(len(data.conversation), 'message')}"
    if data.chat is not None:
        name = f"{safe_line(data.chat)}, c" if data.chat else "C"
        people = [safe_line(person.name or person.address) for person in data.people]
        what = f"{name}hat of {count(len(data.conversation), 'message')} with {_listed(people)}"
    say(f"\n{what}:")
    at = next((i for i, entry in enumerate(data.conversation) if entry.id == data.id), 0)
    first = max(at - _AROUND, 0)
    shown = data.conversation[first : at + _AROUND + 1]
    if first:
        say(f"   {first:>6,} before these")
    for entry in shown:
        here = "*" if entry.id == data.id else " "
        date = (entry.date or "")[: 10 if data.chat is None else 16].replace("T", " ")
        say(f" {here} {entry.id:>6}  {date:<10}  {_said(entry, data.chat)}")
    if after := len(data.conversation) - first - len(shown):
        say(f"   {after:>6,} after these")


def _said(entry: ConversationEntry, chat: str | None) -> str:
    """One line of a conversation: in mail its subject, in a chat what was said."""
    said = (entry.subject,) if chat is None else (entry.subject, entry.text)
    parts = [safe_line(part) for part in said if part] or ["(no subject)" if chat is None else "(no text)"]
    return ": ".join([safe_line(entry.sender), *parts])


def _listed(people: list[str]) -> str:
    return ", ".join(people[:_MOST_PEOPLE]) + (
        f" and {len(people) - _MOST_PEOPLE} more" if len(people) > _MOST_PEOPLE else ""
    )


def render_problems(data: ProblemsView) -> None:
    meanings = {
        "unread": "could not be read: at most a header is in the archive",
        "incomplete": "with something missing, or not as it was sent",
        "guessed": "read by a guess, most likely right",
    }
    for weight, number in data.weights.items():
        if number:
            say(f"{number:>8,}  {meanings[weight]}")
        for each in data.kinds:
            if each.weight == weight:
                say(f"{each.number:>16,}  {safe_line(each.kind)}")
    if data.problems:
        say("")
    for problem in data.problems:
        which = f"message {problem.message_id}, {problem.locator}" if problem.message_id else problem.locator
        say(f"{safe_line(problem.kind)}: {safe_line(problem.detail)}\n    {safe_line(which)}")


def _person(name: str, address: str) -> str:
    return f"{name} <{address}>" if name else address
