"""The second half of the pipeline: embed batches and write them, each in one transaction, until nothing is work."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.backstop import Backstop
from vaultembed.archive.generations.leases import EXPIRES_SECONDS, Worker, alive_beside, release
from vaultembed.archive.generations.outcomes import ChunkRow, MessageOutcome, commit_batch, embedding_of_text
from vaultembed.archive.generations.runs import RunCounts, RunOutcome, end_run, start_run
from vaultembed.archive.generations.work import watermark_of, work_ids
from vaultembed.archive.vector_format import to_rows
from vaultembed.embeddings.ahead import BATCH_MESSAGES, Batch, PrepareAhead, PreparedMessage, ScanLimits
from vaultembed.embeddings.recipe import Job
from vaultembed.embeddings.resilient import NoVector, embed_texts
from vaultembed.embeddings.stopping import Pace
from vaultembed.failpoints import failpoint
from vaultembed.models.protocol import Embedder
from vaultembed.processes import this_process

_IDLE_SECONDS: Final = 0.05
"""So long the model may wait for a batch before what is embedded is written meanwhile, and before a look whether the
build is to stop."""
_OTHERS_SECONDS: Final = 0.25
"""Between two looks at whether another worker that holds the rest still lives."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends or slows down a run before everything is embedded. Each is a pause: the next run goes on."""

    messages: int | None = None
    per_second: float | None = None
    """Messages."""
    until: float | None = None
    """By `time.monotonic`, which is the same for all processes of a machine. The first batch is done all the same: else
    a build that is given less time than the model takes to load would never come forward."""

    def share(self, workers: int, number: int) -> Limits:
        """Of worker `number`, from 0, among so many: together they keep the limits."""
        messages = None if self.messages is None else (self.messages + workers - 1 - number) // workers
        return Limits(messages, None if self.per_second is None else self.per_second / workers, self.until)


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class _Embedded:
    outcomes: list[MessageOutcome]
    leases: dict[int, list[int]]
    tokens: int


def new_worker(run_id: int | None) -> Worker:
    return Worker(uuid.uuid4().hex, this_process(), run_id)


