"""The second half of the pipeline: embed batches and write them, each in one transaction, until nothing is work."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations import Generation
from vaultembed.archive.outcomes import (
    ChunkRow,
    MessageOutcome,
    commit_batch,
    embedding_of_text,
    watermark_of,
    work_ids,
)
from vaultembed.archive.runs import RunCounts
from vaultembed.archive.vectors import to_bits, to_rows
from vaultembed.embeddings.prepared import Ahead, PreparedMessage, text_hash
from vaultembed.embeddings.recipe import Recipe
from vaultembed.embeddings.resilient import embed_texts
from vaultembed.models.protocol import Embedder


@dataclass(frozen=True, slots=True)
class _Embedded:
    outcomes: list[MessageOutcome]
    tokens: int


def fill(
    archive: Archive,
    generation: Generation,
    recipe: Recipe,
    embedder: Embedder,
    on_batch: Callable[[RunCounts], None],
    should_stop: Callable[[], bool],
) -> RunCounts:
    """Embed all that is work in `generation`. Returns early when `should_stop`, with every finished batch written.

    Raises:
        ModelError: the model does not work; what is written stays.
    """
    started = time.monotonic()
    counts = RunCounts()
    with ThreadPoolExecutor(1, "embed") as model:
        while True:
            before = counts
            ahead = Ahead(archive.path, generation.id, embedder, recipe)
            try:
                done: _Embedded | None = None
                for batch in ahead:
                    known = _known_vectors(archive, generation, batch)
                    running = model.submit(_embed, embedder, batch, known)
                    if done is not None:  # written while the model works on the next
                        counts = _write(archive, generation, recipe, done, counts, started)
                        on_batch(counts)
                    done = running.result()
                    if should_stop():
                        break
                if done is not None:
                    counts = _write(archive, generation, recipe, done, counts, started)
                    on_batch(counts)
            finally:
                ahead.close()
            # What was edited or added meanwhile is work again, above a watermark that its change has lowered
            more = work_ids(archive, generation.id, watermark_of(archive, generation.id), 1)
            if not more or should_stop() or counts == before:
                return counts


def _known_vectors(archive: Archive, generation: Generation, batch: list[PreparedMessage]) -> dict[bytes, bytes]:
    known = {}
    for message in batch:
        for text in message.chunk_texts():
            digest = text_hash(text)
            embedding = embedding_of_text(archive, generation.id, digest)
            if embedding is not None:
                known[digest] = embedding
    return known


def _embed(embedder: Embedder, batch: list[PreparedMessage], known: dict[bytes, bytes]) -> _Embedded:
    texts: dict[bytes, str] = {}
    for message in batch:
        for text in message.chunk_texts():
            digest = text_hash(text)
            if digest not in known:
                texts.setdefault(digest, text)
    result = embed_texts(embedder, list(texts.values()))
    rows: dict[bytes, bytes | str] = dict(known)
    for digest, vector in zip(texts, result.results, strict=True):
        rows[digest] = vector if isinstance(vector, str) else to_rows(np.asarray(vector)[None])[0]
    return _Embedded([_outcome(message, rows) for message in batch], result.tokens)


def _outcome(message: PreparedMessage, rows: dict[bytes, bytes | str]) -> MessageOutcome:
    found = MessageOutcome(message.work.message_id, message.work.content_rev, "blank", None, message.text, ())
    if message.failure is not None:
        return replace(found, outcome="failed", reason=message.failure)
    chunks = []
    for chunk, text in zip(message.chunks, message.chunk_texts(), strict=True):
        digest = text_hash(text)
        embedding = rows[digest]
        if isinstance(embedding, str):
            return replace(found, outcome="failed", reason=embedding)
        chunks.append(ChunkRow(chunk.char_start, chunk.char_end, digest, embedding, to_bits(embedding)))
    return replace(found, outcome="embedded", chunks=tuple(chunks)) if chunks else found


def _write(
    archive: Archive, generation: Generation, recipe: Recipe, done: _Embedded, counts: RunCounts, started: float
) -> RunCounts:
    written = commit_batch(archive, generation, recipe.preparation, done.outcomes)
    outcomes = [outcome.outcome for outcome in written]
    return RunCounts(
        embedded=counts.embedded + outcomes.count("embedded"),
        blank=counts.blank + outcomes.count("blank"),
        failed=counts.failed + outcomes.count("failed"),
        chunks=counts.chunks + sum(len(outcome.chunks) for outcome in written),
        tokens=counts.tokens + done.tokens,
        seconds=time.monotonic() - started,
    )
