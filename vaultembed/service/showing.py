"""`show` and `problems`: one message whole, and what was wrong with which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.mail.problems import KindCount, ProblemRow, count_by_kind, count_by_weight, list_problems
from vaultembed.archive.mail.reading import (
    AttachmentRow,
    Line,
    PlaceRow,
    RecipientRow,
    read_details,
    read_raw,
)
from vaultembed.errors import VaultembedError
from vaultembed.message import Person, Reaction
from vaultembed.service.listing import no_message
from vaultembed.service.result import Result, iso
from vaultembed.text.problems import Weight


@dataclass(frozen=True, slots=True)
class ConversationEntry:
    id: int
    date: str | None
    sender: str
    subject: str
    text: str
    """How it begins; where it has no text, its attachments."""


@dataclass(frozen=True, slots=True)
class MessageView:
    id: int
    rfc822_message_id: str | None
    date: str | None
    sender_name: str
    sender_address: str
    recipients: tuple[RecipientRow, ...]
    subject: str
    list_id: str | None
    labels: tuple[str, ...]
    attachments: tuple[AttachmentRow, ...]
    body_text: str
    places: tuple[PlaceRow, ...]
    problems: tuple[ProblemRow, ...]
    reactions: tuple[Reaction, ...]
    reply_to: ConversationEntry | None
    """The message that it answers, where that is here."""
    chat: str | None
    """The name of the chat that it belongs to, "" where it has none; None of mail."""
    people: tuple[Person, ...]
    """Of its conversation."""
    conversation: tuple[ConversationEntry, ...]


@dataclass(frozen=True, slots=True)
class ProblemsView:
    weights: dict[Weight, int]
    """Messages, and places of which none could be made: each once, by the worst of what is wrong with it."""
    kinds: tuple[KindCount, ...]
    problems: tuple[ProblemRow, ...]


def show_message(archive_path: Path, message_id: int) -> Result[MessageView]:
    """One message whole.

    Raises:
        MessageMissingError: there is none with that id.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        details = read_details(archive, message_id)
    if details is None:
        raise no_message(message_id)
    summary = details.summary
    view = MessageView(
        id=summary.id,
        rfc822_message_id=summary.rfc822_message_id,
        date=iso(summary.sent_at, summary.zone_minutes),
        sender_name=summary.sender_name,
        sender_address=summary.sender_address,
        recipients=details.recipients,
        subject=summary.subject,
        list_id=details.list_id,
        labels=details.labels,
        attachments=details.attachments,
        body_text=details.body_text,
        places=details.places,
        problems=details.problems,
        reactions=details.reactions,
        reply_to=_entry(details.reply_to) if details.reply_to else None,
        chat=summary.chat,
        people=details.people,
        conversation=tuple(_entry(entry) for entry in details.conversation),
    )
    return Result("show", view)


def raw_message(archive_path: Path, message_id: int) -> bytes:
    """The message as it was sent.

    Raises:
        VaultembedError: there is none with that id, or its raw form was not kept.
    """
    with open_archive_readonly(archive_path) as archive:
        raw = read_raw(archive, message_id)
    if raw is None:
        raise VaultembedError(
            f"there is no raw form of message {message_id}", "It was imported with --raw none, or does not exist."
        )
    return raw


def show_problems(archive_path: Path, *, kind: str | None = None, limit: int = 100) -> Result[ProblemsView]:
    """What could not be read as it should. What was guessed is listed by its `kind` alone."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        weights, kinds = count_by_weight(archive), tuple(count_by_kind(archive))
        problems = tuple(list_problems(archive, kind, limit))
    notes = []
    if len(problems) == limit:
        notes.append(f"The first {limit:,}. More: -n {10 * limit}")
    if kind is None and weights["guessed"]:
        guessed = next(each.kind for each in kinds if each.weight == "guessed")
        notes.append(f"What was guessed is not listed. Which: vaultembed problems --kind {guessed}")
    known = ", ".join(each.kind for each in kinds) or "none"
    if kind is not None and not problems:
        notes.append(f"No problem of kind {kind}. Kinds there are: {known}")
    elif not kinds:
        notes.append("No problems.")
    return Result("problems", ProblemsView(weights, kinds, problems), tuple(notes))


def _entry(line: Line) -> ConversationEntry:
    summary = line.summary
    date = iso(summary.sent_at, summary.zone_minutes)
    sender = summary.sender_name or summary.sender_address
    return ConversationEntry(summary.id, date, sender, summary.subject, line.text)
