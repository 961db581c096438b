"""`eval`: asks a judged set of the archive as `search` does, and keeps how it was answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Final

from vaultembed import __version__
from vaultembed.archive.backup import taking_place
from vaultembed.archive.database import Archive, open_archive_readonly, require_archive
from vaultembed.archive.evaluations import (
    MEASURES,
    Answer,
    Answered,
    JudgedQuery,
    JudgedSet,
    RankedMessage,
    RunFacts,
    evaluations_file,
    keep_runs,
    list_runs,
    open_evaluations,
    read_answers,
    read_run,
)
from vaultembed.archive.evaluations import Measures as Measures
from vaultembed.archive.evaluations import Run as Run
from vaultembed.archive.generations.records import list_generations
from vaultembed.archive.mail.judged import conversations_of, messages_named, source_of
from vaultembed.errors import IncompleteError, UsageError
from vaultembed.evaluation.comparing import Difference as Difference
from vaultembed.evaluation.comparing import compare
from vaultembed.evaluation.measures import DEPTH, mean, measure
from vaultembed.evaluation.sets import corpus_as_mbox, read_set
from vaultembed.search.answering import Opener
from vaultembed.search.model_of import open_for_query
from vaultembed.search.query import plain_query
from vaultembed.service.keeping import Embedder, Generation, keep
from vaultembed.service.result import Result
from vaultembed.service.searching import Mode, SearchView, search_archive
from vaultembed.text.mime.identity import normalise_message_id

MODES: Final[tuple[Mode, ...]] = ("text", "vector", "hybrid")


@dataclass(frozen=True, slots=True)
class RunsView:
    file: Path
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class CohortView:
    name: str
    value: str
    queries: int
    measures: Measures


@dataclass(frozen=True, slots=True)
class RunDetailsView:
    run: Run
    cohorts: tuple[CohortView, ...]
    queries: tuple[Answered, ...]
    """The worst first; none unless asked for."""


@dataclass(frozen=True, slots=True)
class CohortDifference:
    name: str
    """"" for all of them."""
    value: str
    queries: int
    differences: Mapping[str, Difference]


@dataclass(frozen=True, slots=True)
class ComparisonView:
    first: Run
    second: Run
    cohorts: tuple[CohortDifference, ...]
    """All queries first."""


@dataclass(frozen=True, slots=True)
class CorpusView:
    file: Path
    documents: int


def run_set(
    archive_path: Path,
    set_path: Path,
    *,
    modes: Sequence[Mode] = MODES,
    setting: str = "",
    split: str | None = None,
    on_query: Callable[[int, int, float], None] = lambda _done, _total, _seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
    open_embedder: Opener = open_for_query,
) -> Result[RunsView]:
    """Ask every query in every mode. What was answered is kept when the last one is, or when it is to stop.

    `on_query` is told the answers so far, how many there will be, and the seconds so far.

    Raises:
        UsageError: the set cannot be read, or means no message of this archive.
        NotReadyError: by meaning is to be asked, and nothing can answer.
        IncompleteError: meanwhile another generation came to answer; nothing was kept.
    """
    judged, known = _read_set(archive_path, set_path, split)
    kept = keep(_opened_once(open_embedder))
    if any(mode != "text" for mode in modes):  # hybrid alone would go by words, and only say so
        search_archive(archive_path, plain_query(judged.queries[0].text), mode="vector", limit=1, kept=kept)
    with open_evaluations(archive_path):
        pass  # where nothing can be kept, nothing needs to be asked
    answers: dict[Mode, list[Answer]] = {mode: [] for mode in modes}
    views: dict[Mode, SearchView] = {}
    began = time.monotonic()
    done, total = 0, len(modes) * len(judged.queries)
    with open_archive_readonly(archive_path) as archive:
        for query in judged.queries:
            if should_stop():
                break
            for mode in modes:
                started = time.monotonic()
                view = search_archive(archive_path, plain_query(query.text), mode=mode, limit=DEPTH + 1, kept=kept).data
                seconds = time.monotonic() - started
                if _answered_by(view) != _answered_by(views.setdefault(mode, view)):
                    raise IncompleteError(
                        "meanwhile another generation came to answer; nothing was kept", "Give the same command again."
                    )
                answers[mode].append(_answer(archive, known, query, view, seconds))
                done += 1
                on_query(done, total, time.monotonic() - began)
        facts = [_facts(archive, view, setting, known.absent) for view in views.values()]
    runs: tuple[Run, ...] = ()
    if done:
        with open_evaluations(archive_path) as file:
            ids = keep_runs(file, judged, list(zip(facts, answers.values(), strict=True)))
            runs = tuple(read_run(file, run_id) for run_id in ids)
    data = RunsView(evaluations_file(archive_path), runs)
    return Result("eval run", data, _notes(known, runs), 0 if done == total else 130)


def _notes(known: _Known, runs: Sequence[Run]) -> tuple[str, ...]:
    notes = []
    if known.absent:
        notes.append(f"{known.absent:,} documents that answer a query are not in the archive, and count as not found.")
    if not runs:
        notes.append("Interrupted; nothing was kept.")
    elif runs[0].answered < runs[0].queries:
        notes.append(f"Interrupted after {runs[0].answered:,} of {runs[0].queries:,} queries; these were kept.")
    elif len(runs) > 1:
        notes.append(f"Is the difference more than luck? vaultembed eval compare {runs[0].id} {runs[-1].id}")
    return tuple(notes)


def _answered_by(view: SearchView) -> tuple[int | None, int | None]:
    return view.generation, view.building.generation if view.building else None


def _opened_once(open_embedder: Opener) -> Opener:
    """Models stay open from query to query."""
    opened: dict[int, Embedder] = {}

    def lend(generation: Generation) -> Embedder:
        if generation.id not in opened:
            opened[generation.id] = _Lent(open_embedder(generation))
        return opened[generation.id]

    return lend


class _Lent:
    """An embedder that the end of a search does not close."""

    def __init__(self, embedder: Embedder) -> None:
        self.facts, self.count_tokens, self.embed = embedder.facts, embedder.count_tokens, embedder.embed

    def close(self) -> None:
        """The end of the process does."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a set judges, as this archive has it."""

    messages: Mapping[str, Sequence[int]]
    """By document."""
    conversations: Mapping[int, int | None]
    """Of these messages."""
    absent: int


