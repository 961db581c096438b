"""The queries of an everyday build find their rows by an index, and walk over no table that grows with the mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import fill, run
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from tests.kit.plans import executed_on
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.adopted import stored_rows
from vaultembed.archive.generations.coverage import rest_beside
from vaultembed.archive.generations.leases import claim, list_workers, release
from vaultembed.archive.generations.outcomes import list_failures
from vaultembed.archive.generations.records import (
    count_chunks,
    coverage_of,
    generation_to_fill,
    generation_with_id,
    list_generations,
    recipe_mix,
)
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import restamp
from vaultembed.archive.generations.work import (
    count_work,
    read_work,
    retry_failed,
    retry_partial,
    sweep,
    watermark_of,
    work_ids,
)
from vaultembed.archive.upkeep.pruning import collect_garbage
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.worker import new_worker

SMALL = {
    # a row a generation, a worker, a table, or one in all
    *("generations", "g", "models", "embed_coverage", "embed_leases", "embed_watermark", "live_count"),
    *("sqlite_schema", "generation_sources", "generation_types"),
    # a row a thing to be done
    *("deleted_with_remains", "vec_orphans", "fulltext_stale"),
}

# A seek to the first row of a generation, and on through all. (By recipe, only the first and the last are asked for.)
WHOLE_GENERATION = re.compile(
    r"SEARCH (?!.*embed_outcomes_(failed|by_recipe|in_part|stale))(o|embed_outcomes|c|chunks) .*\(generation_id=\?\)"
)


def walks(archive: Archive, what: Callable[[], object]) -> list[str]:
    """The steps of the plans of all that `what` executes that walk over a whole table or index that grows."""
    with executed_on(archive.db) as found:
        what()
    assert found
    return [
        f"{step}: {one.sql}"
        for one in found
        for step in one.steps
        if WHOLE_GENERATION.match(step) or (step.removeprefix("SCAN ") in one.scans and step.split()[1] not in SMALL)
    ]


@pytest.fixture(params=["whole", "scoped"])
def archive(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Archive]:
    """Two generations, the second with failures and being built; with messages deleted, edited and new."""
    scope = Scope(after=500_000_000) if request.param == "scoped" else None
    with new_archive(tmp_path / "a.db") as opened:
        ids = fill(opened, 30)
        run(opened)
        other = WordHashEmbedder("other", refused=["word3"])
        run(opened, other, wanted=Wanted(model_named=True, scope=scope), hold=True, max_failed=5)
        with opened.transaction():
            opened.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (ids[4],))
            opened.db.execute("UPDATE messages SET subject = 'another' WHERE id = ?", (ids[7],))
        for n in range(5):
            add(opened, f"new {n}", "text", message_id=f"new{n}")
        yield opened


def _claim(archive: Archive, generation_id: int) -> None:
    workers = [new_worker(None) for _ in range(3)]
    for worker in workers:
        claim(archive, generation_id, worker, 0, 2)
    for worker in workers:
        release(archive, worker)


def _sweep(archive: Archive, generation_id: int) -> None:
    with archive.transaction():
        sweep(archive, generation_id)


HOT: dict[str, Callable[[Archive, int], object]] = {
    "looking for work": lambda archive, g: work_ids(archive, g, 0, 10),
    "counting work": lambda archive, g: count_work(archive, g, watermark_of(archive, g)),
    "reading work": lambda archive, _: read_work(archive, [1, 2, 3]),
    "claiming": _claim,
    "sweeping": _sweep,
    "coverage": lambda archive, g: (coverage_of(archive, g), coverage_of(archive, None), count_chunks(archive, g)),
    "embeddings": lambda archive, g: (list_generations(archive), recipe_mix(archive, g), list_workers(archive, g)),
    "failures": list_failures,
    "stale vectors": lambda archive, g: archive.rows("SELECT * FROM stale_vectors WHERE generation_id = ?", (g,)),
    "stale vectors of all": lambda archive, _: archive.rows("SELECT * FROM stale_vectors"),
    "garbage": lambda archive, _: collect_garbage(archive),
    "restamping": lambda archive, _: restamp(archive),
    "retrying": retry_failed,
    "rows that were adopted": lambda archive, generation_id: stored_rows(archive, generation_id, "msgvault-p1", [1, 2]),
    "retrying what is in part": lambda archive, generation_id: retry_partial(archive, generation_id, "p1:t256o32c64"),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_walks_over_no_table_that_grows(archive: Archive, name: str) -> None:
    generation = generation_to_fill(archive)
    assert generation is not None
    assert walks(archive, lambda: HOT[name](archive, generation.id)) == []


def test_failures_are_found_by_the_index_of_failures(archive: Archive) -> None:
    generation = generation_to_fill(archive)
    assert generation is not None
    with executed_on(archive.db) as found:
        assert [failure.message_id for failure in list_failures(archive, generation.id)] == [4]
    assert any("embed_outcomes_failed" in step for step in found[-1].steps)


@pytest.mark.parametrize("with_rest", [False, True])
@pytest.mark.parametrize("only", [Filter(), Filter("m.sent_at >= ?", (0,))], ids=["all", "filtered"])
def test_a_small_generation_is_searched_from_its_own_chunks(archive: Archive, only: Filter, with_rest: bool) -> None:
    """However many messages there are of which it has nothing."""
    rest = rest_beside(archive, generation_with_id(archive, 2)) if with_rest else None
    query = np.full(DIMENSION, DIMENSION**-0.5, np.float32)
    with executed_on(archive.db) as found:
        nearest_messages(archive, generation_with_id(archive, 1), query, 5, only, rest=rest)
    assert re.match(r"SEARCH c USING INDEX \S+ \(generation_id=\?\)", found[-1].steps[0])


@pytest.mark.parametrize(
    "naive",
    [
        "SELECT id FROM messages WHERE deleted_at IS NULL AND (embed_gen IS NULL OR embed_gen <> 2) LIMIT 9",
        """SELECT count(*) FROM messages m
        JOIN embed_outcomes o ON o.message_id = m.id AND o.content_rev = m.content_rev
        WHERE m.deleted_at IS NULL GROUP BY o.outcome""",
        "SELECT count(*) FROM chunks",
        "SELECT min(chunk_id), max(chunk_id) FROM vectors",
        """SELECT m.id FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
        WHERE o.generation_id = 2 AND o.outcome = 'failed' AND o.content_rev = m.content_rev ORDER BY m.id""",
        "DELETE FROM vec_1 WHERE rowid IN (1, 2)",
        "SELECT c.id FROM messages m CROSS JOIN chunks c ON c.generation_id = 1 AND c.message_id = m.id",
    ],
)
def test_the_naive_queries_are_seen_to_walk(archive: Archive, naive: str) -> None:
    archive.load_vec()
    assert walks(archive, lambda: archive.rows(naive)) != []


def test_all_garbage_of_deleted_messages_is_listed_and_nothing_else(archive: Archive) -> None:
    def listed() -> list[tuple[int]]:
        return archive.rows("SELECT message_id FROM deleted_with_remains")

    with_remains = "SELECT message_id FROM embed_outcomes UNION SELECT message_id FROM chunks"
    truth = f"SELECT id FROM messages WHERE deleted_at IS NOT NULL AND id IN ({with_remains}) ORDER BY id"
    assert listed() == archive.rows(truth) == [(5,)]
    archive.db.execute("UPDATE messages SET deleted_at = 2 WHERE id IN (1, 2, 35)")  # 35 was never embedded
    assert listed() == archive.rows(truth) == [(1,), (2,), (5,)]
    archive.db.execute("UPDATE messages SET deleted_at = 3 WHERE id = 1")
    archive.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = 2")
    archive.db.execute("DELETE FROM messages WHERE id = 5")
    assert listed() == archive.rows(truth) == [(1,)]
    archive.load_vec()
    assert collect_garbage(archive).messages == 1
    assert listed() == archive.rows(truth) == []
    # another writer's, for a deleted message
    archive.db.execute(
        "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
        " VALUES (1, 35, 2, 'p1', 'blank', 0)"
    )
    assert listed() == archive.rows(truth) == [(35,)]
