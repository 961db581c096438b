"""What is asked of messages, as a tree that says nothing of how they are kept; and that tree in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import phrase
from vaultembed.text.folding import folded
from vaultembed.text.set_aside import set_aside

ANYWHERE: Final = "anywhere"
"""As a folder: every message, in trash and spam as well."""
Field = Literal[
    "from", "to", "cc", "bcc", "with", "label", "in", "is", "list", "filename", "has", "type", "source", "id", "thread"
]


@dataclass(frozen=True, slots=True)
class Words:
    """Words that follow each other, anywhere or in the subject."""

    text: str
    prefix: bool = False
    """The last word may go on."""
    in_subject: bool = False
    quoted: bool = False
    """As a person wrote it."""


@dataclass(frozen=True, slots=True)
class Has:
    """A field that has a value, in the field's own sense of it."""

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Sent:
    """When a message was sent: from `start` on, before `end`.

    A day is the day that is displayed, in the sender's zone: seconds since 1970 as if every clock showed UTC. Only
    `absolute` bounds are seconds in UTC.
    """

    start: int | None = None
    end: int | None = None
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes as sent: more than `above`, fewer than `below`."""

    above: int | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; without parts, always."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Words | Has | Sent | Size | Not | All | Either


def compile_condition(condition: Condition, *, negated: bool = False) -> Filter:
    """Negations are carried down to the leaves. There NOT is `IS NOT TRUE`: a message without a sender is outside
    `from:x` and inside `-from:x`. Words differ: a message whose index entry is out of date matches neither a word nor
    its negation."""
    match condition:
        case Not(part):
            return compile_condition(part, negated=not negated)
        case All(parts) | Either(parts):
            every = isinstance(condition, All) is not negated
            return _joined([compile_condition(part, negated=negated) for part in parts], every)
        case Words():
            return _words(condition, negated)
    leaf = _leaf(condition)
    if not negated:
        return leaf
    return Filter("0") if leaf.is_empty else Filter(f"({leaf.sql}) IS NOT TRUE", leaf.bindings)


def shown_by(condition: Condition) -> Filter:
    """What a list, a search or a deletion is about: without trash and spam, unless the condition asks for them."""
    return replace(compile_condition(condition), hides_set_aside=not _asks_for_set_aside(condition))


def _asks_for_set_aside(condition: Condition, *, negated: bool = False) -> bool:
    match condition:
        case Not(part):
            return _asks_for_set_aside(part, negated=not negated)
        case All(parts) | Either(parts):
            return any(_asks_for_set_aside(part, negated=negated) for part in parts)
        case Has("in" | "label", value):
            return not negated and (value == ANYWHERE or set_aside(value, [value], ()) != "")
        case Has("is", "trashed"):
            return not negated
    return False


def _joined(parts: Sequence[Filter], every: bool) -> Filter:
    neutral, deciding = ("1", "0") if every else ("0", "1")
    some = [part for part in parts if part.sql != neutral]
    if not some or any(part.sql == deciding for part in some):
        return Filter(deciding if some else neutral)
    joined = (" AND " if every else " OR ").join(f"({part.sql})" for part in some)
    return Filter(joined, tuple(binding for part in some for binding in part.bindings))


def _words(words: Words, negated: bool) -> Filter:
    match = match_of(words)
    if match is None:
        return Filter("0")
    found = f"m.id {'NOT ' if negated else ''}IN (SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?)"
    return Filter(f"{found} AND m.id NOT IN (SELECT message_id FROM fulltext_stale)", (match,))


def match_of(words: Words) -> str | None:
    """An FTS5 expression; None where nothing in it can be searched for."""
    match = phrase(words.text)
    if match is None:
        return None
    return f"{'subject:' if words.in_subject else ''}{match}{' *' if words.prefix else ''}"


def _leaf(condition: Has | Sent | Size) -> Filter:
    match condition:
        case Sent(start, end, absolute):
            at = "m.sent_at" if absolute else "m.sent_at + 60 * coalesce(m.zone_minutes, 0)"
            return _between(at, (">=", start), ("<", end))
        case Size(above, below):
            return _between("m.size_bytes", (">", above), ("<", below))
        case Has(field, value):
            return _FIELDS[field](value)


def _between(what: str, *bounds: tuple[str, int | None]) -> Filter:
    given = [(operator, bound) for operator, bound in bounds if bound is not None]
    sql = " AND ".join(f"{what} {operator} ?" for operator, _ in given)
    return Filter(sql or "1", tuple(bound for _, bound in given))


# What another program wrote may be no UTF-8, hence the CASTs: `folded` is given bytes.
_PEOPLE: Final = (
    "SELECT p.id FROM participants p, (SELECT ? AS part) WHERE instr(folded(CAST(p.address AS BLOB)), part)"
    " OR instr(folded(CAST(p.name AS BLOB)), part)"
)
_SENDER: Final = f"m.sender_id IN ({_PEOPLE})"


def _recipient(*kinds: str) -> str:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    return (
        f"m.id IN (SELECT r.message_id FROM message_recipients r WHERE r.kind IN ({listed})"
        f" AND r.participant_id IN ({_PEOPLE}))"
    )


def _people(*sql: str) -> Callable[[str], Filter]:
    return lambda value: Filter(" OR ".join(sql), (folded(value),) * len(sql))


def _label(value: str) -> Filter:
    """A label or folder is found by its last part or any run of its parts, with what is below it."""
    return Filter(
        "m.id IN (SELECT x.message_id FROM labels l CROSS JOIN message_labels x ON x.label_id = l.id"
        " WHERE instr('/' || folded(CAST(l.name AS BLOB)) || '/', ?))",
        (f"/{folded(value).strip('/')}/",),
    )


def _in(value: str) -> Filter:
    """A folder or label; `trash` and `spam` are what stands there now, whatever its name is."""
    if value == ANYWHERE:
        return Filter()
    return _aside(folded(value)) if folded(value) in ("trash", "spam") else _label(value)


def _aside(kind: str) -> Filter:
    # "<> ''" lets the index be used
    places = f"SELECT x.message_id FROM message_sources x WHERE x.set_aside = '{kind}' AND x.set_aside <> ''"
    return Filter(f"m.id IN ({places} AND x.gone_at IS NULL) OR (m.set_aside <> 0 AND m.id IN ({places}))")


def _contains(sql: str) -> Callable[[str], Filter]:
    return lambda value: Filter(sql, (folded(value),))


def _flag(value: str) -> Filter:
    if value == "trashed":
        return _aside("trash")
    return Filter(
        "m.id IN (SELECT x.message_id FROM message_sources x WHERE instr(' ' || x.flags || ' ', ?))", (f" {value} ",)
    )


def _id(value: str) -> Filter:
    return Filter("m.id = ?", (int(value),)) if value.isdigit() else Filter("m.rfc822_message_id = ?", (value,))


_FIELDS: Final[dict[str, Callable[[str], Filter]]] = {
    "from": _people(_SENDER),
    "to": _people(_recipient("to", "cc", "bcc")),
    "cc": _people(_recipient("cc")),
    "bcc": _people(_recipient("bcc")),
    "with": _people(_SENDER, _recipient("to", "cc", "bcc", "mention")),
    "label": _label,
    "in": _in,
    "is": _flag,
    # a list's address and its id differ in the "@"
    "list": lambda value: Filter("instr(folded(CAST(m.list_id AS BLOB)), ?)", (folded(value).replace("@", "."),)),
    "filename": _contains(
        "m.id IN (SELECT a.message_id FROM attachments a WHERE instr(folded(CAST(a.filename AS BLOB)), ?))"
    ),
    "has": lambda _: Filter("m.has_attachments = 1"),
    "type": _contains("folded(CAST(m.message_type AS BLOB)) = ?"),
    "source": _contains(
        "m.id IN (SELECT x.message_id FROM message_sources x JOIN sources s ON s.id = x.source_id"
        " WHERE instr(folded(CAST(s.identifier AS BLOB)), ?))"
    ),
    "id": _id,
    "thread": lambda value: Filter("m.conversation_id = ?", (int(value),)),
}
