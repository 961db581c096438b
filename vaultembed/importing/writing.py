"""Writes one message that was found at a source: new, known from elsewhere, edited there, or deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.mail import places
from vaultembed.archive.mail.messages import (
    add_message,
    find_by_hash,
    find_extract,
    find_mail,
    has_body,
    has_raw,
    has_text,
    replace_message,
)
from vaultembed.archive.mail.places import Place
from vaultembed.archive.mail.problems import record_problems
from vaultembed.archive.mail.readings import is_outdated
from vaultembed.archive.mail.rereading import Reread, read_again
from vaultembed.importing.parser import Mime, Unparsed
from vaultembed.importing.parsing import Parsers
from vaultembed.importing.rereading import as_kept
from vaultembed.message import FileState, ParsedMessage, Problem, RawMessage
from vaultembed.text.mime.mime import labels_in_header
from vaultembed.text.problems import Weight, worst_weight

Raw = Literal["keep", "none"]
Became = Literal["added", "updated", "unchanged", "duplicate", "deleted", "unreadable"]
"""What a message was to the archive; see `ImportCounts`."""
Parsed = ParsedMessage | Problem | None
"""None: not parsed, for it is here already."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message at its place, not parsed yet: most of them are here already."""

    source_id: int
    place: Place
    content_hash: bytes
    unparsed: Unparsed | Problem
    labels: Callable[[], Sequence[str]]
    """Of this copy."""
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
    state: FileState | None = None
    """Of its file, to be noted with it; that of an mbox is noted by itself."""


@dataclass(frozen=True, slots=True)
class Written:
    message_id: int | None
    """None: it could not be parsed."""
    became: Became
    displaced: bool
    """Another message stood at its place before."""
    weight: Weight | None
    """Of what was wrong with it, where it was read just now."""
    is_current: bool
    """The text here is what this entry says."""
    to_index: ParsedMessage | None = None
    """What it has been given, for `index_parsed` at the end of the transaction."""
    reread: Reread | None = None
    """It was here, as an earlier version had read it."""


def entry_of_mime(
    source_id: int,
    raw: RawMessage,
    keep: Raw,
    *,
    is_repeated: bool = False,
    begun_at: str | None = None,
    state: FileState | None = None,
) -> Entry:
    """A message as it was sent."""
    return Entry(
        source_id,
        Place(raw.source_key, raw.locator, raw.folder, flags_text(raw.flags)),
        raw.content_hash,
        Mime(raw.mime, raw.content_hash, raw.delivered_at, is_kept=keep == "keep"),
        lambda: labels_in_header(raw.mime),
        is_repeated,
        begun_at=begun_at,
        state=state,
    )


def flags_text(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))


def parse_unknown(archive: Archive, parsers: Parsers, entries: Sequence[Entry]) -> Callable[[], list[Parsed]]:
    """Have parsed what is not here by its content, or as an earlier version read it; the result waits for it, and may
    raise what `Parsers.collect` does.
    Before the transaction that writes it, so that this is short."""
    unparsed = [_to_parse(archive, each) for each in entries]
    submitted = parsers.submit([each for each in unparsed if each is not None])

    def collect() -> list[Parsed]:
        parsed = iter(parsers.collect(submitted))
        return [
            entry.unparsed if isinstance(entry.unparsed, Problem) else None if each is None else next(parsed)
            for entry, each in zip(entries, unparsed, strict=True)
        ]

    return collect


def _to_parse(archive: Archive, entry: Entry) -> Unparsed | None:
    if isinstance(entry.unparsed, Problem):
        return None
    here = _find(archive, entry)
    if here is None:
        return entry.unparsed
    if isinstance(entry.unparsed, Mime) and is_outdated(archive, here):
        return as_kept(archive, here, entry.unparsed)
    return None


def parse_entry(parsers: Parsers, entry: Entry) -> ParsedMessage | Problem:
    """As `parse_unknown`, of one, here or not."""
    if isinstance(entry.unparsed, Problem):
        return entry.unparsed
    return parsers.collect(parsers.submit([entry.unparsed]))[0]


