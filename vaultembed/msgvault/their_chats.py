"""Reads what makes a chat out of msgvault.db: conversations, who is in them, and reactions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from vaultembed.message import Person, Reaction
from vaultembed.msgvault.files import ForeignDatabase
from vaultembed.msgvault.their_people import blob, named, person_columns
from vaultembed.msgvault.values import known, one_line

_IS_CHAT: Final = "c.conversation_type LIKE '%chat' OR c.conversation_type = 'channel'"
_NOT_REMOVED: Final = "AND coalesce(x.removed_at, '') = ''"


@dataclass(frozen=True, slots=True)
class Conversation:
    id: int
    name: str
    """At its source; "" where it has none there."""
    title: str
    is_chat: bool


def conversations_of(database: ForeignDatabase, listing: tuple[str]) -> dict[int, Conversation]:
    """Of these messages, by id."""
    columns = database.columns("conversations")
    if "id" not in columns or "conversation_id" not in database.columns("messages"):
        return {}
    name, title = (blob("c", n) if n in columns else "NULL" for n in ("source_conversation_id", "title"))
    is_chat = _IS_CHAT if "conversation_type" in columns else "0"
    return {
        row[0]: Conversation(row[0], one_line(row[1]), known(row[2]), bool(row[3]))
        for row in database.rows(
            f"SELECT id, {name}, {title}, {is_chat} FROM conversations c"
            " WHERE id IN (SELECT conversation_id FROM messages WHERE id IN (SELECT value FROM json_each(?)))",
            listing,
        )
    }


def members_of_chats(database: ForeignDatabase, listing: tuple[str]) -> dict[int, list[Person]]:
    """Who is in the conversations of these messages, as far as they are chats: some name no recipients."""
    found: dict[int, list[Person]] = defaultdict(list)
    if not (
        "conversation_type" in database.columns("conversations")
        and {"conversation_id", "participant_id"} <= database.columns("conversation_participants")
        and "id" in database.columns("participants")
    ):
        return found
    address, name = person_columns(database, "p")
    for conversation_id, found_address, found_name in database.rows(
        f"SELECT x.conversation_id, {address}, {name} FROM conversation_participants x"
        " JOIN conversations c ON c.id = x.conversation_id AND c.conversation_type LIKE '%chat'"
        " JOIN participants p ON p.id = x.participant_id"
        " WHERE x.conversation_id IN (SELECT conversation_id FROM messages"
        " WHERE id IN (SELECT value FROM json_each(?))) ORDER BY x.conversation_id, x.rowid",
        listing,
    ):
        person = named(found_address, found_name)
        if person is not None:
            found[conversation_id].append(person)
    return found


def reactions_to(database: ForeignDatabase, listing: tuple[str]) -> dict[int, list[Reaction]]:
    """Those that were not taken back."""
    found: dict[int, list[Reaction]] = defaultdict(list)
    columns = database.columns("reactions")
    if not {"message_id", "reaction_value"} <= columns:
        return found
    joined = "participant_id" in columns and "id" in database.columns("participants")
    address, name = person_columns(database, "p") if joined else ("NULL", "NULL")
    for message_id, value, found_address, found_name in database.rows(
        f"SELECT x.message_id, {blob('x', 'reaction_value')}, {address}, {name} FROM reactions x"
        f" {'LEFT JOIN participants p ON p.id = x.participant_id' if joined else ''}"
        f" WHERE x.message_id IN (SELECT value FROM json_each(?)) {_NOT_REMOVED if 'removed_at' in columns else ''}"
        " ORDER BY x.message_id, x.rowid",
        listing,
    ):
        if one_line(value):
            found[message_id].append(Reaction(one_line(value), named(found_address, found_name)))
    return found