class Filler:
    """Embeds all that is work in one generation, as one worker among others. To make one begins a run."""

    def __init__(
        self,
        archive: Archive,
        job: Job,
        embedder: Embedder,
        *,
        limits: Limits,
        backstop: Backstop | None = None,
        on_batch: Callable[[RunCounts], None] = lambda _: None,
        on_wait: Callable[[str], None] = lambda _: None,
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._job = job
        self._generation = job.generation
        self._embedder = embedder
        self._limits = limits
        self._backstop = backstop
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._asked_to_stop = should_stop
        self._has_tried = False
        self._was_in_vain = False
        """The last pass, with nobody else at work after it."""
        self._pace = Pace(self._should_stop, limits.until)
        self.run_id: Final = start_run(archive, job.generation.id)
        self._worker = new_worker(self.run_id)
        self._started = time.monotonic()
        self._counts = RunCounts()
        """What this run has written so far."""

    def run(self) -> RunCounts:
        """Until nothing is work, here or with another worker, or until a limit or `should_stop`; every finished batch
        is written.

        Raises:
            ModelError: the model does not work; what is written stays.
        """
        try:
            self._fill()
        except BaseException as error:
            how: RunOutcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
            end_run(self._archive, self.run_id, self._counts, how)
            raise
        end_run(self._archive, self.run_id, self._counts, self._outcome())
        return self._counts

    def _fill(self) -> None:
        try:
            with ThreadPoolExecutor(1, "embed") as model:
                while not self._is_over():
                    before = self._counts.messages
                    self._pass(model)
                    if self._is_over() or not self._more_to_do(progressed=self._counts.messages > before):
                        break
        finally:
            release(self._archive, self._worker)

    def _outcome(self) -> RunOutcome:
        """How a run that came to its end without an error has ended."""
        if self._should_stop():
            return "interrupted"
        generation_id = self._generation.id
        if self._left() == 0 and work_ids(self._archive, generation_id, watermark_of(self._archive, generation_id), 1):
            return "limited"
        return "complete"

    def _should_stop(self) -> bool:
        until = self._limits.until
        return self._asked_to_stop() or (until is not None and self._has_tried and time.monotonic() >= until)

    def _is_over(self) -> bool:
        return self._should_stop() or self._left() == 0

    def _left(self) -> int | None:
        return None if self._limits.messages is None else max(0, self._limits.messages - self._counts.messages)

    def _pass(self, model: ThreadPoolExecutor) -> None:
        """Everything above the watermark, once."""
        rate = self._limits.per_second
        limits = ScanLimits(
            messages=self._left(),
            # half a second of it at once
            batch_messages=BATCH_MESSAGES if rate is None else max(1, min(int(rate / 2), BATCH_MESSAGES)),
        )
        ahead = PrepareAhead(self._archive.path, self._job, self._embedder, self._worker, limits)
        running: Future[_Embedded] | None = None
        try:
            while True:
                try:
                    batch = ahead.next_batch(_IDLE_SECONDS)
                except queue.Empty:
                    batch = Batch()
                upcoming = None
                known = {} if batch is None else self._known_vectors(batch)
                done = None if running is None else running.result()
                self._has_tried = self._has_tried or done is not None
                if batch is not None and batch.leases and not self._should_stop():
                    upcoming = model.submit(_embed, self._embedder, batch, known, self._pace)
                if done is not None:  # written while the model works on the next
                    self._write(done)
                    ahead.wrote_one()
                running = upcoming
                if batch is None or self._should_stop():
                    break
                if rate is not None:
                    if running is not None:  # there is time: nothing is gained by working ahead
                        self._write(running.result())
                        ahead.wrote_one()
                        running = None
                    self._keep_rate(rate)
            if running is not None:
                self._write(running.result())
                ahead.wrote_one()
        except BaseException:  # Ctrl-C where nobody asks whether to stop: the model is not to finish its batch
            self._asked_to_stop = lambda: True
            raise
        finally:
            self._has_tried = True
            ahead.close()

    def _keep_rate(self, rate: float) -> None:
        until = self._started + self._counts.messages / rate
        while time.monotonic() < until and not self._should_stop():
            time.sleep(min(0.1, max(0.0, until - time.monotonic())))

    def _more_to_do(self, *, progressed: bool) -> bool:
        """After a pass: what was edited or added meanwhile is work again, above a watermark that its change has
        lowered; the backstop may know of more; and what another worker holds is ours if it dies."""
        recovered = self._finish_backstop()
        generation_id = self._generation.id
        if not work_ids(self._archive, generation_id, watermark_of(self._archive, generation_id), 1):
            return False
        other = alive_beside(self._archive, generation_id, self._worker)
        was_in_vain, self._was_in_vain = self._was_in_vain, not (progressed or recovered or other)
        if progressed or recovered:
            return True
        if other is None:  # who held the rest during this pass may have died or stopped just after it: once more
            return not was_in_vain
        self._on_wait(
            f"waiting for worker {other[1].pid} on {other[1].host}: last heartbeat {other[0]:.0f} s ago,"
            f" taken over after {EXPIRES_SECONDS} s; Ctrl-C ends the wait"
        )
        time.sleep(_OTHERS_SECONDS)
        return True

    def _finish_backstop(self) -> bool:
        """Roll it to its end; True if it found anything. One that is interrupted is not recorded as done."""
        if self._backstop is None:
            return False
        while self._backstop.step():
            if self._should_stop():
                return False
        self._backstop.finish()
        self._counts = replace(self._counts, recovered=self._backstop.recovered)
        self._backstop = None
        return self._counts.recovered > 0

    def _known_vectors(self, batch: Batch) -> dict[bytes, bytes]:
        known = {}
        for message in batch.messages:
            for chunk in message.chunks:
                embedding = embedding_of_text(self._archive, self._generation.id, chunk.digest)
                if embedding is not None:
                    known[chunk.digest] = embedding
        return known

    def _write(self, done: _Embedded) -> None:
        def with_these(written: Sequence[MessageOutcome]) -> RunCounts:
            outcomes = [outcome.outcome for outcome in written]
            return replace(
                before,
                embedded=before.embedded + outcomes.count("embedded"),
                blank=before.blank + outcomes.count("blank"),
                failed=before.failed + outcomes.count("failed"),
                chunks=before.chunks + sum(len(outcome.chunks) for outcome in written),
                tokens=before.tokens + done.tokens,
                seconds=time.monotonic() - self._started,
            )

        before = self._counts
        written = commit_batch(
            self._archive, self._generation, self._job.recipe.tag, done.outcomes, self._worker, done.leases, with_these
        )
        self._counts = with_these(written)
        self._has_tried = True
        self._on_batch(self._counts)
        if self._backstop is not None:
            self._backstop.step()


def _embed(embedder: Embedder, batch: Batch, known: dict[bytes, bytes], pace: Pace) -> _Embedded:
    """Stopped in between: what there is of it up to the first message that is not finished."""
    texts = {
        chunk.digest: chunk.text for message in batch.messages for chunk in message.chunks if chunk.digest not in known
    }
    result = embed_texts(embedder, list(texts.values()), pace)
    rows: dict[bytes, bytes | NoVector] = dict(known)
    for digest, vector in zip(texts, result.results, strict=False):
        rows[digest] = vector if isinstance(vector, NoVector) else to_rows(np.asarray(vector)[None])[0]
    failpoint("build.after_embedding")
    unfinished = {m.work.message_id for m in batch.messages if any(chunk.digest not in rows for chunk in m.chunks)}
    outcomes = [_outcome(message, rows) for message in batch.messages if message.work.message_id not in unfinished]
    cut = {lease: list(takewhile(lambda n: n not in unfinished, ids)) for lease, ids in batch.leases.items()}
    return _Embedded(outcomes, {lease: ids for lease, ids in cut.items() if ids}, result.tokens)


def _outcome(message: PreparedMessage, rows: dict[bytes, bytes | NoVector]) -> MessageOutcome:
    found = MessageOutcome(message.work.message_id, message.work.content_rev, "blank", None, message.text, ())
    if message.failure is not None:
        return replace(found, outcome="failed", reason=message.failure)
    chunks = []
    for chunk in message.chunks:
        embedding = rows[chunk.digest]
        if isinstance(embedding, NoVector):
            return replace(found, outcome="failed", reason=embedding.reason)
        chunks.append(ChunkRow(chunk.char_start, chunk.char_end, chunk.digest, embedding))
    return replace(found, outcome="embedded", chunks=tuple(chunks), in_part=message.in_part) if chunks else found