def _read_set(archive_path: Path, set_path: Path, split: str | None) -> tuple[JudgedSet, _Known]:
    """The set with the source of each query's answer for a cohort, and what it judges.

    Raises:
        UsageError: as `read_set`; or nothing of it is in the archive.
    """
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        judged = read_set(set_path, split)
        answering = {name for query in judged.queries for name, grade in query.grades.items() if grade > 0}
        messages = messages_named(archive, (name for query in judged.queries for name in query.grades))
        if not any(messages.values()):
            raise UsageError(
                f"nothing that {judged.name} judges is in the archive",
                "It names documents by Message-ID or by id. If it has a corpus, import that, into an archive of its"
                " own: vaultembed eval corpus",
            )
        queries = []
        for query in judged.queries:
            best = max(query.grades, key=lambda name: (bool(messages[name]), query.grades[name]))
            source = source_of(archive, messages[best][0]) if messages[best] else None
            cohorts = {"source": source, **query.cohorts} if source else query.cohorts
            queries.append(replace(query, cohorts=cohorts))
        conversations = conversations_of(archive, (i for ids in messages.values() for i in ids))
    absent = sum(not messages[name] for name in answering)
    return replace(judged, queries=tuple(queries)), _Known(messages, conversations, absent)


def _answer(archive: Archive, known: _Known, query: JudgedQuery, view: SearchView, seconds: float) -> Answer:
    conversations = conversations_of(archive, (found.id for found in view.results))
    documents = {i: name for name in query.grades for i in known.messages[name]}
    # a query that was taken from a message of the archive, as its id says, is not to find that
    itself = normalise_message_id(query.name) if "@" in query.name else None
    ranked: dict[str, RankedMessage] = {}
    for found in view.results:
        if itself is None or found.rfc822_message_id != itself:
            document = documents.get(found.id)
            message = RankedMessage(found.id, conversations[found.id], document, found.score)
            ranked.setdefault(document or f"\n{found.id}", message)  # of several copies, the best
    results = dict(list(ranked.items())[:DEPTH])
    wanted = {
        _conversation(known.conversations[i], i)
        for name, grade in query.grades.items()
        if grade > 0
        for i in known.messages[name]
    }
    lost = sum(grade > 0 and not known.messages[name] for name, grade in query.grades.items())
    measures = measure(
        list(results),
        query.grades,
        [_conversation(message.conversation_id, message.message_id) for message in results.values()],
        wanted | {f"absent {number}" for number in range(lost)},
    )
    return Answer(query.name, seconds, measures, tuple(results.values()))


def _conversation(conversation_id: int | None, message_id: int) -> Hashable:
    """A message in none is one by itself."""
    return ("alone", message_id) if conversation_id is None else conversation_id


