"""`embed_runs`: one row a run of `embeddings build`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import count_of, number_of, text_of

RunOutcome = Literal["complete", "limited", "interrupted", "stopped"]
"""`limited`: it came to the end of the messages that it was given, with more to do."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    embedded: int = 0
    blank: int = 0
    failed: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0
    recovered: int = 0
    """Messages that the backstop found below the watermark, or with a stamp that was not true."""

    @property
    def messages(self) -> int:
        return self.embedded + self.blank + self.failed


def start_run(archive: Archive, generation_id: int) -> int:
    return archive.insert(
        "INSERT INTO embed_runs(generation_id, started_at, host, pid) VALUES (?, unixepoch(), ?, ?) RETURNING id",
        (generation_id, platform.node(), os.getpid()),
    )


def note_progress(archive: Archive, run_id: int | None, counts: RunCounts) -> None:
    """What the run has done so far, in the transaction that does it: so that it is true after a kill, too."""
    archive.execute(
        "UPDATE embed_runs SET embedded = ?, blank = ?, failed = ?, chunks = ?, tokens = ?, seconds = ? WHERE id = ?",
        (counts.embedded, counts.blank, counts.failed, counts.chunks, counts.tokens, counts.seconds, run_id),
    )


def end_run(archive: Archive, run_id: int, counts: RunCounts, outcome: RunOutcome) -> None:
    note_progress(archive, run_id, counts)
    archive.execute(
        "UPDATE embed_runs SET ended_at = unixepoch(), recovered = ?, outcome = ? WHERE id = ?",
        (counts.recovered, outcome, run_id),
    )


@dataclass(frozen=True, slots=True)
class RunRecord:
    id: int
    generation_id: int
    started_at: int
    ended_at: int | None
    """None: it is running, or was killed."""
    outcome: str | None
    """A `RunOutcome`; None while it has not ended."""
    counts: RunCounts


_SECONDS: Final = "CASE WHEN typeof(seconds) IN ('integer', 'real') AND abs(seconds) < 1e12 THEN seconds ELSE 0 END"
_COUNTS: Final = ", ".join(
    [*map(count_of, ("embedded", "blank", "failed", "chunks", "tokens")), _SECONDS, count_of("recovered")]
)


def list_runs(archive: Archive, generation_id: int | None, limit: int) -> list[RunRecord]:
    """Of a generation, or of all: those that began last, the last first."""
    condition, bindings = ("", ()) if generation_id is None else (" WHERE generation_id = ?", (generation_id,))
    return [
        RunRecord(run_id, generation, started_at, ended_at, outcome, RunCounts(*counts))
        for run_id, generation, started_at, ended_at, outcome, *counts in archive.rows(
            f"SELECT id, {count_of('generation_id')}, {count_of('started_at')}, {number_of('ended_at')},"
            f" {text_of('outcome')}, {_COUNTS} FROM embed_runs{condition} ORDER BY id DESC LIMIT ?",
            (*bindings, limit),
        )
    ]


def counts_of_runs(archive: Archive, process_ids: Sequence[int], after_run: int) -> RunCounts:
    """What runs of these processes of this machine, begun after another run, have done together."""
    row = archive.row(
        "SELECT coalesce(sum(embedded), 0), coalesce(sum(blank), 0), coalesce(sum(failed), 0),"
        " coalesce(sum(chunks), 0), coalesce(sum(tokens), 0), coalesce(max(seconds), 0) FROM embed_runs"
        f" WHERE id > ? AND host = ? AND pid IN ({','.join('?' * len(process_ids))})",
        (after_run, platform.node(), *process_ids),
    )
    return RunCounts() if row is None else RunCounts(*row)
