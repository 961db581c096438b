"""What an archive's size costs the life of its embeddings: looking for work, claiming it, writing it, showing it.

    python -m tests.benchmarks.lifecycle_scale [--messages 1000000] [--folder DIR]

Synthetic messages and vectors, written by the same code as a build writes them. Measured at a tenth of the messages and
at all of them: what is flat takes as long at both. Beside it, in the same archive, the ways that are not flat.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.generations.leases import Worker, claim, release
from vaultembed.archive.generations.outcomes import ChunkRow, MessageOutcome, commit_batch, list_failures
from vaultembed.archive.generations.records import (
    Generation,
    ModelRecord,
    coverage_of,
    create_generation,
    generation_with_id,
    list_generations,
)
from vaultembed.archive.generations.runs import RunCounts, start_run
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import activate, discard
from vaultembed.archive.generations.work import sweep, watermark_of, work_ids
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.upkeep.pruning import collect_garbage, prune_generation
from vaultembed.archive.vector_format import to_rows
from vaultembed.embeddings.build import build, choose_generation
from vaultembed.embeddings.recipe import recipe_for
from vaultembed.embeddings.worker import new_worker
from vaultembed.models.protocol import ModelFacts
from vaultembed.service.generations import embeddings_status, generation_view

DIMENSION: Final = 384
BATCH: Final = 100
SLICE: Final = 10_000
"""Chunks of one look at what writing costs."""
DELETED_EVERY: Final = 100
FAILED: Final = 20
"""Messages that fail, among the first."""
OPEN: Final = 2_000
"""Messages left to be claimed while claiming is measured."""
TIMES: Final = 31
DAY: Final = 86_400
FIRST_DAY: Final = 1_000_000_000 // DAY * DAY


class NeverAsked(WordHashEmbedder):
    """Has the facts of the generation; there is nothing to embed."""

    @property
    def facts(self) -> ModelFacts:
        return replace(super().facts, dimension=DIMENSION, context_length=512)


Table = dict[str, list[float]]
"""Milliseconds at each size, by what was measured."""


def add_messages(archive: Archive, first: int, last: int) -> None:
    """In bulk, one a minute. Every hundredth is deleted. Not in the index of words: that is not what is measured."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    with archive.transaction():
        archive.db.execute(
            f"{numbers} INSERT INTO messages(id, rfc822_message_id, content_hash, sent_at, subject, deleted_at)"
            " SELECT i, i || '@example.org', randomblob(16), ? + 60 * i, 'About ' || i,"
            f" CASE WHEN i % {DELETED_EVERY} = 0 THEN 1 END FROM n",
            (FIRST_DAY,),
        )
        archive.db.execute(
            f"{numbers} INSERT INTO message_bodies SELECT i, 'What was said about ' || i || ' is short.' FROM n"
        )
        archive.db.execute("DELETE FROM fulltext_stale")


class Writer:
    """Fills the generation with random vectors, by way of leases and batches, and takes the time of the batches."""

    def __init__(self, archive: Archive, generation: Generation) -> None:
        self._archive = archive
        self._generation = generation
        self._random = np.random.default_rng(0)
        self._run = start_run(archive, generation.id)
        self._worker = new_worker(self._run)
        self._written = 0
        self._in_slice = 0.0
        self._cpu_in_slice = 0.0
        self.seconds: list[float] = []
        """Of each slice."""
        self.cpu_seconds: list[float] = []
        """The same without the disk, which others may be using."""
        self.batches: list[float] = []

    def write(self, until_left: int) -> None:
        """Until so many messages are left."""
        left = coverage_of(self._archive, self._generation.id).missing - until_left
        after = watermark_of(self._archive, self._generation.id)
        while left > 0:
            lease = claim(self._archive, self._generation.id, self._worker, after, min(BATCH, left))
            assert lease is not None
            outcomes = self._outcomes(lease.message_ids)
            started, cpu_started = time.perf_counter(), time.process_time()
            written = commit_batch(
                self._archive,
                self._generation,
                self._generation.recipe,
                outcomes,
                self._worker,
                {lease.id: lease.message_ids},
                lambda _: RunCounts(embedded=self._written),
            )
            taken = time.perf_counter() - started
            assert len(written) == len(outcomes)
            self.batches.append(taken)
            self._in_slice += taken
            self._cpu_in_slice += time.process_time() - cpu_started
            left -= len(written)
            after = lease.message_ids[-1]
            self._written += len(written)
            if self._written // SLICE > len(self.seconds):
                self.seconds.append(self._in_slice)
                self.cpu_seconds.append(self._cpu_in_slice)
                self._in_slice = self._cpu_in_slice = 0.0

    def _outcomes(self, message_ids: tuple[int, ...]) -> list[MessageOutcome]:
        vectors = self._random.standard_normal((len(message_ids), DIMENSION), dtype=np.float32)
        rows = to_rows(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        outcomes = []
        for message_id, row in zip(message_ids, rows, strict=True):
            text = f"About {message_id}\n\nWhat was said about {message_id} is short."
            chunk = ChunkRow(0, len(text), self._random.bytes(16), row)
            rev = 2  # a body came after the message
            if message_id <= FAILED:
                outcomes.append(MessageOutcome(message_id, rev, "failed", "its vector is not finite", text, ()))
            else:
                outcomes.append(MessageOutcome(message_id, rev, "embedded", None, text, (chunk,)))
        return outcomes


def median_ms(what: Callable[[], object], times: int = TIMES) -> float:
    what()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        what()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


@contextmanager
def undone(archive: Archive) -> Iterator[None]:
    """What is written inside is not kept."""
    archive.db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        archive.db.execute("ROLLBACK")


def undone_ms(archive: Archive, what: Callable[[], object], times: int = TIMES) -> float:
    """Of `what` alone, each time from the same state, within a transaction."""
    taken = []
    for _ in range(times + 1):
        with undone(archive):
            started = time.perf_counter()
            what()
            taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken[1:])


