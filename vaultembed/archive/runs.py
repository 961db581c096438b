"""`embed_runs`: one row a run of `embeddings build`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vaultembed.archive.database import Archive

RunOutcome = Literal["complete", "interrupted", "stopped"]


@dataclass(frozen=True, slots=True)
class RunCounts:
    embedded: int = 0
    blank: int = 0
    failed: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0


def start_run(archive: Archive, generation_id: int) -> int:
    archive.db.execute("INSERT INTO embed_runs(generation_id, started_at) VALUES (?, unixepoch())", (generation_id,))
    return archive.db.last_insert_rowid()


def end_run(archive: Archive, run_id: int, counts: RunCounts, outcome: RunOutcome) -> None:
    archive.db.execute(
        "UPDATE embed_runs SET ended_at = unixepoch(), embedded = ?, blank = ?, failed = ?, chunks = ?, tokens = ?,"
        " seconds = ?, outcome = ? WHERE id = ?",
        (
            counts.embedded,
            counts.blank,
            counts.failed,
            counts.chunks,
            counts.tokens,
            counts.seconds,
            outcome,
            run_id,
        ),
    )
