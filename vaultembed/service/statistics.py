"""`stats`: what the archive holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.fulltext import count_stale
from vaultembed.archive.generations import coverage_of, generation_in_state
from vaultembed.archive.statistics import SourceCount, count_archive, count_sources
from vaultembed.service.coverage import CoverageView, coverage_view
from vaultembed.service.dates import iso
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class StatsView:
    archive: Path
    messages: int
    deleted: int
    conversations: int
    people: int
    attachments: int
    problems: int
    first_date: str | None
    last_date: str | None
    file_bytes: int
    raw_bytes: int
    not_indexed: int
    """Messages that text search leaves out for now."""
    generation: int | None
    """That serves search by meaning."""
    coverage: CoverageView
    sources: tuple[SourceCount, ...]


def archive_statistics(archive_path: Path) -> Result[StatsView]:
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        counts = count_archive(archive)
        generation = generation_in_state(archive, "active") or generation_in_state(archive, "building")
        view = StatsView(
            archive=archive_path,
            messages=counts.messages,
            deleted=counts.deleted,
            conversations=counts.conversations,
            people=counts.people,
            attachments=counts.attachments,
            problems=counts.problems,
            first_date=iso(counts.first_sent_at),
            last_date=iso(counts.last_sent_at),
            file_bytes=counts.file_bytes,
            raw_bytes=counts.raw_bytes,
            not_indexed=count_stale(archive),
            generation=generation.id if generation else None,
            coverage=coverage_view(coverage_of(archive, generation.id if generation else None)),
            sources=tuple(count_sources(archive)),
        )
    notes = []
    if not view.messages:
        notes.append("There are no messages yet. Import some: vaultembed import PATH")
    elif view.coverage.missing:
        notes.append(
            f"{view.coverage.missing:,} of {view.coverage.live:,} messages are not embedded."
            " Next: vaultembed embeddings build"
        )
    return Result("stats", view, tuple(notes))
