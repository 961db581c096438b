"""`vaultembed eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NoReturn

from vaultembed.cli.output import finish, stopping
from vaultembed.cli.progress import Progress
from vaultembed.cli.wording import count, safe_line, say, style
from vaultembed.paths import archive_path
from vaultembed.service.evaluating import (
    MODES,
    ComparisonView,
    CorpusView,
    Difference,
    Measures,
    Run,
    RunDetailsView,
    RunsView,
    all_runs,
    compare_runs,
    run_set,
    show_run,
    write_corpus,
)
from vaultembed.service.result import Result
from vaultembed.service.searching import Mode

_TITLES: Final = {
    "recall_1": "R@1",
    "recall_3": "R@3",
    "recall_5": "R@5",
    "recall_10": "R@10",
    "recall_100": "R@100",
    "mrr_10": "MRR@10",
    "ndcg_10": "nDCG@10",
    "conversation_recall_5": "conv R@5",
}


def run_eval(
    judged: Path, archive: Path | None, mode: Mode | Literal["all"], split: str | None, setting: str, *, as_json: bool
) -> NoReturn:
    def call() -> Result[RunsView]:
        progress = Progress("Asking")
        try:
            with stopping() as stop:
                result = run_set(
                    archive_path(archive),
                    judged,
                    modes=MODES if mode == "all" else (mode,),
                    setting=setting,
                    split=split,
                    on_query=lambda done, total, seconds: progress.update(
                        done, total, seconds, f"{done:,} of {count(total, 'answer')}"
                    ),
                    should_stop=stop,
                )
                return stop.exit_code(result)
        finally:
            progress.close()

    finish("eval run", call, render_runs, as_json=as_json)


def run_list(archive: Path | None, *, as_json: bool) -> NoReturn:
    finish("eval list", lambda: all_runs(archive_path(archive)), render_runs, as_json=as_json)


def run_show(run_id: int, archive: Path | None, *, each_query: bool, as_json: bool) -> NoReturn:
    finish(
        "eval show",
        lambda: show_run(archive_path(archive), run_id, each_query=each_query),
        render_run,
        as_json=as_json,
    )


def run_compare(first: int, second: int, archive: Path | None, *, as_json: bool) -> NoReturn:
    finish(
        "eval compare",
        lambda: compare_runs(archive_path(archive), first, second),
        render_comparison,
        as_json=as_json,
    )


def run_corpus(judged: Path, destination: Path, *, as_json: bool) -> NoReturn:
    finish("eval corpus", lambda: write_corpus(judged, destination), render_corpus, as_json=as_json)


def render_runs(data: RunsView) -> None:
    for found in data.runs:
        say(style(_headline(found), bold=True))
        say(f"    {_measures(found.measures)}")


def _headline(run: Run) -> str:
    parts = [f"{run.id}  {run.ended_at[:16].replace('T', ' ')}  {safe_line(run.set)}, {run.mode}"]
    parts += [f"generation {run.generation} ({safe_line(run.model or '')})"] if run.generation else []
    parts += [f"with generation {run.building}"] if run.building else []
    parts += [safe_line(run.setting)] if run.setting else []
    of = f" of {run.queries:,}, interrupted" if run.answered < run.queries else ""
    parts += [f"{run.answered:,} queries{of}", f"{run.milliseconds:.0f} ms each"]
    parts += [f"{run.not_covered:,} messages not covered"] if run.not_covered else []
    parts += [f"{run.absent:,} documents not here"] if run.absent else []
    return ", ".join(parts)


def _measures(measures: Measures) -> str:
    return "  ".join(f"{title} {getattr(measures, name):.3f}" for name, title in _TITLES.items())


def render_run(data: RunDetailsView) -> None:
    render_runs(RunsView(Path(), (data.run,)))
    for cohort in data.cohorts:
        say(f"  {cohort.name}: {safe_line(cohort.value)}, {cohort.queries:,} queries")
        say(f"    {_measures(cohort.measures)}")
    for answer in data.queries:
        found = f"rank {', '.join(map(str, answer.ranks))}" if answer.ranks else "not found"
        say(f"{answer.measures.ndcg_10:.3f}  {safe_line(answer.query)}: {found}")
        say(f"    {safe_line(answer.text)[:200]}")


def render_comparison(data: ComparisonView) -> None:
    for run in (data.first, data.second):
        say(_headline(run))
    everything, *cohorts = data.cohorts
    say(style(f"All, {everything.queries:,} queries", bold=True))
    for name, title in _TITLES.items():
        say(f"    {title:<9} {_difference(everything.differences[name])}")
    for cohort in cohorts:
        say(f"{cohort.name}: {safe_line(cohort.value)}, {cohort.queries:,} queries")
        say(f"    nDCG@10   {_difference(cohort.differences['ndcg_10'])}")


def _difference(found: Difference) -> str:
    verdict = "" if not found.is_significant else "  better" if found.difference > 0 else "  worse"
    return (
        f"{found.first:.3f} → {found.second:.3f}  {found.difference:+.3f}  [{found.low:+.3f}, {found.high:+.3f}]"
        f"  {found.better:>4} up {found.worse:>4} down{verdict}"
    )


def render_corpus(data: CorpusView) -> None:
    say(f"{count(data.documents, 'document')} written to {data.file}")
