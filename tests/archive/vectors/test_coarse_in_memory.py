"""Coarse indexes kept in memory: whatever happens to the file, each search finds in them what its snapshot has."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.builds import fill, run
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from tests.kit.scale import scaled
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.generations.records import count_chunks, generation_with_id, list_generations
from vaultembed.archive.schema_files import schema_dir
from vaultembed.archive.upkeep.pruning import collect_garbage, find_prunable, prune_generation
from vaultembed.archive.vector_format import to_bits
from vaultembed.archive.vectors import coarse_in_memory
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.coarse_table import close_holes, rebuild

BLOCK = 8


def a_query(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)


def true_distances(archive: Archive, generation_id: int, query: np.ndarray) -> dict[int, int]:
    """By chunk, from the vectors."""
    signs = np.packbits(query > 0, bitorder="little")
    return {
        chunk_id: int(np.bitwise_count(np.frombuffer(to_bits(embedding), np.uint8) ^ signs).sum())
        for chunk_id, embedding in archive.rows(
            "SELECT c.id, v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?",
            (generation_id,),
        )
    }


def check(kept: KeptBits, archive: Archive) -> int:
    """Every generation's nearest chunks are those of the snapshot; returns how many generations that were."""
    whole = [g for g in list_generations(archive) if g.pruned_at is None and count_chunks(archive, g.id)]
    for generation in whole:
        query = a_query(count_chunks(archive, generation.id))
        truth = true_distances(archive, generation.id, query)
        distances = kept.distances(archive, generation, query)
        for count in (1, 3, len(truth), 2 * len(truth)):
            last = sorted(truth.values())[min(count, len(truth)) - 1]
            near = {chunk_id for chunk_id, distance in truth.items() if distance <= last}
            found = distances.nearest(count)
            assert len(set(found)) == len(found) == min(len(near), 2 * count)
            assert set(found) <= near
            assert {chunk_id for chunk_id in near if truth[chunk_id] < last} <= set(found)
    return len(whole)


@contextmanager
def reading(path: Path) -> Iterator[Archive]:
    with open_archive_readonly(path) as archive, archive.snapshot():
        archive.scalar("SELECT 1 FROM messages")  # a snapshot begins with the first look
        yield archive


def make_blocks_small(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """So that a handful of chunks makes several blocks and tiles."""

    schema = shutil.copytree(schema_dir(), Path(tempfile.mkdtemp(dir=folder)) / "schema")
    template = "CREATE VIRTUAL TABLE vec_{generation_id} USING vec0(embedding bit[{dimension}], chunk_size=%d)"
    (schema / "vec_generation.sql").write_text(template % BLOCK)
    patch.setenv("VAULTEMBED_SCHEMA", str(schema))
    patch.setattr(coarse_in_memory, "_TILE", 2 * BLOCK)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_blocks_small(tmp_path, monkeypatch)
    made = tmp_path / "a.db"
    with open_archive(made) as archive:
        fill(archive, 50)
        run(archive)
    return made


def add_some(archive: Archive, number: int) -> None:
    start = int(archive.scalar("SELECT count(*) FROM messages"))
    fill(archive, number, start)
    run(archive)


def some_messages(archive: Archive, number: int) -> list[tuple[int]]:
    return archive.rows("SELECT id FROM messages WHERE deleted_at IS NULL AND id % 7 = ?", (number % 7,))


def edit_some(archive: Archive, number: int) -> None:
    for (message_id,) in some_messages(archive, number):
        archive.db.execute("UPDATE messages SET subject = subject || ' again' WHERE id = ?", (message_id,))
    run(archive)


def delete_some(archive: Archive, number: int) -> None:
    for (message_id,) in some_messages(archive, number):
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (message_id,))
    collect_garbage(archive)


def lose_some(archive: Archive, number: int) -> None:
    """Chunks go, and stay in the index until the next build."""
    for (message_id,) in some_messages(archive, number):
        archive.db.execute("DELETE FROM chunks WHERE message_id = ?", (message_id,))


def compact(archive: Archive, number: int) -> None:
    for generation in list_generations(archive):
        if generation.pruned_at is None:
            close_holes(archive, generation.id, tolerated=0, always=0)


def repair(archive: Archive, number: int) -> None:
    for generation in list_generations(archive):
        if generation.pruned_at is None:
            rebuild(archive, generation.id)


def change_model(archive: Archive, number: int) -> None:
    run(archive, WordHashEmbedder(f"model {number}"))


def prune(archive: Archive, number: int) -> None:
    for generation in find_prunable(archive).generations:
        prune_generation(archive, generation.id)


STEPS: list[Callable[[Archive, int], None]] = [
    add_some,
    add_some,
    edit_some,
    delete_some,
    lose_some,
    compact,
    repair,
    change_model,
    prune,
]