def _find(archive: Archive, entry: Entry) -> int | None:
    # an extract is parsed even if it is here: its text may be another one now
    return None if entry.is_extract else find_by_hash(archive, entry.content_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an entry, as far as it decides what becomes of it."""

    is_here: bool = False
    """By its content; or, of an extract, as the mail that it was made of."""
    is_at_place: bool = False
    """It is here, and stands at this very place."""
    is_deleted: bool = False
    """It is here, and a person has deleted it."""
    is_extract: bool = False
    was_read: bool = False
    is_whole: bool = False
    """What is here is what another program kept of it."""
    says_something_else: bool = False
    """An extract, whose text is not the one here."""
    empties: bool = False
    """An extract without text, where there is one here: a source that lost it has nothing to say about it."""
    is_namesake: bool = False
    """It is not here, and the message that stands at its place has the same Message-ID, or is the beginning of it."""
    namesake_is_raw: bool = False
    """That one is kept as it was sent."""
    namesake_is_its_own: bool = False
    """That one stands nowhere else, and nobody has deleted it."""


Step = Literal["stays deleted", "stands", "renew", "keep better", "edit", "add"]
_REPLACES: Final = ("renew", "edit")


def decide(facts: Facts) -> Step:
    """What becomes of a message that was found."""
    if facts.is_here:
        if facts.is_deleted:
            return "stays deleted"
        # what another copy of it says may be older: only what has changed where it was read before is news
        is_news = facts.says_something_else and facts.was_read and facts.is_at_place and not facts.empties
        return "renew" if is_news or facts.is_whole else "stands"
    if facts.is_namesake and facts.is_extract and (facts.namesake_is_raw or facts.empties):
        return "keep better"
    # What the message has become: whole, where it was cut short, or a draft that was edited. File names are used again
    # for other mail (MH numbers are), so the Message-ID decides on edits; and another place may still hold the older
    # text. A deleted message is not what anybody wants a newer text hidden under.
    return "edit" if facts.is_namesake and facts.namesake_is_its_own else "add"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an entry."""

    step: Step
    became: Became
    facts: Facts
    present: int | None
    """The message that stands at its place."""
    message_id: int | None
    """None: it is new."""

    @property
    def is_current(self) -> bool:
        """The text here is what the entry says, then."""
        facts = self.facts
        current = {"stays deleted": not facts.is_extract, "stands": not facts.says_something_else, "keep better": False}
        return current.get(self.step, True)


def fate_of(archive: Archive, entry: Entry, new: ParsedMessage | None) -> Fate:
    """`new`: None where it was not parsed, for it was here."""
    present = places.message_at(archive, entry.source_id, entry.begun_at or entry.place.source_key)
    here = find_by_hash(archive, entry.content_hash)
    is_other_form = False
    if here is None and new is not None and present is None:
        # a copy of an archive that lacks what was sent: the mail itself is worth more, whichever comes first
        here = find_mail(archive, new) if entry.is_extract else find_extract(archive, new)
        is_other_form = here is not None
    facts = _facts(archive, entry, new, here, present, is_other_form=is_other_form)
    step = decide(facts)
    became: Became = {
        "stays deleted": "deleted",
        "stands": "unchanged" if facts.is_at_place and not entry.is_repeated else "duplicate",
        "renew": "updated" if facts.is_at_place else "duplicate",
        "keep better": "unchanged",
        "edit": "updated",
        "add": "added",
    }[step]
    return Fate(step, became, facts, present, None if step == "add" else here if facts.is_here else present)


def write_entry(archive: Archive, parsers: Parsers, entry: Entry, new: Parsed) -> Written:
    """Write what `parse_unknown` gave, in the caller's transaction."""
    source_id, place = entry.source_id, entry.place
    if isinstance(new, Problem):
        record_problems(archive, source_id, None, place.locator, [new])
        return Written(None, "unreadable", displaced=False, weight="unread", is_current=False)
    key = entry.begun_at or place.source_key
    fate = fate_of(archive, entry, new)
    facts, step, present, message_id = fate.facts, fate.step, fate.present, fate.message_id
    if not facts.is_here and new is None:  # it was here a moment ago, and has been given other content since
        return write_entry(archive, parsers, entry, parse_entry(parsers, entry))
    if new is not None and step == "add":
        message_id = add_message(archive, new)
    elif new is not None and message_id is not None and step in _REPLACES:
        replace_message(archive, message_id, new)
    if message_id is None:
        raise LookupError(f"{place.locator} was neither found nor parsed")
    if facts.is_here and entry.deleted_at is None:
        places.undelete_with_source(archive, message_id)
    displaced = present is not None and present != message_id
    if displaced and present is not None and entry.begun_at:
        places.supersede(archive, source_id, key, present)
    elif displaced:
        places.displace(archive, source_id, key)
    elif key != place.source_key:
        places.forget_place(archive, source_id, key)
    place = replace(place, labels=tuple(entry.labels()))
    # a copy that was thrown away says nothing beside one in the same mbox that was not
    if not entry.is_repeated or not places.is_aside_beside_kept(archive, source_id, place):
        places.put_at(archive, source_id, place, message_id)
    reread = None
    if facts.is_here and new is not None and new.reader is not None and is_outdated(archive, message_id):
        reread = read_again(archive, message_id, new)
    to_index = new if step in ("add", *_REPLACES) else None
    problems = to_index.problems if to_index is not None else ()
    record_problems(archive, source_id, message_id, place.locator, problems)
    if reread is not None:
        problems = reread.problems
    if entry.deleted_at is not None:
        places.delete_with_source(archive, source_id, place.source_key, message_id, entry.deleted_at)
    is_gone = displaced and not entry.begun_at
    return Written(message_id, fate.became, is_gone, worst_weight(problems), fate.is_current, to_index, reread)


def _facts(
    archive: Archive,
    entry: Entry,
    new: ParsedMessage | None,
    here: int | None,
    present: int | None,
    *,
    is_other_form: bool,
) -> Facts:
    """`here`: the message that this is. `present`: that stands at its place."""
    if here is not None:
        is_compared = entry.is_extract and new is not None
        return Facts(
            is_here=True,
            is_at_place=here == present,
            # that of another source does not outlive a place where the message stands
            is_deleted=entry.deleted_at is None and places.is_deleted_by_person(archive, here),
            is_extract=entry.is_extract,
            was_read=entry.was_read,
            is_whole=is_other_form and not entry.is_extract,
            says_something_else=is_other_form or (is_compared and new is not None and not has_text(archive, here, new)),
            empties=is_compared and new is not None and _empties(archive, here, new),
        )
    if present is None or new is None:
        return Facts(is_extract=entry.is_extract)
    same_id = places.message_id_header(archive, present) == new.rfc822_message_id is not None
    return Facts(
        is_extract=entry.is_extract,
        is_namesake=same_id or entry.begun_at is not None,
        namesake_is_raw=has_raw(archive, present),
        empties=entry.is_extract and _empties(archive, present, new),
        namesake_is_its_own=places.stands_alone(archive, present)
        and (places.is_live(archive, present) or entry.deleted_at is not None),
    )


def _empties(archive: Archive, message_id: int, new: ParsedMessage) -> bool:
    return not new.body_text.strip() and has_body(archive, message_id)
