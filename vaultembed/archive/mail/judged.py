"""Which messages a judged set means, and where they belong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from vaultembed.archive.engine.connection import Archive

_LARGEST: Final = 2**63 - 1


def message_id_of(document: str) -> str:
    """The Message-ID that a document of a corpus gets as a message. One without "@" would be dropped by an import."""
    return document if "@" in document else f"{quote(document, safe='')}@corpus.invalid"


def messages_named(archive: Archive, names: Iterable[str]) -> dict[str, list[int]]:
    """The live messages of each Message-ID, or document of a corpus. Where no name that is a number is either, these
    are ids of the archive."""
    wanted = list(dict.fromkeys(names))
    query = "SELECT id FROM messages WHERE rfc822_message_id IN (?, ?) AND deleted_at IS NULL ORDER BY id"
    found = {name: [int(i) for (i,) in archive.rows(query, (name, message_id_of(name)))] for name in wanted}
    numbers = [name for name in wanted if name.isascii() and name.isdigit() and int(name) <= _LARGEST]
    if not any(found[name] for name in numbers):
        for name in numbers:
            row = archive.row("SELECT id FROM messages WHERE id = ? AND deleted_at IS NULL", (int(name),))
            found[name] = [] if row is None else [int(row[0])]
    return found


def conversations_of(archive: Archive, ids: Iterable[int]) -> dict[int, int | None]:
    return {i: archive.scalar("SELECT conversation_id FROM messages WHERE id = ?", (i,)) for i in set(ids)}


def source_of(archive: Archive, message_id: int) -> str | None:
    """The first that it stands in."""
    found: str | None = archive.scalar(
        "SELECT identifier FROM sources JOIN message_sources ON source_id = sources.id WHERE message_id = ?"
        " ORDER BY sources.id LIMIT 1",
        (message_id,),
    )
    return found