def _facts(archive: Archive, view: SearchView, setting: str, absent: int) -> RunFacts:
    main, building = _answered_by(view)
    generation = next((one for one in list_generations(archive) if one.id == main), None)
    return RunFacts(
        mode=view.mode,
        setting=setting,
        version=__version__,
        generation=main,
        building=building,
        fingerprint=generation.fingerprint if generation else None,
        model=generation.model_label if generation else None,
        messages=view.coverage.live,
        not_covered=view.not_covered,
        absent=absent,
    )


def all_runs(archive_path: Path) -> Result[RunsView]:
    """The runs so far."""
    require_archive(archive_path)
    runs: tuple[Run, ...] = ()
    if evaluations_file(archive_path).exists():
        with open_evaluations(archive_path) as file:
            runs = tuple(list_runs(file))
    note = () if runs else ("No runs yet. Next: vaultembed eval run SET",)
    return Result("eval list", RunsView(evaluations_file(archive_path), runs), note)


def show_run(archive_path: Path, run_id: int, *, each_query: bool = False) -> Result[RunDetailsView]:
    """A run, its cohorts, and if asked for how it answered each query, the worst first.

    Raises:
        UsageError: there is no such run.
    """
    with _kept(archive_path) as file:
        run = read_run(file, run_id)
        answers = read_answers(file, run_id)
    cohorts = [
        CohortView(name, value, len(of), mean([answer.measures for answer in of]))
        for (name, value), of in _cohorts(answers).items()
    ]
    worst = sorted(answers, key=lambda answer: answer.measures.ndcg_10) if each_query else []
    return Result("eval show", RunDetailsView(run, tuple(cohorts), tuple(worst)))


def _cohorts(answers: Sequence[Answered]) -> dict[tuple[str, str], list[Answered]]:
    """In the order of their names; none of all queries, nor of one alone, as an address would be."""
    found: dict[tuple[str, str], list[Answered]] = {}
    for answer in answers:
        for cohort in answer.cohorts.items():
            found.setdefault(cohort, []).append(answer)
    return {cohort: found[cohort] for cohort in sorted(found) if 1 < len(found[cohort]) < len(answers)}


def compare_runs(archive_path: Path, first_id: int, second_id: int) -> Result[ComparisonView]:
    """How much better the second is, over the queries that both answered.

    Raises:
        UsageError: there is no such run, or they are of two sets, or have no query in common.
    """
    with _kept(archive_path) as file:
        first, second = read_run(file, first_id), read_run(file, second_id)
        if first.set_fingerprint != second.set_fingerprint:
            raise UsageError(
                f"run {first_id} is of {first.set}, run {second_id} of {second.set}, or of another edition",
                "Only runs of one set compare. To list them: vaultembed eval list",
            )
        before = {answer.query: answer for answer in read_answers(file, first_id)}
        after = [answer for answer in read_answers(file, second_id) if answer.query in before]
    if not after:
        raise UsageError(f"runs {first_id} and {second_id} have answered no query in common")
    cohorts = [_difference("", "", before, after)]
    cohorts += [_difference(name, value, before, of) for (name, value), of in _cohorts(after).items()]
    notes = []
    if len(after) < max(first.answered, second.answered):
        notes.append(f"Compared over the {len(after):,} queries that both answered.")
    return Result("eval compare", ComparisonView(first, second, tuple(cohorts)), tuple(notes))


def _difference(name: str, value: str, before: Mapping[str, Answered], after: Sequence[Answered]) -> CohortDifference:
    pairs = [(astuple(before[answer.query].measures), astuple(answer.measures)) for answer in after]
    found = compare([first for first, _ in pairs], [second for _, second in pairs])
    return CohortDifference(name, value, len(after), dict(zip(MEASURES, found, strict=True)))


@contextmanager
def _kept(archive_path: Path) -> Iterator[Archive]:
    """Raises UsageError where no run was kept."""
    if not evaluations_file(archive_path).exists():
        raise UsageError(f"nothing was evaluated yet for {archive_path}", "Next: vaultembed eval run SET")
    with open_evaluations(archive_path) as file:
        yield file


def write_corpus(set_path: Path, destination: Path, *, overwrite: bool = False) -> Result[CorpusView]:
    """The documents of a set that has its own as an mbox, to be imported into an archive of its own.

    Raises:
        UsageError: the set has none, or `destination` exists.
        StorageError: it cannot be written.
    """
    documents = 0
    with taking_place(destination, 0, overwrite=overwrite) as partial, partial.open("wb") as file:
        for message in corpus_as_mbox(set_path):
            file.write(message)
            documents += 1
    note = f"Next: vaultembed import --archive NEW.db {destination}"
    return Result("eval corpus", CorpusView(destination, documents), (note,))
