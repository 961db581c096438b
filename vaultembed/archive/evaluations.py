"""What `vaultembed eval` keeps: judged sets, runs, and how each query was answered. In a file of its own beside the
archive, which stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final

from vaultembed.archive.backup import EVALUATIONS_ID
from vaultembed.archive.engine.beside import open_beside
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.schema_files import schema_dir
from vaultembed.errors import UsageError


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    name: str
    """Its id in the set."""
    text: str
    grades: Mapping[str, int]
    """By document; 1 or more answers the query."""
    cohorts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JudgedSet:
    name: str
    fingerprint: str
    queries: tuple[JudgedQuery, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one answer, or their means."""

    recall_1: float
    recall_3: float
    recall_5: float
    recall_10: float
    recall_100: float
    mrr_10: float
    ndcg_10: float
    conversation_recall_5: float


MEASURES: Final = tuple(field.name for field in fields(Measures))


@dataclass(frozen=True, slots=True)
class RankedMessage:
    message_id: int
    conversation_id: int | None
    document: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    query: str
    seconds: float
    measures: Measures
    ranked: tuple[RankedMessage, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run asked, and of what."""

    mode: str
    setting: str
    version: str
    generation: int | None
    building: int | None
    """The one being built that answered beside it."""
    fingerprint: str | None
    model: str | None
    messages: int
    not_covered: int | None
    absent: int
    """Documents that answer a query and are not in the archive."""


@dataclass(frozen=True, slots=True)
class Run(RunFacts):
    """As it was kept."""

    id: int
    set: str
    set_fingerprint: str
    ended_at: str
    queries: int
    """Of the set."""
    answered: int
    """Fewer where the run was interrupted."""
    milliseconds: float
    """A query, on average."""
    measures: Measures


@dataclass(frozen=True, slots=True)
class Answered:
    """How a run answered a query."""

    query: str
    text: str
    cohorts: Mapping[str, str]
    measures: Measures
    ranks: tuple[int, ...]
    """Of the messages that answer it."""


def evaluations_file(archive_path: Path) -> Path:
    return archive_path.with_name(archive_path.name + ".eval")


@contextmanager
def open_evaluations(archive_path: Path) -> Iterator[Archive]:
    """Raises: as `open_beside`."""
    schema = (schema_dir() / "evaluations.sql").read_text("utf-8")
    with open_beside(evaluations_file(archive_path), schema, EVALUATIONS_ID) as kept:
        yield kept


def keep_runs(kept: Archive, judged: JudgedSet, runs: Sequence[tuple[RunFacts, Sequence[Answer]]]) -> list[int]:
    """All of them, or none; returns their ids."""
    with kept.transaction():
        set_id = _keep_set(kept, judged)
        ids = dict(kept.rows("SELECT name, id FROM queries WHERE set_id = ?", (set_id,)))
        return [_keep_run(kept, set_id, ids, facts, answers) for facts, answers in runs]


def _keep_set(kept: Archive, judged: JudgedSet) -> int:
    found = kept.scalar("SELECT id FROM sets WHERE fingerprint = ?", (judged.fingerprint,))
    if found is not None:
        return int(found)
    set_id = kept.insert(
        "INSERT INTO sets(name, fingerprint) VALUES (?, ?) RETURNING id", (judged.name, judged.fingerprint)
    )
    for query in judged.queries:
        query_id = kept.insert(
            "INSERT INTO queries(set_id, name, text) VALUES (?, ?, ?) RETURNING id", (set_id, query.name, query.text)
        )
        rows = [(query_id, *item) for item in query.grades.items()]
        kept.execute_many("INSERT INTO judgements(query_id, document, grade) VALUES (?, ?, ?)", rows)
        cohorts = [(query_id, *item) for item in query.cohorts.items()]
        kept.execute_many("INSERT INTO cohorts(query_id, name, value) VALUES (?, ?, ?)", cohorts)
    return set_id


def _keep_run(kept: Archive, set_id: int, ids: Mapping[str, int], facts: RunFacts, answers: Sequence[Answer]) -> int:
    columns = [field.name for field in fields(RunFacts)]
    run_id = kept.insert(
        f"INSERT INTO runs(set_id, {', '.join(columns)}) VALUES (?{', ?' * len(columns)}) RETURNING id",
        (set_id, *astuple(facts)),
    )
    for answer in answers:
        query_id = ids[answer.query]
        kept.execute(
            f"INSERT INTO answers(run_id, query_id, seconds, {', '.join(MEASURES)})"
            f" VALUES (?, ?, ?{', ?' * len(MEASURES)})",
            (run_id, query_id, answer.seconds, *astuple(answer.measures)),
        )
        kept.execute_many(
            "INSERT INTO results(run_id, query_id, rank, message_id, conversation_id, document, score)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(run_id, query_id, rank, *astuple(found)) for rank, found in enumerate(answer.ranked, 1)],
        )
    return run_id


_RUNS: Final = f"""
SELECT {", ".join(f"r.{field.name}" for field in fields(RunFacts))}, r.id, s.name, s.fingerprint,
       strftime('%Y-%m-%dT%H:%M:%S+00:00', r.ended_at, 'unixepoch'),
       (SELECT count(*) FROM queries q WHERE q.set_id = s.id), count(*), round(1000 * avg(a.seconds), 1),
       {", ".join(f"avg(a.{name})" for name in MEASURES)}
FROM runs r JOIN sets s ON s.id = r.set_id JOIN answers a ON a.run_id = r.id
"""


def list_runs(kept: Archive) -> list[Run]:
    """The last one last."""
    return [_run(row) for row in kept.rows(f"{_RUNS} GROUP BY r.id ORDER BY r.id")]


def read_run(kept: Archive, run_id: int) -> Run:
    """
    Raises:
        UsageError: there is none.
    """
    found = kept.row(f"{_RUNS} WHERE r.id = ? GROUP BY r.id", (run_id,))
    if found is None:
        raise UsageError(f"there is no run {run_id}", "To list them: vaultembed eval list")
    return _run(found)


def _run(row: Sequence[Any]) -> Run:
    values = [*row[: -len(MEASURES)], Measures(*row[-len(MEASURES) :])]
    return Run(*values)


def read_answers(kept: Archive, run_id: int) -> list[Answered]:
    """In the order of the set."""
    ranks: dict[int, list[int]] = {}
    for query_id, rank in kept.rows(
        "SELECT r.query_id, r.rank FROM results r JOIN judgements j USING (query_id, document)"
        " WHERE r.run_id = ? AND j.grade > 0 ORDER BY r.query_id, r.rank",
        (run_id,),
    ):
        ranks.setdefault(query_id, []).append(rank)
    cohorts: dict[int, dict[str, str]] = {}
    for query_id, name, value in kept.rows(
        "SELECT query_id, name, value FROM cohorts JOIN answers USING (query_id) WHERE run_id = ?", (run_id,)
    ):
        cohorts.setdefault(query_id, {})[name] = value
    rows = kept.rows(
        f"SELECT q.id, q.name, q.text, {', '.join(MEASURES)} FROM answers a JOIN queries q ON q.id = a.query_id"
        " WHERE a.run_id = ? ORDER BY q.id",
        (run_id,),
    )
    return [
        Answered(name, text, cohorts.get(query_id, {}), Measures(*measures), tuple(ranks.get(query_id, ())))
        for query_id, name, text, *measures in rows
    ]