@pytest.mark.slow
@settings(
    max_examples=scaled(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 30), st.booleans()), max_size=10))
def test_it_follows_whatever_is_done_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Callable[[Archive, int], None], int, bool]]
) -> None:
    make_blocks_small(tmp_path, monkeypatch)
    kept = KeptBits()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as readers:
        path = Path(folder) / "a.db"
        with open_archive(path) as archive:
            fill(archive, 30)
            run(archive)
            older = readers.enter_context(reading(path))
            assert check(kept, older)
            for step, number, stays in steps:
                step(archive, number)
                with reading(path) as now:
                    check(kept, now)
                # one whose search began before that sees what there was then, and spoils nothing for the next
                check(kept, older)
                with reading(path) as now:
                    check(kept, now)
                if stays:
                    older = readers.enter_context(reading(path))


def test_it_is_read_once(path: Path) -> None:
    kept = KeptBits()
    asked: list[str] = []

    def ask() -> list[str]:
        asked.clear()
        with reading(path) as archive:
            archive.db.set_exec_trace(lambda _cursor, sql, _bindings: asked.append(sql) or True)
            kept.distances(archive, generation_with_id(archive, 1), a_query(1))
        return [sql for sql in asked if "vec_1" in sql]

    blocks = -(-50 // BLOCK)
    assert sum("vectors" in sql for sql in ask()) == blocks
    assert ask() == []
    with open_archive(path) as archive:
        add_some(archive, 1)
    assert sum("vectors" in sql for sql in ask()) == 1


def test_an_archive_put_in_its_place_is_read_anew(path: Path, tmp_path: Path) -> None:
    """As many chunks with the same ids, and other vectors."""
    other = tmp_path / "other.db"
    with open_archive(other) as archive:
        fill(archive, 50, start=1_000)
        run(archive)
    kept = KeptBits()
    with reading(path) as archive:
        check(kept, archive)
    moved = tmp_path / "moved.db"
    shutil.copyfile(other, moved)
    os.replace(moved, path)  # as a restore does
    with reading(path) as archive:
        check(kept, archive)


def test_an_archive_copied_over_it_is_read_anew(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with open_archive(other) as archive:
        fill(archive, 50, start=1_000)
        run(archive)
    kept = KeptBits()
    with reading(path) as archive:
        check(kept, archive)
    shutil.copyfile(other, path)
    with reading(path) as archive:
        check(kept, archive)


def test_an_older_copy_over_it_that_went_on_otherwise_is_read_anew(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(path, tmp_path / "copy.db"))
    with open_archive(path) as archive:
        fill(archive, 60, 50)
        run(archive)
    kept = KeptBits()
    with reading(path) as archive:
        assert check(kept, archive)
    shutil.copyfile(copy, path)  # the same inode
    with open_archive(path) as archive:
        fill(archive, 40, 500)  # gives ids that the other messages had
        run(archive)
    with reading(path) as archive:
        assert check(kept, archive)


def test_a_repaired_index_is_read_anew(path: Path) -> None:
    kept = KeptBits()
    with open_archive(path) as archive:
        archive.db.execute("UPDATE vec_1_vector_chunks00 SET vectors = zeroblob(length(vectors))")
    with reading(path) as archive:
        kept.distances(archive, generation_with_id(archive, 1), a_query(1))
    with open_archive(path) as archive:
        archive.load_vec_unchecked()
        rebuild(archive, 1)
    with reading(path) as archive:
        check(kept, archive)


def test_memory_is_given_back_when_chunks_go(path: Path) -> None:
    kept = KeptBits()

    def tiles() -> int:
        with reading(path) as archive:
            check(kept, archive)
            return len(kept.distances(archive, generation_with_id(archive, 1), a_query(1))._tiles)

    full = tiles()
    with open_archive(path) as archive:
        archive.load_vec()
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id <= 45")
        collect_garbage(archive)
    assert tiles() < full / 2


def test_many_threads_ask_while_another_process_would_write(path: Path) -> None:
    kept = KeptBits()
    wrong: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                with reading(path) as archive:
                    check(kept, archive)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    with open_archive(path) as archive:
        archive.load_vec()
        for number in range(12):
            [add_some, edit_some, delete_some, compact][number % 4](archive, number + 1)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_of_the_file_is_held_between_searches(path: Path) -> None:
    """So that a restore, which needs the file to itself, is possible while a server runs."""
    kept = KeptBits()
    with reading(path) as archive:
        check(kept, archive)
    alone = sqlite3.connect(path, timeout=0)
    try:
        alone.execute("PRAGMA locking_mode = EXCLUSIVE")
        alone.execute("BEGIN IMMEDIATE")
    finally:
        alone.close()
