"""What a query means, decided message by message from the rows alone: no SQL condition, no index, no parser.

A query is a tree of tuples here: ("and", a, b), ("or", a, b), ("not", a), or (field, value), with the fields "word",
"phrase" and "prefix" for words. `written` makes of it what a person types. Words of the test are their own stems.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vaultembed.archive.database import Archive

Tree = tuple[Any, ...]


@dataclass(frozen=True)
class Mail:
    id: int
    subject: str
    body: str
    sender: str | None
    recipients: dict[str, list[str]]
    labels: list[tuple[str, str]]
    flags: set[str]
    files: list[str]
    list_id: str | None
    sent_at: int | None
    zone_minutes: int | None
    size: int
    message_type: str
    sources: list[str]
    rfc822_message_id: str | None
    conversation: int | None
    is_stale: bool


def read_mails(archive: Archive, *, deleted: bool = False) -> list[Mail]:
    people = {i: f"{address} {name}" for i, address, name in archive.rows("SELECT id, address, name FROM participants")}

    def of(message_id: int, sql: str) -> list[tuple[Any, ...]]:
        return archive.rows(sql, (message_id,))

    return [
        Mail(
            id=row[0],
            subject=row[1],
            body="".join(body for (body,) in of(row[0], "SELECT body_text FROM message_bodies WHERE message_id = ?")),
            sender=people.get(row[2]),
            recipients=_grouped(
                of(row[0], "SELECT kind, participant_id FROM message_recipients WHERE message_id = ?"), people
            ),
            labels=of(
                row[0],
                "SELECT l.kind, l.name FROM message_labels x JOIN labels l ON l.id = x.label_id WHERE x.message_id = ?",
            ),
            flags={
                flag
                for (flags,) in of(row[0], "SELECT flags FROM message_sources WHERE message_id = ?")
                for flag in flags.split()
            },
            files=[name for (name,) in of(row[0], "SELECT filename FROM attachments WHERE message_id = ?")],
            list_id=row[3],
            sent_at=row[4],
            zone_minutes=row[5],
            size=row[6],
            message_type=row[7],
            sources=[
                identifier
                for (identifier,) in of(
                    row[0],
                    "SELECT s.identifier FROM message_sources x JOIN sources s ON s.id = x.source_id"
                    " WHERE x.message_id = ?",
                )
            ],
            rfc822_message_id=row[8],
            conversation=row[9],
            is_stale=bool(of(row[0], "SELECT 1 FROM fulltext_stale WHERE message_id = ?")),
        )
        for row in archive.rows(
            "SELECT id, subject, sender_id, list_id, sent_at, zone_minutes, size_bytes, message_type,"
            " rfc822_message_id, conversation_id FROM messages"
            f" WHERE deleted_at IS {'NOT NULL' if deleted else 'NULL'} ORDER BY id"
        )
    ]


def _grouped(rows: list[tuple[Any, ...]], people: dict[int, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, person in rows:
        found.setdefault(kind, []).append(people[person])
    return found


def plain(text: str) -> str:
    """Without case and accents, by another way than the product's."""
    apart = unicodedata.normalize("NFD", text.upper().lower().replace("ß", "ss"))
    return re.sub(r"[\u0300-\u036f]", "", apart)


def holds(tree: Tree, mail: Mail) -> bool:
    return _holds(tree, mail, negated=False)


def _holds(tree: Tree, mail: Mail, *, negated: bool) -> bool:
    match tree:
        case ("not", part):
            return _holds(part, mail, negated=not negated)
        case ("and" | "or" as join, *parts):
            results = [_holds(part, mail, negated=negated) for part in parts]
            return all(results) if (join == "and") is not negated else any(results)
        case ("word" | "phrase" | "prefix" | "subject" as field, value):
            return not mail.is_stale and _has_words(field, value, mail) is not negated
        case (field, value):
            return _has(field, value, mail) is not negated
    raise AssertionError(tree)


