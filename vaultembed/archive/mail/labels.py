"""Labels on messages, and the folders that they stand in. In the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vaultembed.archive.engine.connection import Archive


def add_labels(archive: Archive, message_id: int, kind: str, names: Iterable[str]) -> None:
    """Put labels (`kind` "label") or folders ("folder") on a message; those it has stay."""
    for name in names:
        archive.execute("INSERT INTO labels(kind, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (kind, name))
        archive.execute(
            "INSERT INTO message_labels SELECT ?, id FROM labels WHERE kind = ? AND name = ? ON CONFLICT DO NOTHING",
            (message_id, kind, name),
        )


def set_labels(archive: Archive, message_id: int, names: Iterable[str]) -> None:
    """Let a message bear these labels, and no others. Its folders stay."""
    archive.execute(
        "DELETE FROM message_labels WHERE message_id = ? AND label_id IN (SELECT id FROM labels WHERE kind = 'label')"
        " AND label_id NOT IN (SELECT id FROM labels WHERE name IN (SELECT value FROM json_each(?)))",
        (message_id, json.dumps(list(names))),
    )
    add_labels(archive, message_id, "label", names)


def remove_labels(archive: Archive, message_id: int, names: Iterable[str]) -> None:
    """Take labels off a message that it bore at one of its places, but for those that it bears at another."""
    archive.execute(
        "DELETE FROM message_labels WHERE message_id = ?1 AND label_id IN (SELECT id FROM labels"
        " WHERE kind = 'label' AND name IN (SELECT value FROM json_each(?2)) AND name NOT IN"
        " (SELECT j.value FROM message_sources x, json_each(x.labels) j WHERE x.message_id = ?1))",
        (message_id, json.dumps(list(names))),
    )
