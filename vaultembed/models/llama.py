"""The embedder on llama.cpp, in this process.

`Llama.embed` of llama-cpp-python runs one sequence after the other in one context and copies vectors value by value.
Here every core has a context of its own with one thread, sequences are packed into batches of 256 tokens (larger
ones fall out of the cache), attention is flash attention, and vectors are read through the pointer: 2.7 times
the tokens per second. Where a GPU is there it gets one context and large batches instead.

llama.cpp aborts the process, or reads where it should not, when a batch breaks its limits; there is no exception to
catch. So every limit is checked here before every call.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as llama

from vaultembed.errors import ModelError
from vaultembed.models.errors import BadTextError
from vaultembed.models.llama_library import load_model
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, ModelFacts, Role, Vectors
from vaultembed.models.vocabulary import open_vocabulary

_CPU_BATCH: Final = 256
_GPU_BATCH: Final = 4096
"""Tokens given to the model at once."""

_MOST_SEQUENCES: Final = 64
"""Texts given to the model at once: llama.cpp reserves memory for each."""

_ALL_LAYERS: Final = 999


class LlamaEmbedder:
    """Implements `Embedder`. Loads at once; contexts are made as they are first needed."""

    def __init__(self, model: ModelFile, share: int = 1) -> None:
        """
        Args:
            model: its file inspected and verified by the caller.
            share: so many processes divide the cores.

        Raises:
            ModelError: llama.cpp cannot load it.
        """
        self._facts = model.facts
        self._vocabulary = open_vocabulary(model.path)
        self._on_gpu = bool(llama.llama_supports_gpu_offload())
        self._model = load_model(model.path, n_gpu_layers=_ALL_LAYERS if self._on_gpu else 0)
        dimension, positions = llama.llama_model_n_embd(self._model), llama.llama_model_n_ctx_train(self._model)
        if dimension != self._facts.dimension or positions < self._facts.context_length:
            llama.llama_model_free(self._model)
            raise ModelError(f"llama.cpp reads {model.path} as {dimension} dimensions, {positions} positions.")
        self._batch = min(_GPU_BATCH, positions * 8) if self._on_gpu else _CPU_BATCH
        self._lanes = 1 if self._on_gpu else max(1, _cores() // share)
        self._pool = ThreadPoolExecutor(self._lanes, "llama")
        self._idle: SimpleQueue[_Context] = SimpleQueue()
        self._contexts: list[_Context] = []
        self._long: _Context | None = None
        self._busy = threading.Lock()

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    def count_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode(self._facts.document_prefix + text))

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        """As `Embedder.embed`; more batches than one run on all cores.

        Raises:
            BadTextError: see there.
            RuntimeError: called while another call runs, or after `close`: a mistake in the calling code.
        """
        with self._only_caller():
            tokens = self._tokenise(texts, role)
            vectors = np.empty((len(texts), self._facts.dimension), np.float32)
            self._run(tokens, vectors)
        _normalise(vectors, texts, tokens)
        return Embedded(vectors, sum(map(len, tokens)))

    def close(self) -> None:
        """Frees the native memory, once a call that still runs is through. May be called twice."""
        if self._model is None:
            return
        self._pool.shutdown(wait=True)
        for context in (*self._contexts, *filter(None, [self._long])):
            context.free()
        self._contexts.clear()
        self._long = None
        llama.llama_model_free(self._model)
        self._model = None

    @contextmanager
    def _only_caller(self) -> Iterator[None]:
        # Two threads in one context end in a segmentation fault, far from the mistake.
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("LlamaEmbedder.embed was called while another thread is in it")
        try:
            if self._model is None:
                raise RuntimeError("LlamaEmbedder.embed was called after close")
            yield
        finally:
            self._busy.release()

    def _tokenise(self, texts: Sequence[str], role: Role) -> list[list[int]]:
        prefix = self._facts.query_prefix if role == "query" else self._facts.document_prefix
        limit = self._facts.context_length
        tokens = []
        for index, text in enumerate(texts):
            ids = self._vocabulary.encode(prefix + text)
            if not ids:
                raise BadTextError(index, "it has no tokens", len(text), 0)
            if len(ids) > limit:
                raise BadTextError(index, f"the model takes at most {limit} tokens", len(text), len(ids))
            tokens.append(ids)
        return tokens

    def _run(self, tokens: list[list[int]], vectors: Vectors) -> None:
        by_length = sorted(range(len(tokens)), key=lambda index: len(tokens[index]), reverse=True)
        long = [index for index in by_length if len(tokens[index]) > self._batch]
        for index in long:
            self._long_context().embed([index], tokens, vectors)
        batches = _pack(by_length[len(long) :], tokens, self._batch)
        for _ in range(len(self._contexts), min(self._lanes, len(batches))):
            context = _Context(self._model, self._batch, 1, self._facts.dimension)
            self._contexts.append(context)
            self._idle.put(context)
        if len(batches) == 1:
            self._in_idle_context(batches[0], tokens, vectors)
            return
        running: list[Future[None]] = [
            self._pool.submit(self._in_idle_context, batch, tokens, vectors) for batch in batches
        ]
        for future in running:
            future.result()

    def _in_idle_context(self, batch: list[int], tokens: list[list[int]], vectors: Vectors) -> None:
        context = self._idle.get()
        try:
            context.embed(batch, tokens, vectors)
        finally:
            self._idle.put(context)

    def _long_context(self) -> _Context:
        """For single texts longer than a batch: rare, so one for all, with all cores to itself."""
        if self._long is None:
            self._long = _Context(self._model, self._facts.context_length, _cores(), self._facts.dimension)
        return self._long


class _Context:
    """One `llama_context` with its batch. One thread at a time."""

    def __init__(self, model: Any, size: int, threads: int, dimension: int) -> None:
        """`size`: tokens of a batch at most."""
        self._size, self._dimension = size, dimension
        self._sequences = min(_MOST_SEQUENCES, llama.llama_max_parallel_sequences())
        chosen = llama.llama_context_default_params()
        # llama.cpp aborts where n_ubatch < n_batch with an encoder, so all three are one number.
        chosen.n_ctx = chosen.n_batch = chosen.n_ubatch = size
        chosen.n_seq_max = self._sequences
        chosen.kv_unified = True
        chosen.n_threads = chosen.n_threads_batch = threads
        chosen.embeddings = True
        chosen.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
        chosen.no_perf = True
        self._context = llama.llama_init_from_model(model, chosen)
        if not self._context:
            raise ModelError(f"llama.cpp could not set up a context of {size} tokens (out of memory?).")
        self._memory = llama.llama_get_memory(self._context)
        self._batch = llama.llama_batch_init(size, 0, 1)
        self._tokens = np.ctypeslib.as_array(self._batch.token, (size,))
        self._positions = np.ctypeslib.as_array(self._batch.pos, (size,))
        np.ctypeslib.as_array(self._batch.n_seq_id, (size,))[:] = 1
        np.ctypeslib.as_array(self._batch.logits, (size,))[:] = 1
        # `seq_id` is an array of pointers, one a token: laid out once, pointing into one flat array.
        self._owners: npt.NDArray[np.int32] = np.zeros(size, np.int32)
        first = self._owners.ctypes.data
        self._rows = (ctypes.c_void_p * (size + 1))(*(first + 4 * at for at in range(size)), None)
        self._own_rows = ctypes.cast(self._batch.seq_id, ctypes.c_void_p)
        self._batch.seq_id = ctypes.cast(self._rows, type(self._batch.seq_id))
        self._counting = np.arange(size, dtype=np.int32)

    def embed(self, batch: list[int], tokens: list[list[int]], vectors: Vectors) -> None:
        """Writes the vectors of the texts numbered in `batch`, as the model gives them, into their rows."""
        total = sum(len(tokens[index]) for index in batch)
        if not 0 < total <= self._size or len(batch) > self._sequences:
            raise ModelError(f"A batch of {len(batch)} texts, {total} tokens does not fit {self._size} tokens.")
        at = 0
        for number, index in enumerate(batch):
            end = at + len(tokens[index])
            self._tokens[at:end] = tokens[index]
            self._positions[at:end] = self._counting[: end - at]
            self._owners[at:end] = number
            at = end
        self._batch.n_tokens = total
        if self._memory:  # a decoder: what it remembers of the last batch is not context of this one
            llama.llama_memory_clear(self._memory, True)
            status = llama.llama_decode(self._context, self._batch)
        else:
            status = llama.llama_encode(self._context, self._batch)
        if status != 0:
            raise ModelError(f"llama.cpp failed on a batch of {len(batch)} texts, {total} tokens ({status}).")
        for number, index in enumerate(batch):
            vector = llama.llama_get_embeddings_seq(self._context, number)
            if not vector:
                raise ModelError("llama.cpp gave no vector: the model does not pool.")
            vectors[index] = np.ctypeslib.as_array(vector, (self._dimension,))

    def free(self) -> None:
        self._batch.seq_id = ctypes.cast(self._own_rows, type(self._batch.seq_id))
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._context)


def _pack(order: list[int], tokens: list[list[int]], size: int) -> list[list[int]]:
    """Texts, longest first, into batches of at most `size` tokens; each goes into the fullest batch that has room."""
    shortest = len(tokens[order[-1]]) if order else 0
    batches: list[list[int]] = []
    room: dict[int, int] = {}  # of the batches that can still take one
    for index in order:
        need = len(tokens[index])
        at = min((at for at, left in room.items() if left >= need), key=room.__getitem__, default=len(batches))
        if at == len(batches):
            batches.append([])
        batches[at].append(index)
        left = room.pop(at, size) - need
        if left >= shortest and len(batches[at]) < _MOST_SEQUENCES:
            room[at] = left
    return batches


def _normalise(vectors: Vectors, texts: Sequence[str], tokens: list[list[int]]) -> None:
    """To length 1, in place. A vector that cannot be is its text's fault, as far as anyone can tell here."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unusable = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(unusable):
        index = int(unusable[0])
        reason = f"the model gave a vector of length {norms[index, 0]}"
        raise BadTextError(index, reason, len(texts[index]), len(tokens[index]))
    vectors /= norms


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
