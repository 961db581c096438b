"""`stats`: what the archive holds, and how much of it can be found. The one set of numbers, for CLI and MCP alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from vaultembed.archive.database import Archive, Within, explained_errors, open_archive_readonly
from vaultembed.archive.generations.backstop import last_backstop_at
from vaultembed.archive.generations.coverage import count_missing
from vaultembed.archive.generations.records import Generation, coverage_of, generation_in_state
from vaultembed.archive.generations.runs import list_runs
from vaultembed.archive.mail.fulltext import count_stale
from vaultembed.archive.mail.statistics import (
    Counts,
    LabelCount,
    TypeCount,
    count_archive,
    count_labels,
    count_sources,
    count_types,
)
from vaultembed.errors import ModelError, VaultembedError
from vaultembed.search.answering import Serving, find_serving, why_unavailable
from vaultembed.search.model_of import resolve_model_of
from vaultembed.service.generations import RunView, WorkerView, run_view, workers_of
from vaultembed.service.result import Result, iso

MOST_LABELS: Final = 100


@dataclass(frozen=True, slots=True)
class ProblemView:
    """Why something does not work, and the way out."""

    code: str
    """Stable; see vaultembed/errors.py."""
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class ProgressView:
    done: int
    """Embedded, blank or failed."""
    total: int
    """Live messages in its scope."""
    rate: float | None
    """Messages a second, of the workers that live; None where none does."""
    eta_seconds: int | None


@dataclass(frozen=True, slots=True)
class ActiveGenerationView:
    """The generation that answers. `live = embedded + blank + failed + missing`."""

    id: int
    model: str
    dimension: int
    fingerprint: str
    state: str
    activated_at: str | None
    message_count: int
    """Live messages in its scope that can be found by meaning: those that are embedded."""
    live: int
    embedded: int
    blank: int
    failed: int
    missing: int
    in_part: int
    """Of the embedded ones."""
    outside_scope: int
    """Live messages that it is not to cover; in none of the other numbers."""
    last_build: RunView | None
    last_backstop_at: str | None
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class BuildingGenerationView:
    """The generation that is being built. `live = embedded + blank + failed + missing`."""

    id: int
    model: str
    dimension: int
    fingerprint: str
    state: str
    started_at: str | None
    progress: ProgressView
    live: int
    embedded: int
    blank: int
    failed: int
    missing: int
    in_part: int
    """Of the embedded ones."""
    outside_scope: int
    """Live messages that it is not to cover; in none of the other numbers."""
    last_build: RunView | None
    last_backstop_at: str | None
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class VectorSearchView:
    enabled: bool
    """Whether search by meaning answers; `problem` says why not."""
    problem: ProblemView | None
    active_generation: ActiveGenerationView | None
    building_generation: BuildingGenerationView | None
    missing_embeddings_total: int
    """Live messages that still need embedding in the active generation, or in the one being built: each counted once.
    All of them, where there is neither."""


def vector_statistics(archive: Archive) -> VectorSearchView:
    """In one snapshot of the caller's."""
    active = generation_in_state(archive, "active")
    building = generation_in_state(archive, "building")
    problem = _problem(archive, find_serving(archive))
    return VectorSearchView(
        enabled=problem is None,
        problem=problem,
        active_generation=_active_view(archive, active) if active else None,
        building_generation=_building_view(archive, building) if building else None,
        missing_embeddings_total=count_missing(archive, [g for g in (building, active) if g is not None]),
    )


def problem_view(error: VaultembedError) -> ProblemView:
    return ProblemView(error.code, error.message, error.hint)


def _problem(archive: Archive, serving: Serving | None) -> ProblemView | None:
    unavailable = why_unavailable(archive, serving)
    if unavailable is not None:
        return problem_view(unavailable)
    if serving is None:
        return None
    problems = []
    for generation in (serving.main, serving.building):
        if generation is None:
            continue
        try:
            resolve_model_of(generation)
        except ModelError as error:
            problems.append(problem_view(error))
        else:
            return None  # either of them answers
    return problems[0]