def leaves(tree: Tree) -> list[Tree]:
    return [leaf for part in tree[1:] for leaf in leaves(part)] if tree[0] in ("and", "or", "not") else [tree]


def _has_words(field: str, value: str, mail: Mail) -> bool:
    everyone = [mail.sender or "", *(person for people in mail.recipients.values() for person in people)]
    columns = (
        [mail.subject] if field == "subject" else [mail.subject, mail.body, " ".join(everyone), " ".join(mail.files)]
    )
    wanted = re.findall(r"\w+", plain(value))
    for column in columns:
        words = re.findall(r"\w+", plain(column))
        for at in range(len(words) - len(wanted) + 1):
            run = words[at : at + len(wanted)]
            if run == wanted or (field == "prefix" and run[:-1] == wanted[:-1] and run[-1].startswith(wanted[-1])):
                return True
    return False


def _has(field: str, value: str, mail: Mail) -> bool:
    wanted = plain(value)
    people = mail.recipients
    local = None if mail.sent_at is None else datetime.fromtimestamp(mail.sent_at + 60 * (mail.zone_minutes or 0), UTC)
    day = None if local is None else f"{local:%Y-%m-%d}"
    match field:
        case "from":
            return mail.sender is not None and wanted in plain(mail.sender)
        case "to":
            return any(wanted in plain(p) for kind in ("to", "cc", "bcc") for p in people.get(kind, []))
        case "cc" | "bcc":
            return any(wanted in plain(p) for p in people.get(field, []))
        case "with":
            return _has("from", value, mail) or any(wanted in plain(p) for some in people.values() for p in some)
        case "label" | "in":
            return any(_is_run(wanted.split("/"), plain(name).split("/")) for _, name in mail.labels)
        case "is":
            flag = {"unread": "seen", "read": "seen", "starred": "flagged", "replied": "answered"}[value]
            return (flag in mail.flags) is not (value == "unread")
        case "filename":
            return any(wanted in plain(name) for name in mail.files)
        case "list":
            return mail.list_id is not None and wanted in plain(mail.list_id)
        case "has":
            return bool(mail.files)
        case "before":
            return day is not None and day < value
        case "after":
            return day is not None and day >= value
        case "on":
            return day is not None and day.startswith(value)
        case "date":
            first, last = value.split("..")
            return day is not None and (not first or day >= first) and (not last or day[: len(last)] <= last)
        case "larger":
            return mail.size > int(value)
        case "smaller":
            return mail.size < int(value)
        case "type":
            return plain(mail.message_type) == wanted
        case "source":
            return any(wanted in plain(path) for path in mail.sources)
        case "id":
            return value in (str(mail.id), mail.rfc822_message_id)
        case "thread":
            return str(mail.conversation) == value
    raise AssertionError(field)


def _is_run(wanted: list[str], parts: list[str]) -> bool:
    return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts)))


def written(tree: Tree, *, as_part: bool = False) -> str:
    """As a person would type it; a part of a larger query in parentheses where it needs them."""
    match tree:
        case ("not", ("and" | "or", *_) as part):
            return f"-({written(part)})" if len(part) % 2 else f"NOT ({written(part)})"
        case ("not", ("not", _) as part):
            return f"NOT ({written(part)})"
        case ("not", part):
            return f"-{written(part)}" if len(str(part)) % 2 else f"NOT {written(part)}"
        case ("and", *parts):
            joined = (" " if len(parts) % 2 else " AND ").join(written(part, as_part=True) for part in parts)
            return f"({joined})" if as_part else joined
        case ("or", *parts):
            joined = " OR ".join(written(part, as_part=True) for part in parts)
            return f"({joined})" if as_part else joined
        case ("word", value):
            return str(value)
        case ("phrase", value):
            return f'"{value}"'
        case ("prefix", value):
            return f"{value}*"
        case (field, value):
            return f'{field}:"{value}"' if " " in value else f"{field}:{value}"
    raise AssertionError(tree)