def measure_claims(archive: Archive, generation: Generation, table: Table, prefix: str = "") -> None:
    """With the commit of the claim; what is claimed is given back, and that is not timed."""
    after = watermark_of(archive, generation.id)
    others = [new_worker(None) for _ in range(4)]

    def claim_ms(worker: Worker) -> float:
        taken = []
        for _ in range(TIMES):
            started = time.perf_counter()
            assert claim(archive, generation.id, worker, after) is not None
            taken.append(time.perf_counter() - started)
            release(archive, worker)
        return 1000 * statistics.median(taken)

    table.setdefault(f"{prefix}claiming a batch", []).append(claim_ms(new_worker(None)))
    archive.db.pragma("synchronous", "OFF")
    table.setdefault(f"{prefix}  without waiting for the disk", []).append(claim_ms(new_worker(None)))
    for other in others:
        assert claim(archive, generation.id, other, after) is not None
    table.setdefault(f"{prefix}  the same, 4 workers beside", []).append(claim_ms(new_worker(None)))
    archive.db.pragma("synchronous", "FULL")
    view = median_ms(lambda: generation_view(archive, generation_with_id(archive, generation.id)))
    table.setdefault(f"{prefix}`embeddings`, 4 workers at it", []).append(view)
    for other in others:
        release(archive, other)


def measure_idle(archive: Archive, generation: Generation, table: Table) -> None:
    """Nothing is left to do."""
    embedder = NeverAsked()

    def build_nothing() -> None:
        archive.load_vec()
        collect_garbage(archive)
        job = choose_generation(archive, embedder, None)
        built = build(archive, embedder, job)
        assert built.run.messages == 0
        assert not built.interrupted
        generation_view(archive, built.generation)

    def open_and_build_nothing() -> None:
        with open_archive(archive.path) as opened:
            opened.load_vec()
            collect_garbage(opened)
            build(opened, embedder, choose_generation(opened, embedder, None))

    def look() -> None:
        with archive.snapshot():
            for found in list_generations(archive):
                generation_view(archive, found)
            coverage_of(archive, None)

    def sweep_once() -> None:
        sweep(archive, generation.id)

    middle = int(archive.scalar("SELECT max(id) / 2 FROM messages")) + 1
    gone = archive.scalar("SELECT min(id) FROM messages WHERE deleted_at IS NOT NULL AND id > ?", (middle,))

    def note(what: str, milliseconds: float) -> None:
        table.setdefault(what, []).append(milliseconds)

    note("a build with nothing to do", median_ms(build_nothing))
    note("  of it: collecting garbage, none there", median_ms(lambda: collect_garbage(archive)))
    note("  of it: looking for work", median_ms(lambda: work_ids(archive, generation.id, 0, 1)))
    note("  the same, with opening the file", median_ms(open_and_build_nothing))
    with open_archive_readonly(archive.path) as reader:
        writer, archive = archive, reader
        note("`embeddings`", median_ms(look))
        note("reading the coverage", median_ms(lambda: coverage_of(archive, generation.id)))
        note(f"listing {FAILED} failures", median_ms(lambda: list_failures(archive, generation.id)))
        archive = writer
    note("`embeddings`, with opening the file", median_ms(lambda: embeddings_status(archive.path)))
    note("claiming where nothing is left", median_ms(lambda: claim(archive, generation.id, new_worker(None), 0)))
    note("a sweep", undone_ms(archive, sweep_once))
    note(
        "an edit in the middle",
        undone_ms(
            archive,
            lambda: archive.db.execute(
                "UPDATE message_bodies SET body_text = 'Something else' WHERE message_id = ?", (middle,)
            ),
        ),
    )
    note(
        "an undelete",
        undone_ms(archive, lambda: archive.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = ?", (gone,))),
    )
    note(
        "a deletion",
        undone_ms(archive, lambda: archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (middle,))),
    )


