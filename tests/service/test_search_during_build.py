"""Searches in many threads while generations are built and switched: no error, no wrong result, nothing dark."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.archives import add, check_invariants, new_archive
from tests.kit.embedder import WordHashEmbedder
from tests.kit.scale import scaled
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.generations.records import Generation, generation_in_state
from vaultembed.archive.generations.transitions import activate, discard, restamp, rollback
from vaultembed.embeddings.build import Options, Wanted, build, choose_generation
from vaultembed.embeddings.worker import Limits
from vaultembed.search.ranking import Mode
from vaultembed.service.searching import Kept, SearchView, search_archive

pytestmark = pytest.mark.slow

THREADS = 8
COUNT = scaled(120)


def open_model(generation: Generation) -> WordHashEmbedder:
    return WordHashEmbedder(generation.model.name)


def fill(archive: Archive, model: str, limit: int | None = None) -> None:
    archive.load_vec()
    embedder = WordHashEmbedder(model)
    job = choose_generation(archive, embedder, None, Wanted(model_named=True))
    build(archive, embedder, job, Options(hold=True, limits=Limits(messages=limit)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with new_archive(tmp_path / "a.db") as archive:
        for n in range(COUNT):
            add(archive, f"subject{n}", f"thing{n} lies in box{n % 7}", message_id=str(n), sent_at=n)
        fill(archive, "old")
        activate(archive, 1, 0, force=True)
    return tmp_path / "a.db"


class Searchers:
    """Each thread asks for one message after another by meaning, and looks at every result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stop = threading.Event()
        self.searches = 0
        self.generations: set[int | None] = set()

    def run(self, seed: int) -> None:
        pick = random.Random(seed)
        while not self.stop.is_set():
            n = pick.randrange(COUNT)
            mode: Mode = "vector" if pick.random() < 0.5 else "hybrid"
            view = search_archive(self.path, f"subject{n} thing{n}", mode=mode, limit=COUNT, kept=Kept(open_model)).data
            self.check(view, n, mode)
            self.searches += 1

    def check(self, view: SearchView, n: int, mode: Mode) -> None:
        assert view.not_covered == 0
        found = {result.id: result for result in view.results}
        assert set(found) == set(range(1, COUNT + 1)), "a message went dark"
        assert len(view.results) == COUNT
        right = found[n + 1]
        assert right.vector is not None
        assert right.vector.rank == 1, "another message of its generation was nearer than the right one"
        if mode == "hybrid":
            assert view.results[0].id == n + 1
        for message_id, result in found.items():
            assert result.passage.text == f"thing{message_id - 1} lies in box{(message_id - 1) % 7}"
            assert result.passage.chunk_id is not None
            self.generations.add(result.vector.generation if result.vector else None)


@contextmanager
def searching(path: Path) -> Iterator[Searchers]:
    searchers = Searchers(path)
    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(searchers.run, seed) for seed in range(THREADS)]
        try:
            yield searchers
            before = searchers.searches
            while searchers.searches < before + THREADS and not any(thread.done() for thread in running):
                searchers.stop.wait(0.01)
        finally:
            searchers.stop.set()
        for thread in running:
            thread.result()


def test_searches_during_a_build_and_every_switch_of_generations(path: Path) -> None:
    with searching(path) as searchers, open_archive(path) as archive:
        while generation_in_state(archive, "building") is None or archive.scalar(
            "SELECT embedded < live FROM embed_coverage WHERE generation_id = 2"
        ):
            fill(archive, "new", COUNT // 10)
        activate(archive, 2, 0, force=True)
        for _ in range(scaled(10)):
            rollback(archive)
            restamp(archive)
            activate(archive, 2, 0)
            restamp(archive)
        fill(archive, "newer", COUNT // 3)
        discard(archive, None)
        restamp(archive)
    assert searchers.searches > THREADS
    assert searchers.generations >= {1, 2}
    check_invariants(path)


def test_an_edit_or_a_deletion_is_true_in_every_search_that_begins_after_it(path: Path) -> None:
    stop = threading.Event()

    def build_on() -> None:
        with open_archive(path) as archive:
            while not stop.is_set():
                fill(archive, "new", 5)

    with ThreadPoolExecutor(1) as builder:
        building = builder.submit(build_on)
        try:
            with open_archive(path) as archive:
                for n in range(0, COUNT, 4):
                    archive.db.execute(
                        "UPDATE message_bodies SET body_text = ? WHERE message_id = ?", (f"edited{n} meanwhile", n + 1)
                    )
                    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (n + 2,))
                    view = search_archive(path, f"thing{n}", mode="vector", limit=COUNT, kept=Kept(open_model)).data
                    found = {result.id: result for result in view.results}
                    assert n + 2 not in found
                    assert n + 1 not in found or found[n + 1].passage.text == f"edited{n} meanwhile"
                    with open_archive_readonly(path) as reader:
                        deleted = reader.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL")
                    assert view.not_covered is not None
                    assert len(found) + view.not_covered == COUNT - deleted
        finally:
            stop.set()
        building.result()
