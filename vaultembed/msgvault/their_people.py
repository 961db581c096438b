"""How people stand in msgvault.db: the columns that name them, and whom these name."""

from __future__ import annotations

from typing import Any

from vaultembed.message import Person
from vaultembed.msgvault.files import ForeignDatabase
from vaultembed.msgvault.values import known, one_line


def blob(table: str, column: str) -> str:
    # text may be no UTF-8, and a column may hold anything
    return f"CAST({table}.{column} AS BLOB)"


def sender_join(database: ForeignDatabase) -> str:
    has_both = "sender_id" in database.columns("messages") and "id" in database.columns("participants")
    return "LEFT JOIN participants s ON s.id = m.sender_id" if has_both else ""


def person_columns(database: ForeignDatabase, table: str) -> tuple[str, str]:
    """Address and name of a row of participants, as columns of a SELECT."""
    columns = database.columns("participants")
    if table == "s" and not sender_join(database):
        return "NULL", "NULL"
    addresses = [f"nullif({blob(table, name)}, x'')" for name in ("email_address", "phone_number") if name in columns]
    if {"participant_id", "identifier_value"} <= database.columns("participant_identifiers"):
        # senders of text messages that are words or short codes, and everybody of Slack, Discord, Teams and Beeper
        addresses.append(
            "(SELECT CAST(identifier_value AS BLOB) FROM participant_identifiers i"
            f" WHERE i.participant_id = {table}.id AND trim(identifier_value) <> '' ORDER BY i.rowid LIMIT 1)"
        )
    name = blob(table, "display_name") if "display_name" in columns else "NULL"
    return f"coalesce({', '.join([*addresses, 'NULL', 'NULL'])})", name


def named(address: Any, name: Any) -> Person | None:
    found_address, found_name = one_line(address), known(name)
    if not found_name and "@" not in found_address and found_address != found_address.lower():
        found_name = found_address  # as it is written: an address is in lower case
    found_address = found_address.lower()
    return Person(found_address or found_name, found_name) if found_address or found_name else None
