"""Messages by date, the messages of a conversation, one message a page at a time, and counts by group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.conditions import shown_by
from vaultembed.archive.database import Archive, Within, open_archive_readonly
from vaultembed.archive.mail.grouping import Group, count_groups, count_matching
from vaultembed.archive.mail.grouping import Grouping as Grouping
from vaultembed.archive.mail.listing import Order as Order
from vaultembed.archive.mail.listing import Position as Position
from vaultembed.archive.mail.listing import (
    count_conversation,
    list_conversation,
    list_positions,
    read_body_part,
    read_facts,
)
from vaultembed.archive.mail.reading import (
    AttachmentRow,
    PlaceRow,
    RecipientRow,
    Summary,
    read_attachments,
    read_labels,
    read_people,
    read_places,
    read_reactions,
    read_recipients,
    read_reply_to,
    read_summary,
)
from vaultembed.errors import MessageMissingError
from vaultembed.message import Person
from vaultembed.message import Reaction as Reaction
from vaultembed.search.filters import Filters
from vaultembed.service.result import Result, iso
from vaultembed.service.searching import NO_FILTERS

_WHERE_IDS_ARE = "Ids are shown by: vaultembed search QUERY"


@dataclass(frozen=True, slots=True)
class Listed:
    """A message in a line."""

    id: int
    thread: int | None
    rfc822_message_id: str | None
    date: str | None
    sender_name: str
    sender_address: str
    subject: str
    chat: str | None
    """The name of the chat that it belongs to, "" where it has none; None of mail."""
    has_attachments: bool
    text: str
    """The beginning of its visible text."""
    characters: int
    """Of its visible text."""


@dataclass(frozen=True, slots=True)
class ListView:
    messages: tuple[Listed, ...]
    next: Position | None
    """Where the next page goes on; None at the end."""


@dataclass(frozen=True, slots=True)
class ThreadView:
    thread: int
    total: int
    people: tuple[Person, ...]
    messages: tuple[Listed, ...]
    """Oldest first."""
    more: bool


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A message, and a part of its text. Lists are cut where they are enormous; the totals say how long they are."""

    id: int
    thread: int | None
    thread_messages: int
    rfc822_message_id: str | None
    type: str
    date: str | None
    sender_name: str
    sender_address: str
    recipients: tuple[RecipientRow, ...]
    recipients_total: int
    subject: str
    chat: str | None
    reply_to: int | None
    """The message that it answers, where that is here."""
    list_id: str | None
    labels: tuple[str, ...]
    attachments: tuple[AttachmentRow, ...]
    attachments_total: int
    places: tuple[PlaceRow, ...]
    reactions: tuple[Reaction, ...]
    text: str
    start: int
    """Code point of the visible text with which `text` begins."""
    characters: int
    """Of the whole visible text."""


@dataclass(frozen=True, slots=True)
class GroupsView:
    by: str
    messages: int
    """Live messages that pass the filters, in a group or not."""
    groups: tuple[Group, ...]
    more: bool


def no_message(message_id: int) -> MessageMissingError:
    return MessageMissingError(f"there is no message {message_id}", _WHERE_IDS_ARE)


def list_messages(
    archive_path: Path | Within,
    *,
    filters: Filters = NO_FILTERS,
    order: Order = "newest",
    after: Position | None = None,
    limit: int = 20,
    characters: int = 200,
) -> Result[ListView]:
    """A page of the live messages that pass the filters, each with the first `characters` of its text.

    Raises:
        QueryError: a filter makes no sense.
    """
    only = shown_by(filters.condition())
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        positions = list_positions(archive, only, order, after, limit + 1)
        messages = tuple(_listed(archive, position.message_id, characters) for position in positions[:limit])
    view = ListView(messages, positions[limit - 1] if len(positions) > limit else None)
    return Result("list", view)