def measure_old_ways(archive: Archive, generation: Generation, table: Table) -> None:
    """What the same would take otherwise."""
    top = int(archive.scalar("SELECT max(id) FROM chunks"))
    ids = [1 + i * (top // BATCH) for i in range(BATCH)]
    marks = ",".join("?" * BATCH)

    def delete_each() -> None:
        for chunk_id in ids:
            archive.db.execute(f"DELETE FROM vec_{generation.id} WHERE rowid = ?", (chunk_id,))

    def delete_in() -> None:
        archive.db.execute(f"DELETE FROM vec_{generation.id} WHERE rowid IN ({marks})", ids)

    def count_by_join() -> None:
        archive.rows(
            "SELECT o.outcome, count(*) FROM messages m JOIN embed_outcomes o ON o.message_id = m.id"
            " AND o.content_rev = m.content_rev WHERE o.generation_id = ? AND m.deleted_at IS NULL GROUP BY 1",
            (generation.id,),
        )

    def work_by_or() -> None:
        archive.rows(
            "SELECT id FROM messages WHERE deleted_at IS NULL AND id > 0 AND (embed_gen IS NULL OR embed_gen <> ?)"
            " ORDER BY id LIMIT ?",
            (generation.id, BATCH),
        )

    def note(what: str, milliseconds: float) -> None:
        table.setdefault(what, []).append(milliseconds)

    note(f"{BATCH} old vectors out, each by its rowid", undone_ms(archive, delete_each, 5))
    note("  the old way: rowid IN (…)", undone_ms(archive, delete_in, 3))
    note("coverage, the old way: counting a join", median_ms(count_by_join, 2))
    note("work, the old way: NULL OR another stamp", median_ms(work_by_or, 3))


def measure_scoped(archive: Archive, messages: int, record: ModelRecord, table: Table) -> None:
    """Another generation beside, for the last tenth of the mail only."""
    after = FIRST_DAY + 60 * (messages - messages // 10)
    generation = create_generation(archive, record, "another", "p1:t256o32", Scope(after=after))
    Writer(archive, generation).write(coverage_of(archive, generation.id).missing - BATCH)
    batches = Writer(archive, generation)
    batches.write(coverage_of(archive, generation.id).missing - 5 * BATCH)
    table.setdefault("limited: a batch written", []).append(1000 * statistics.median(batches.batches))
    measure_claims(archive, generation, table, "limited: ")
    discard(archive, generation.id)
    prune_generation(archive, generation.id)


def show(table: Table, sizes: list[int]) -> None:
    print(f"\n{'milliseconds, median':52}" + "".join(f"{size:>12,}" for size in sizes) + "   times")
    for name, found in table.items():
        print(f"{name:52}" + "".join(f"{ms:12.3f}" for ms in found) + f"{found[-1] / found[0]:8.1f}")


def show_writing(what: str, seconds: list[float]) -> None:
    part = max(1, len(seconds) // 10)
    first, last = sum(seconds[:part]), sum(seconds[-part:])
    print(f"\nwriting, {what} of {SLICE:,} chunks after {SLICE:,} chunks:")
    print(" ".join(f"{second:.2f}" for second in seconds))
    print(f"the first {part * SLICE:,}: {first:.1f}, the last: {last:.1f}, {last / first:.2f} times as long")


def main(messages: int, folder: Path | None) -> None:
    facts = NeverAsked().facts
    record = ModelRecord(
        facts.name,
        facts.weights_sha256,
        facts.converter,
        facts.architecture,
        DIMENSION,
        facts.pooling,
        facts.context_length,
        "",
        "",
        facts.licence,
        None,
    )
    table: Table = {}
    old_ways: Table = {}
    sizes = [messages // 10, messages]
    with (
        tempfile.TemporaryDirectory(prefix="lifecycle-scale-", dir=folder) as place,
        open_archive(Path(place) / "archive.db") as archive,
    ):
        archive.load_vec()
        generation = create_generation(archive, record, facts.space, recipe_for(facts.context_length).tag)
        writer = Writer(archive, generation)
        first = 1
        for size in sizes:
            started = time.perf_counter()
            add_messages(archive, first, size)
            print(f"{size - first + 1:,} messages added in {time.perf_counter() - started:.0f} s", flush=True)
            first = size + 1
            refresh_stale(archive)
            started = time.perf_counter()
            writer.write(until_left=OPEN)
            print(f"their vectors written in {time.perf_counter() - started:.0f} s", flush=True)
            measure_claims(archive, generation, table)
            writer.write(until_left=0)
            activate(archive, generation.id, FAILED, force=True)
            archive.db.execute("UPDATE embed_watermark SET last_backstop_at = unixepoch()")
            measure_idle(archive, generation, table)
            measure_old_ways(archive, generation, old_ways)
            measure_scoped(archive, size, record, table)
            show(table | old_ways, sizes[: len(table["a sweep"])])
            print(flush=True)
        show_writing("seconds", writer.seconds)
        show_writing("CPU seconds", writer.cpu_seconds)
        print(f"the file has {archive.path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.messages < 100_000:
        parser.error("less than 100,000 messages measure nothing")
    main(arguments.messages, arguments.folder)