def _active_view(archive: Archive, generation: Generation) -> ActiveGenerationView:
    coverage = coverage_of(archive, generation.id)
    return ActiveGenerationView(
        id=generation.id,
        model=generation.model_label,
        dimension=generation.dimension,
        fingerprint=generation.fingerprint,
        state=generation.state,
        activated_at=iso(generation.activated_at),
        message_count=coverage.embedded,
        live=coverage.live,
        embedded=coverage.embedded,
        blank=coverage.blank,
        failed=coverage.failed,
        missing=coverage.missing,
        in_part=coverage.in_part,
        outside_scope=coverage.outside_scope,
        last_build=_last_build(archive, generation),
        last_backstop_at=iso(last_backstop_at(archive, generation.id)),
        workers=workers_of(archive, generation.id),
    )


def _building_view(archive: Archive, generation: Generation) -> BuildingGenerationView:
    coverage = coverage_of(archive, generation.id)
    workers = workers_of(archive, generation.id)
    rate = round(sum(worker.per_second or 0 for worker in workers if not worker.is_gone), 1) or None
    return BuildingGenerationView(
        id=generation.id,
        model=generation.model_label,
        dimension=generation.dimension,
        fingerprint=generation.fingerprint,
        state=generation.state,
        started_at=iso(generation.created_at),
        progress=ProgressView(
            done=coverage.live - coverage.missing,
            total=coverage.live,
            rate=rate,
            eta_seconds=round(coverage.missing / rate) if rate else None,
        ),
        live=coverage.live,
        embedded=coverage.embedded,
        blank=coverage.blank,
        failed=coverage.failed,
        missing=coverage.missing,
        in_part=coverage.in_part,
        outside_scope=coverage.outside_scope,
        last_build=_last_build(archive, generation),
        last_backstop_at=iso(last_backstop_at(archive, generation.id)),
        workers=workers,
    )


def _last_build(archive: Archive, generation: Generation) -> RunView | None:
    runs = list_runs(archive, generation.id, 1)
    return run_view(runs[0]) if runs else None


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
    """Messages of which something is missing, and what could not be read."""
    guessed: int
    """Messages that were read by a guess, and have no other problem."""
    first_date: str | None
    last_date: str | None
    file_bytes: int | None
    """None where only some messages are there for an assistant."""
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
    labels: tuple[LabelCount, ...] | None
    """And folders: those with the most messages, at most `MOST_LABELS`."""
    text_search: TextSearchView | None
    vector_search: VectorSearchView | None
    unavailable: tuple[UnavailableView, ...]


def archive_statistics(where: Path | Within) -> Result[StatsView]:
    """All parts, of one state of the archive. A part that cannot be computed is None, and told in `unavailable`; the
    exit code is then that of the first such error. Takes about a millisecond a thousand messages; `vector_search`
    the same at any size.

    Raises:
        ArchiveMissingError, ArchiveOutdatedError: as `open_archive_readonly`.
        UsageError, DamageError, StorageError: it cannot be opened at all.
    """
    archive_path = where.path if isinstance(where, Within) else where
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
    with open_archive_readonly(where) as archive, archive.snapshot():
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
        labels = part("labels", lambda: tuple(count_labels(archive, MOST_LABELS)))
        totals = part("totals", lambda: _totals(count_archive(archive)))
        view = StatsView(archive_path, totals, sources, types, labels, text_search, vector_search, tuple(unavailable))
    return Result("stats", view, tuple(_notes(view)), exit_codes[0] if exit_codes else 0)


def _totals(counts: Counts) -> TotalsView:
    return TotalsView(
        messages=counts.messages,
        deleted=counts.deleted,
        conversations=counts.conversations,
        people=counts.people,
        attachments=counts.attachments,
        problems=counts.problems,
        guessed=counts.guessed,
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
            notes.append(f"Search by meaning is unavailable: {problem.message}. {problem.hint or ''}".rstrip())
    return notes
