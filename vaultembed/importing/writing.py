"""Writes one message that was found at a source: new, known from elsewhere, edited there, or deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.mail import places
from vaultembed.archive.mail.messages import (
    NewMessage,
    add_labels,
    add_message,
    compress,
    find_by_hash,
    find_mail,
    has_body,
    has_raw,
    has_text,
    replace_message,
)
from vaultembed.archive.mail.places import Place
from vaultembed.archive.mail.problems import record_problems
from vaultembed.message import ParsedMessage, Problem, RawMessage, Thread
from vaultembed.text.embeddable.subject import base_subject
from vaultembed.text.mime.mime import labels_in_header, parse_message
from vaultembed.text.mime.snippet import snippet
from vaultembed.text.problems import Weight, worst_weight

Raw = Literal["keep", "none"]
Became = Literal["added", "updated", "unchanged", "duplicate", "deleted", "unreadable"]
"""What a message was to the archive; see `ImportCounts`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message at its place, not decoded yet: most of them are here already."""

    source_id: int
    place: Place
    content_hash: bytes
    decode: Callable[[], NewMessage | Problem]
    labels: Callable[[], Sequence[str]]
    """Of this copy, for a message that is not decoded."""
    is_repeated: bool = False
    """The same message stood before in the same file."""
    deleted_at: int | None = None
    """It was deleted at its source."""
    is_extract: bool = False
    """What its source kept of it, and not how it was sent; `content_hash` is of its name there."""
    was_read: bool = False
    """It was read at this place before, with another text."""
    begun_at: str | None = None
    """The key at which the beginning of this message stands, read before the rest of it was written."""


@dataclass(frozen=True, slots=True)
class Written:
    message_id: int | None
    """None: it could not be decoded."""
    became: Became
    displaced: bool
    """Another message stood at its place before."""
    weight: Weight | None
    """Of what was wrong with it, where it was read just now."""
    is_current: bool
    """The text here is what this entry says."""


def entry_of_mime(
    source_id: int, raw: RawMessage, keep: Raw, *, is_repeated: bool = False, begun_at: str | None = None
) -> Entry:
    """A message as it was sent."""
    return Entry(
        source_id,
        Place(raw.source_key, raw.locator, raw.folder, flags_text(raw.flags)),
        raw.content_hash,
        lambda: decode_mime(raw, keep),
        lambda: labels_in_header(raw.mime),
        is_repeated,
        begun_at=begun_at,
    )


def flags_text(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))


def decode_mime(raw: RawMessage, keep: Raw) -> NewMessage | Problem:
    try:
        parsed = parse_message(raw.mime, delivered_at=raw.delivered_at)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        # this message's trouble, and the rest goes on; a panic in resiliparse's native code is no Exception
        return Problem("unreadable-message", f"{type(error).__name__}: {error}")
    return new_message(parsed, raw.content_hash, compress(raw.mime) if keep == "keep" else None)


def new_message(
    parsed: ParsedMessage,
    content_hash: bytes,
    compressed_mime: bytes | None,
    thread: Thread | None = None,
) -> NewMessage:
    thread_key, is_reply = base_subject(parsed.subject)
    return NewMessage(
        parsed=parsed,
        content_hash=content_hash,
        compressed_mime=compressed_mime,
        snippet=snippet(parsed.body_text),
        thread_key=thread_key,
        is_reply=is_reply,
        thread=thread,
    )


def decode_unless_known(archive: Archive, entry: Entry) -> NewMessage | Problem | None:
    """None: it is here already. Before the transaction that writes it, so that this is short."""
    is_here = not entry.is_extract and find_by_hash(archive, entry.content_hash) is not None
    return None if is_here else entry.decode()


def write_entry(archive: Archive, entry: Entry, new: NewMessage | Problem | None) -> Written:
    """Write what `decode_unless_known` gave, in the caller's transaction."""
    source_id, place = entry.source_id, entry.place
    key = entry.begun_at or place.source_key
    present = places.message_at(archive, source_id, key)
    message_id = find_by_hash(archive, entry.content_hash)
    if message_id is None and new is None:
        new = entry.decode()  # it was here a moment ago, and has been given other content since
    if isinstance(new, Problem):
        record_problems(archive, source_id, None, place.locator, [new])
        return Written(None, "unreadable", displaced=False, weight="unread", is_current=False)
    is_current = True
    if message_id is None and new is not None and entry.is_extract and present is None:
        # a copy of an archive that lacks what was sent: the mail itself is worth more
        message_id = find_mail(archive, new.parsed)
        is_current = message_id is None
    if message_id is not None and _stays_deleted(archive, message_id, entry):
        became: Became = "deleted"
        is_current = is_current and not entry.is_extract
    elif message_id is not None:
        became = "unchanged" if present == message_id and not entry.is_repeated else "duplicate"
        if entry.is_extract and new is not None and is_current:
            is_current = has_text(archive, message_id, new)
            # what another copy of it says may be older: only what has changed where it was read before is news
            if not is_current and entry.was_read and present == message_id and not _empties(archive, message_id, new):
                replace_message(archive, message_id, new)
                became, is_current = "updated", True
    elif new is None:
        raise LookupError(f"{place.locator} was neither found nor decoded")
    elif present is not None and entry.is_extract and _is_poorer(archive, present, new):
        message_id, became, is_current = present, "unchanged", False
    elif present is not None and _is_edition(archive, present, new, entry):
        message_id, became = present, "updated"
        replace_message(archive, message_id, new)
    else:
        message_id, became = add_message(archive, new), "added"
    displaced = present is not None and present != message_id
    if displaced and present is not None and entry.begun_at:
        places.supersede(archive, source_id, key, present)
    elif displaced:
        places.displace(archive, source_id, key)
    elif key != place.source_key:
        places.forget_place(archive, source_id, key)
    places.put_at(archive, source_id, place, message_id)
    if new is None:  # not decoded, but this copy may bear other labels
        add_labels(archive, message_id, "label", entry.labels())
    if place.folder:
        add_labels(archive, message_id, "folder", [place.folder])
    problems = new.parsed.problems if new is not None and became in ("added", "updated") else ()
    if problems:
        record_problems(archive, source_id, message_id, place.locator, problems)
    if entry.deleted_at is not None:
        places.delete_with_source(archive, source_id, place.source_key, message_id, entry.deleted_at)
    is_gone = displaced and not entry.begun_at
    return Written(message_id, became, is_gone, worst_weight(problems), is_current)