def read_thread(
    archive_path: Path | Within,
    thread_id: int,
    *,
    offset: int = 0,
    limit: int = 20,
    characters: int = 2_000,
    most: int = 50,
) -> Result[ThreadView]:
    """A page of a conversation, oldest first, each message with the first `characters` of its text, and at most `most`
    of its people.

    Raises:
        MessageMissingError: there is no such conversation, or all of it is deleted.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        total = count_conversation(archive, thread_id)
        if not total:
            raise MessageMissingError(f"there is no conversation {thread_id}", _WHERE_IDS_ARE)
        ids = list_conversation(archive, thread_id, offset, limit)
        messages = tuple(_listed(archive, message_id, characters) for message_id in ids)
        people = tuple(read_people(archive, thread_id, most))
    return Result("thread", ThreadView(thread_id, total, people, messages, more=offset + len(messages) < total))


def thread_of(archive_path: Path | Within, message_id: int) -> int:
    """The conversation of a message.

    Raises:
        MessageMissingError: there is no such message.
    """
    with open_archive_readonly(archive_path) as archive:
        facts = read_facts(archive, message_id)
    if facts is None or facts.conversation_id is None:
        raise no_message(message_id)
    return facts.conversation_id


def read_message(
    archive_path: Path | Within, message_id: int, *, start: int = 0, characters: int = 10_000, most: int = 50
) -> Result[MessagePage]:
    """A message, with `characters` code points of its text from `start`, and at most `most` of each list.

    Raises:
        MessageMissingError: there is none with that id.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        summary, facts = read_summary(archive, message_id), read_facts(archive, message_id)
        if summary is None or facts is None:
            raise no_message(message_id)
        thread = facts.conversation_id
        page = MessagePage(
            id=summary.id,
            thread=thread,
            thread_messages=count_conversation(archive, thread) if thread is not None else 1,
            rfc822_message_id=summary.rfc822_message_id,
            type=facts.message_type,
            date=_date(summary),
            sender_name=summary.sender_name,
            sender_address=summary.sender_address,
            recipients=tuple(read_recipients(archive, message_id, most)),
            recipients_total=facts.recipients,
            subject=summary.subject,
            chat=summary.chat,
            reply_to=read_reply_to(archive, message_id),
            list_id=facts.list_id,
            labels=tuple(read_labels(archive, message_id, most)),
            attachments=tuple(read_attachments(archive, message_id, most)),
            attachments_total=facts.attachments,
            places=tuple(read_places(archive, message_id, most)),
            reactions=tuple(read_reactions(archive, message_id, most)),
            text=read_body_part(archive, message_id, start, characters),
            start=start,
            characters=facts.body_characters,
        )
    return Result("message", page)


def count_by(
    archive_path: Path | Within, by: Grouping, *, filters: Filters = NO_FILTERS, offset: int = 0, limit: int = 50
) -> Result[GroupsView]:
    """Live messages that pass the filters, counted by group: the largest first, years and months in their order.

    Raises:
        QueryError: a filter makes no sense.
    """
    only = shown_by(filters.condition())
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        groups = count_groups(archive, by, only, offset, limit + 1)
        matching = count_matching(archive, only)
    return Result("count", GroupsView(by, matching, tuple(groups[:limit]), more=len(groups) > limit))


def _listed(archive: Archive, message_id: int, characters: int) -> Listed:
    summary, facts = read_summary(archive, message_id), read_facts(archive, message_id)
    if summary is None or facts is None:
        raise LookupError(f"message {message_id} vanished within a snapshot")
    return Listed(
        id=summary.id,
        thread=facts.conversation_id,
        rfc822_message_id=summary.rfc822_message_id,
        date=_date(summary),
        sender_name=summary.sender_name,
        sender_address=summary.sender_address,
        subject=summary.subject,
        chat=summary.chat,
        has_attachments=summary.has_attachments,
        text=read_body_part(archive, message_id, 0, characters),
        characters=facts.body_characters,
    )


def _date(summary: Summary) -> str | None:
    return iso(summary.sent_at, summary.zone_minutes)
