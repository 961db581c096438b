"""What is asked of messages, as a tree that says nothing of how they are kept; and that tree in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import phrase


@dataclass(frozen=True, slots=True)
class Words:
    """Every one of these, in the text, in the subject, or in the name of a person or a file; of several words in one,
    one after the other."""

    every: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubjectWords:
    text: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Address or name contains it."""

    text: str


@dataclass(frozen=True, slots=True)
class Recipient:
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """Bears it, whatever its case; a folder is one, too."""

    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """Came from one whose path contains it."""

    text: str


@dataclass(frozen=True, slots=True)
class Type:
    name: str


@dataclass(frozen=True, slots=True)
class HasAttachment:
    pass


@dataclass(frozen=True, slots=True)
class SentFrom:
    """Then or later, in unix seconds."""

    at: int


@dataclass(frozen=True, slots=True)
class SentBefore:
    at: int


@dataclass(frozen=True, slots=True)
class All:
    """Every part must hold; without parts, every message is meant."""

    parts: tuple[Condition, ...] = ()


Condition = (
    Words | SubjectWords | Sender | Recipient | Label | Source | Type | HasAttachment | SentFrom | SentBefore | All
)

_PEOPLE: Final = (
    "SELECT p.id FROM participants p, (SELECT ? AS pattern) WHERE p.address LIKE pattern ESCAPE '\\'"
    " OR p.name LIKE pattern ESCAPE '\\'"
)
_RECIPIENTS: Final = f"SELECT r.message_id FROM message_recipients r WHERE r.participant_id IN ({_PEOPLE})"
_LABELS: Final = (
    "SELECT x.message_id FROM message_labels x JOIN labels l ON l.id = x.label_id WHERE l.name = ? COLLATE NOCASE"
)
_SOURCES: Final = (
    "SELECT x.message_id FROM message_sources x JOIN sources s ON s.id = x.source_id"
    " WHERE s.identifier LIKE ? ESCAPE '\\'"
)


def compile_condition(condition: Condition) -> Filter:
    match condition:
        case Words(every):
            return _matching([phrase(words) for words in every])
        case SubjectWords(text):
            return _matching([phrase(text)], "subject:")
        case Sender(text):
            return Filter(f"m.sender_id IN ({_PEOPLE})", (_containing(text),))
        case Recipient(text):
            return Filter(f"m.id IN ({_RECIPIENTS})", (_containing(text),))
        case Label(name):
            return Filter(f"m.id IN ({_LABELS})", (name,))
        case Source(text):
            return Filter(f"m.id IN ({_SOURCES})", (_containing(text),))
        case Type(name):
            return Filter("m.message_type = ?", (name,))
        case HasAttachment():
            return Filter("m.has_attachments = 1")
        case SentFrom(at):
            return Filter("m.sent_at >= ?", (at,))
        case SentBefore(at):
            return Filter("m.sent_at < ?", (at,))
        case All(parts):
            return _all(tuple(compile_condition(part) for part in parts))


def _matching(phrases: Sequence[str | None], column: str = "") -> Filter:
    """Of FTS5 phrases; where one has nothing to look for, there is nothing to find."""
    match = " AND ".join(f"{column}{found}" for found in phrases if found is not None)
    if None in phrases or not match:
        return Filter("0")
    ids = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?"
    return Filter(f"m.id IN ({ids}) AND m.id NOT IN (SELECT message_id FROM fulltext_stale)", (match,))


def _containing(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _all(parts: tuple[Filter, ...]) -> Filter:
    some = [part for part in parts if not part.is_empty]
    if not some:
        return Filter()
    return Filter(
        " AND ".join(f"({part.sql})" for part in some), tuple(binding for part in some for binding in part.bindings)
    )
