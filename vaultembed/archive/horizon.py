"""An archive of which only some messages are to be seen, whatever is asked of it.

Views in the place of tables: whoever reads `messages` on such a connection reads those within the horizon, whether the
statement thinks of it or not. A condition that every statement had to name would be forgotten by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.filters import Filter

HORIZON: Final = Filter("m.id IN (SELECT id FROM temp.horizon)")

# "+": SQLite takes the list for short, and would begin with it. People, chunks and the like are reached by way
# of messages alone: to ask of a sender whether any of 200,000 messages lies within, for each message, took 15 s.
_OF_MESSAGES: Final = "SELECT * FROM main.{} WHERE +{} IN (SELECT id FROM temp.horizon)"
_VIEWS: Final = {
    "messages": _OF_MESSAGES.format("messages", "id"),
    **{
        name: _OF_MESSAGES.format(name, "message_id")
        for name in (
            *("message_sources", "message_raw", "message_readings", "message_bodies", "message_labels"),
            *("attachments", "reactions", "problems"),
        )
    },
    "live_count": "SELECT 1 AS id, count(*) AS live FROM temp.horizon",
    "embed_coverage": "SELECT generation_id, is_scoped, "
    + ", ".join(f"within(generation_id, '{what}') AS {what}" for what in ("live", "embedded", "blank", "failed"))
    + ", chunks FROM main.embed_coverage",
    # of builds there is no telling how much of each lies within
    "embed_runs": "SELECT * FROM main.embed_runs WHERE 0",
    "embed_leases": "SELECT * FROM main.embed_leases WHERE 0",
}
_OUTCOMES: Final = """
SELECT coalesce(o.outcome, 'missing'), count(*) FROM temp.horizon h CROSS JOIN main.messages m ON m.id = h.id
LEFT JOIN main.embed_outcomes o ON o.generation_id = ?1 AND o.message_id = h.id AND o.content_rev = m.content_rev
WHERE (SELECT scope = '' FROM generations WHERE id = ?1)
   OR EXISTS (SELECT 1 FROM main.scope_members s WHERE s.generation_id = ?1 AND s.message_id = h.id)
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Within:
    """An archive as it is to be opened: only what passes a filter is there."""

    path: Path
    only: Callable[[], Filter]
    """Asked at each opening: "the last 30 days" are others tomorrow."""


def limit(archive: Archive, only: Filter) -> None:
    """From now on only live messages that pass a filter are there. For a connection that reads."""
    archive.execute("PRAGMA temp_store = MEMORY")
    archive.execute("CREATE TEMP TABLE horizon(id INTEGER PRIMARY KEY)")
    archive.execute(
        f"INSERT INTO temp.horizon SELECT m.id FROM messages m WHERE {only.live} AND ({only.sql})",
        only.bindings,
    )
    counted: dict[int, defaultdict[str, int]] = {}

    def within(generation_id: int, what: str) -> int:
        """In place of counters that triggers keep; counted once, and only where somebody asks."""
        if generation_id not in counted:
            found = defaultdict(int, archive.rows(_OUTCOMES, (generation_id,)))
            counted[generation_id] = defaultdict(int, found, live=sum(found.values()))
        return counted[generation_id][what]

    archive.db.create_scalar_function("within", within, 2)  # type: ignore[arg-type]
    for name, sql in _VIEWS.items():
        archive.execute(f"CREATE TEMP VIEW {name} AS {sql}")
    archive.is_limited = True
