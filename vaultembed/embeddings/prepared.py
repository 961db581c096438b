"""The first half of the pipeline: scan ids, read text, prepare and cut it, in a thread ahead of the model."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.outcomes import Work, read_work, watermark_of, work_ids
from vaultembed.embeddings.recipe import Recipe
from vaultembed.text.chunking import Chunk, chunk_text
from vaultembed.text.prepare import prepare_text
from vaultembed.text.tokenizer import Tokenizer

SCAN: Final = 256
"""Ids taken per look at the index."""
BATCH_CHUNKS: Final = 96
"""About two seconds of work on a slow machine: what a kill costs, and how long Ctrl-C may take."""
BATCH_MESSAGES: Final = 256
QUEUED_BATCHES: Final = 3


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    work: Work
    text: str
    chunks: tuple[Chunk, ...]
    failure: str | None = None
    """Why it could not be cut into chunks."""

    def chunk_texts(self) -> list[str]:
        return [self.text[chunk.char_start : chunk.char_end] for chunk in self.chunks]


def text_hash(text: str) -> bytes:
    """16 bytes; equal texts in a generation are embedded once."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def prepare_message(work: Work, tokenizer: Tokenizer, recipe: Recipe) -> PreparedMessage:
    text = ""
    try:
        text = prepare_text(work.subject, work.body_text)
        chunks = chunk_text(text, tokenizer, recipe.max_tokens, recipe.overlap_tokens) if text else []
    except Exception as error:
        # whatever it is, it is this message's: raised, it would end this build and every one after it
        return PreparedMessage(work, text, (), failure=f"it cannot be prepared: {type(error).__name__}: {error}")
    return PreparedMessage(work, text, tuple(chunks))


def scan(archive: Archive, generation_id: int, tokenizer: Tokenizer, recipe: Recipe) -> Iterator[list[PreparedMessage]]:
    """Everything above the watermark that is work, in id order, in batches."""
    after = watermark_of(archive, generation_id)
    batch: list[PreparedMessage] = []
    chunks = 0
    while ids := work_ids(archive, generation_id, after, SCAN):
        after = ids[-1]
        for work in read_work(archive, ids):
            message = prepare_message(work, tokenizer, recipe)
            batch.append(message)
            chunks += len(message.chunks)
            if chunks >= BATCH_CHUNKS or len(batch) >= BATCH_MESSAGES:
                yield batch
                batch, chunks = [], 0
    if batch:
        yield batch


class Ahead:
    """Runs `scan` in a thread with its own connection, a few batches ahead. Iterate; `close` stops it early."""

    def __init__(self, path: Path, generation_id: int, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self._queue: queue.Queue[list[PreparedMessage] | BaseException | None] = queue.Queue(QUEUED_BATCHES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(path, generation_id, tokenizer, recipe), name="prepare", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[list[PreparedMessage]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self, path: Path, generation_id: int, tokenizer: Tokenizer, recipe: Recipe) -> None:
        try:
            with open_archive_readonly(path) as archive:
                for batch in scan(archive, generation_id, tokenizer, recipe):
                    if not self._put(batch):
                        return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: list[PreparedMessage] | BaseException | None) -> bool:
        # with a time limit: nobody may be taking any more
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
