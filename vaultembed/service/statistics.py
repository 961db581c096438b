"""`stats`: what the archive holds, and how much of it can be found. The one set of numbers, for CLI and MCP alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vaultembed.archive.database import explained_errors, open_archive_readonly
from vaultembed.archive.fulltext import count_stale
from vaultembed.archive.statistics import Counts, TypeCount, count_archive, count_sources, count_types
from vaultembed.errors import VaultembedError
from vaultembed.service.dates import iso
from vaultembed.service.result import Result
from vaultembed.service.vector_statistics import VectorSearchView, vector_statistics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TotalsView:
    messages: int
    """Live ones."""
    deleted: int
    conversations: int
    people: int
    attachments: int
    problems: int
    first_date: str | None
    last_date: str | None
    file_bytes: int
    raw_bytes: int
    """Of the raw messages, compressed."""


@dataclass(frozen=True, slots=True)
class SourceView:
    kind: str
    identifier: str
    messages: int
    """Live ones that stand in it, each once. One message may stand in several sources."""
    gone: int
    """Of them no longer in the source; they stay in the archive."""
    added_at: str | None
    last_import_at: str | None
    """None until an import of it has come to its end."""


@dataclass(frozen=True, slots=True)
class TextSearchView:
    not_indexed: int
    """Messages that search by words leaves out for now."""


@dataclass(frozen=True, slots=True)
class UnavailableView:
    """A part of the statistics that could not be computed; it is null."""

    part: str
    code: str
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class StatsView:
    archive: Path
    totals: TotalsView | None
    sources: tuple[SourceView, ...] | None
    types: tuple[TypeCount, ...] | None
    text_search: TextSearchView | None
    vector_search: VectorSearchView | None
    unavailable: tuple[UnavailableView, ...]


def archive_statistics(archive_path: Path) -> Result[StatsView]:
    """All parts, of one state of the archive. A part that cannot be computed is None, and told in `unavailable`; the
    exit code is then that of the first such error. Takes about a millisecond a thousand messages; `vector_search`
    the same at any size.

    Raises:
        ArchiveMissingError, ArchiveOutdatedError: as `open_archive_readonly`.
        UsageError, DamageError, StorageError: it cannot be opened at all.
    """
    unavailable: list[UnavailableView] = []
    exit_codes: list[int] = []

    def part(name: str, compute: Callable[[], T]) -> T | None:
        try:
            with explained_errors(archive_path):
                return compute()
        except VaultembedError as error:
            unavailable.append(UnavailableView(name, error.code, error.message, error.hint))
            exit_codes.append(error.exit_code)
            return None

    # each page is read once, and to map it costs more
    with open_archive_readonly(archive_path, mmap_bytes=0) as archive, archive.snapshot():
        # the quickest first: where the time of a call is over, the rest is what is not known
        vector_search = part("vector_search", lambda: vector_statistics(archive))
        text_search = part("text_search", lambda: TextSearchView(count_stale(archive)))
        sources = part(
            "sources",
            lambda: tuple(
                SourceView(s.kind, s.identifier, s.messages, s.gone, iso(s.added_at), iso(s.last_import_at))
                for s in count_sources(archive)
            ),
        )
        types = part("types", lambda: tuple(count_types(archive)))
        totals = part("totals", lambda: _totals(count_archive(archive)))
        view = StatsView(archive_path, totals, sources, types, text_search, vector_search, tuple(unavailable))
    return Result("stats", view, tuple(_notes(view)), exit_codes[0] if exit_codes else 0)


def _totals(counts: Counts) -> TotalsView:
    return TotalsView(
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
    )


def _notes(view: StatsView) -> list[str]:
    notes = [
        f"Not known: {part.part.replace('_', ' ')}. {part.message}. {part.hint or ''}".rstrip()
        for part in view.unavailable
    ]
    if view.totals is not None and not view.totals.messages:
        notes.append("There are no messages yet. Import some: vaultembed import PATH")
    elif view.vector_search is not None:
        missing, problem = view.vector_search.missing_embeddings_total, view.vector_search.problem
        if missing:
            notes.append(f"Still to be embedded: {missing:,} messages. Next: vaultembed embeddings build")
        elif problem is not None:
            notes.append(f"Search by meaning does not answer: {problem.message}. {problem.hint or ''}".rstrip())
    return notes
