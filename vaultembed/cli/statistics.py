"""`vaultembed stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn

from vaultembed.cli.output import finish
from vaultembed.cli.wording import count, coverage, duration, ended, safe_line, say, size
from vaultembed.paths import archive_path
from vaultembed.service.generations import RunView
from vaultembed.service.statistics import (
    SourceView,
    StatsView,
    TotalsView,
    VectorSearchView,
    archive_statistics,
)

_SHOWN_LABELS: Final = 20


def run(archive: Path | None, *, as_json: bool) -> NoReturn:
    finish("stats", lambda: archive_statistics(archive_path(archive)), render, as_json=as_json)


def render(data: StatsView) -> None:
    if data.totals is None:
        say(f"Archive:        {data.archive}")
    else:
        _render_totals(data.archive, data.totals)
    if data.types is not None and len(data.types) > 1:
        say("Types:          " + ", ".join(f"{safe_line(t.type)} {t.messages:,}" for t in data.types))
    for kind in ("folder", "label"):
        _render_labels(data, kind)
    if data.text_search is not None and data.text_search.not_indexed:
        say(f"Not in text search: {data.text_search.not_indexed:,}")
    if data.vector_search is not None:
        _render_vector_search(data.vector_search)
    if data.sources is not None:
        say("Sources:")
        for source in data.sources:
            say(f"  {safe_line(source.kind):<8} {safe_line(source.identifier)} ({_messages(source)})")


def _render_totals(archive: Path, totals: TotalsView) -> None:
    say(f"Archive:        {archive} ({size(totals.file_bytes or 0)}, of it {size(totals.raw_bytes)} raw messages)")
    first, last = totals.first_date, totals.last_date
    dates = f", {first[:10]} to {last[:10]}" if first and last else ""
    deleted = f", {totals.deleted:,} deleted" if totals.deleted else ""
    say(f"Messages:       {totals.messages:,}{dates}{deleted}")
    say(f"Conversations:  {totals.conversations:,}")
    say(f"People:         {totals.people:,}")
    say(f"Attachments:    {totals.attachments:,}")
    guessed = f", and {count(totals.guessed, 'message')} read by a guess" if totals.guessed else ""
    say(f"Problems:       {totals.problems:,}{guessed}")


def _render_labels(data: StatsView, kind: str) -> None:
    names = [f"{safe_line(found.name)} {found.messages:,}" for found in data.labels or () if found.kind == kind]
    if names:
        more = " and others" if len(names) > _SHOWN_LABELS else ""
        say(f"{kind.capitalize() + 's:':<15} {', '.join(names[:_SHOWN_LABELS])}{more}")


def _render_vector_search(found: VectorSearchView) -> None:
    active, building = found.active_generation, found.building_generation
    if active is None and building is None:
        say("Embeddings:     none yet")
    if active is not None:
        since = f", in use since {active.activated_at[:10]}" if active.activated_at else ""
        say(f"Embeddings:     generation {active.id} ({safe_line(active.model)}){since}. {coverage(active)}")
    if building is not None:
        progress = building.progress
        left = f", about {duration(progress.eta_seconds)} left" if progress.eta_seconds is not None else ""
        speed = f", {progress.rate:,} a second{left}" if progress.rate else ", nobody works on it"
        say(f"Being built:    generation {building.id} ({safe_line(building.model)}){speed}. {coverage(building)}")
    filled = building or active
    if filled is not None and filled.last_build is not None:
        _render_last_build(filled.last_build)
    say(f"Still to embed: {found.missing_embeddings_total:,}")


def _render_last_build(build: RunView) -> None:
    day = f"{build.started_at[:10]}, " if build.started_at else ""
    say(f"Last build:     {day}{ended(build.outcome)}; {build.embedded:,} embedded")


def _messages(source: SourceView) -> str:
    gone = f", {source.gone:,} gone" if source.gone else ""
    unfinished = "" if source.last_import_at else ", import not finished"
    return f"{count(source.messages, 'message')}{gone}{unfinished}"