def _is_poorer(archive: Archive, message_id: int, new: NewMessage) -> bool:
    """Whether an extract is of the mail that is here as it was sent, or of one whose text it lacks."""
    same = places.message_id_header(archive, message_id) == new.parsed.rfc822_message_id is not None
    return same and (has_raw(archive, message_id) or _empties(archive, message_id, new))


def _empties(archive: Archive, message_id: int, new: NewMessage) -> bool:
    """Whether a message would lose its text: a source that lost it has nothing to say about it."""
    return not new.parsed.body_text.strip() and has_body(archive, message_id)


def _stays_deleted(archive: Archive, message_id: int, entry: Entry) -> bool:
    """A person's deletion stays; that of another source does not outlive a place where the message stands."""
    if places.is_live(archive, message_id) or entry.deleted_at is not None:
        return False
    return not places.undelete_with_source(archive, message_id)


def _is_edition(archive: Archive, message_id: int, new: NewMessage, entry: Entry) -> bool:
    """Whether `new` is what the message has become: whole, where it was cut short, or a draft that was edited. File
    names are used again for other mail (MH numbers are), so the Message-ID decides on edits; and another place may
    still hold the older text. A deleted message is not what anybody wants a newer text hidden under."""
    same = places.message_id_header(archive, message_id) == new.parsed.rfc822_message_id is not None
    same = same or entry.begun_at is not None
    is_here = places.is_live(archive, message_id) or entry.deleted_at is not None
    return same and places.stands_alone(archive, message_id) and is_here
