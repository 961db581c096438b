"""The first half of the pipeline: lease ids, read text, prepare and cut it, in a thread ahead of the model."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.leases import LEASE_MESSAGES, Lease, Worker, absolve, claim, heartbeat
from vaultembed.archive.generations.work import Work, read_work, watermark_of
from vaultembed.embeddings.recipe import Job, Recipe
from vaultembed.failpoints import failpoint
from vaultembed.text.embeddable.chunking import Chunk, chunk_text, text_hash
from vaultembed.text.embeddable.prepare import prepare_text
from vaultembed.text.embeddable.tokenizer import Tokenizer

BATCH_CHUNKS: Final = 96
"""About two seconds of work on a slow machine: what a kill costs, and how long Ctrl-C may take. In halves, each with a
transaction of its own: one is embedded while the one before it is written, and a kill then loses both."""
BATCH_MESSAGES: Final = 256
FIRST_CHUNKS: Final = 8
"""Of the first batch: a build that has little time is to have done something."""
QUEUED_BATCHES: Final = 3
HEARTBEAT_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    char_start: int
    char_end: int
    text: str
    digest: bytes
    """`text_hash` of it."""


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    work: Work
    text: str | None
    """None where it could not be prepared."""
    chunks: tuple[PreparedChunk, ...]
    failure: str | None = None
    """Why it could not be cut into chunks."""
    in_part: bool = False
    """Its text is longer than its chunks."""


@dataclass(slots=True)
class Batch:
    messages: list[PreparedMessage] = field(default_factory=list)
    leases: dict[int, list[int]] = field(default_factory=dict)
    """The ids of each lease that this batch sees to, in order; also of messages that are gone meanwhile."""
    chunks: int = 0

    def add(self, lease_id: int, message_id: int, message: PreparedMessage | None) -> None:
        self.leases.setdefault(lease_id, []).append(message_id)
        if message is not None:
            self.messages.append(message)
            self.chunks += len(message.chunks)


@dataclass(frozen=True, slots=True)
class ScanLimits:
    messages: int | None = None
    """To be taken at most."""
    batch_messages: int = BATCH_MESSAGES


def prepare_message(work: Work, tokenizer: Tokenizer, recipe: Recipe) -> PreparedMessage:
    text = None
    try:
        text = prepare_text(work.subject, work.body_text, answers=work.answers)
        chunks = chunk_text(text, tokenizer, recipe.max_tokens, recipe.overlap_tokens, recipe.most_chunks)
    except Exception as error:
        # whatever it is, it is this message's: raised, it would end this build and every one after it
        return PreparedMessage(work, text, (), failure=f"it cannot be prepared: {type(error).__name__}: {error}")
    in_part = bool(chunks and text[chunks[-1].char_end :].strip())
    return PreparedMessage(work, text, tuple(_prepared(text, chunk) for chunk in chunks), in_part=in_part)


def _prepared(text: str, chunk: Chunk) -> PreparedChunk:
    own = text[chunk.char_start : chunk.char_end]
    return PreparedChunk(chunk.char_start, chunk.char_end, own, text_hash(own))


class Scan:
    """Leases everything that is work, in id order, and prepares it in batches."""

    def __init__(
        self,
        archive: Archive,
        job: Job,
        tokenizer: Tokenizer,
        worker: Worker,
        limits: ScanLimits,
        all_written: Callable[[], None],
    ) -> None:
        """`all_written` waits until every batch handed out has been written."""
        self._archive = archive
        self._job = job
        self._tokenizer = tokenizer
        self._worker = worker
        self._limits = limits
        self._all_written = all_written

    def __iter__(self) -> Iterator[Batch]:
        batch = Batch()
        most_chunks = min(FIRST_CHUNKS, BATCH_CHUNKS // 2)
        for lease in self._leases():
            # A worker has died over this range. If it kills this one too, nothing else may be lost with it, or what is
            # innocent would in the end be taken for what does the killing.
            is_suspect = lease.attempts > 0
            if is_suspect:
                if batch.leases:
                    yield batch
                    batch = Batch()
                self._all_written()
            works = {work.message_id: work for work in read_work(self._archive, lease.message_ids)}
            failpoint("build.after_read")
            prepared: Iterable[tuple[int, PreparedMessage | None]] = (
                (message_id, self._prepare(works[message_id], lease) if message_id in works else None)
                for message_id in lease.message_ids
            )
            if is_suspect:
                # Native code works on it in a process of its own. So only this may have killed the others; whoever dies
                # from here on is killed by something else, as is a person who loses patience with a long message.
                prepared = list(prepared)
                absolve(self._archive, lease.id, self._worker)
            for message_id, message in prepared:
                batch.add(lease.id, message_id, message)
                if batch.chunks >= most_chunks or len(batch.messages) >= self._limits.batch_messages:
                    yield batch
                    batch = Batch()
                    most_chunks = BATCH_CHUNKS // 2
            if is_suspect and batch.leases:
                yield batch
                batch = Batch()
            if is_suspect:
                self._all_written()
        if batch.leases:
            yield batch

    def _leases(self) -> Iterator[Lease]:
        after = watermark_of(self._archive, self._job.generation.id)
        left = self._limits.messages
        while left is None or left > 0:
            most = LEASE_MESSAGES if left is None else min(LEASE_MESSAGES, left)
            lease = claim(self._archive, self._job.generation.id, self._worker, after, most)
            if lease is None:
                return
            after = max(after, lease.message_ids[-1])
            if left is not None:
                left -= len(lease.message_ids)
            yield lease

    def _prepare(self, work: Work, lease: Lease) -> PreparedMessage:
        if lease.is_hopeless:
            return PreparedMessage(
                work, None, (), failure=f"{lease.attempts} processes died while they were working on it"
            )
        failpoint(f"build.prepare.{work.message_id}")
        return prepare_message(work, self._tokenizer, self._job.recipe)


class PrepareAhead:
    """Runs a `Scan` in a thread with its own connection, a few batches ahead. `close` stops it early.

    Another thread keeps the worker's leases alive meanwhile, also while the model takes long over one batch.
    """

    def __init__(self, path: Path, job: Job, tokenizer: Tokenizer, worker: Worker, limits: ScanLimits) -> None:
        self._path = path
        self._worker = worker
        self._queue: queue.Queue[Batch | BaseException | None] = queue.Queue(QUEUED_BATCHES)
        self._stopped = threading.Event()
        self._handed_out = 0
        self._written = 0
        self._threads = [
            threading.Thread(target=self._run, args=(job, tokenizer, limits), name="prepare", daemon=True),
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def next_batch(self, seconds: float) -> Batch | None:
        """The next batch; None at the end. Waits so many seconds.

        Raises:
            queue.Empty: nothing came in that time.
        """
        item = self._queue.get(timeout=seconds)
        if isinstance(item, BaseException):
            raise item
        return item

    def wrote_one(self) -> None:
        """To be called when a batch has been written."""
        self._written += 1

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, job: Job, tokenizer: Tokenizer, limits: ScanLimits) -> None:
        try:
            with open_archive(self._path) as archive:
                scan = Scan(archive, job, tokenizer, self._worker, limits, self._wait_until_written)
                for batch in scan:
                    self._handed_out += 1
                    if not self._put(batch):
                        return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _wait_until_written(self) -> None:
        while self._written < self._handed_out and not self._stopped.is_set():
            time.sleep(0.02)

    def _put(self, item: Batch | BaseException | None) -> bool:
        # with a time limit: nobody may be taking any more
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            try:
                with open_archive(self._path) as archive:
                    heartbeat(archive, self._worker)
            except Exception:  # noqa: S112 (the worker's own connection will meet whatever this is, and say so)
                continue
