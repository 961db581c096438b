"""Models that a server keeps open: the first query loads one, every later query finds it loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from vaultembed.deadline import Deadline, held, within
from vaultembed.errors import ModelError
from vaultembed.service.keeping import (
    Embedded,
    Embedder,
    EmbedderCrashedError,
    Generation,
    ModelFacts,
    Role,
    generation_that_answers,
    open_model_of,
)

_REMEMBERED: Final = 64
_ANY_TEXT: Final = "hello"
_WARM_SECONDS: Final = 600.0
"""A large model on a slow disk takes its time; one that hangs must not be waited for for ever."""
_END_SECONDS: Final = 2.0
"""So long the end of a server waits for a query that is at work."""


class KeptEmbedders:
    """Opens the model of a generation in a child process, once, and lends it to one caller at a time.

    At most two, as search asks for no more: the one of the active generation and that of the one being built.
    """

    _MOST: Final = 2

    def __init__(self, open_model: Callable[[Generation], Embedder] = open_model_of) -> None:
        self._open_model = open_model
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._is_closed = False

    def open(self, generation: Generation) -> Embedder:
        """An `Opener`. What it returns is not ended by its `close`.

        Raises:
            ModelError: the model is not here, or is another one; or `close` has been called.
            TimedOutError: the call's time is over.
        """
        key = (generation.space, generation.model.weights_sha256)
        oldest = None
        with held(self._lock):
            if self._is_closed:
                raise _closed()
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(self._open_model(generation))
                if len(self._kept) > self._MOST:
                    _, oldest = self._kept.popitem(last=False)
            self._kept.move_to_end(key)
        if oldest is not None:
            oldest.end()
        return kept

    def warm(self, archive_path: Path) -> None:
        """Begin to load what the first query will need, and return. What stands against it, that query will be told."""
        threading.Thread(target=self._warm, args=(archive_path,), daemon=True).start()

    def _warm(self, archive_path: Path) -> None:
        with suppress(Exception), within(Deadline(_WARM_SECONDS)):
            generation = generation_that_answers(archive_path)
            if generation is not None:
                self.open(generation).embed([_ANY_TEXT], "query")

    def close(self) -> None:
        """No model is opened after this."""
        with self._lock:
            self._is_closed = True
            ending = list(self._kept.values())
            self._kept.clear()
        for kept in ending:
            kept.end()


def _closed() -> ModelError:
    return ModelError("the embedding model was closed before this was asked of it", "Ask again.")


class _Kept:
    """Implements `Embedder`, for several threads. Remembers: pages of one search ask for the same text again."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        """Not the other: tokens are counted in this process, while the model is busy in its own."""
        self._is_closed = False
        self._remembered: OrderedDict[tuple[Role, tuple[str, ...]], Embedded] = OrderedDict()

    @property
    def facts(self) -> ModelFacts:
        return self._embedder.facts

    def count_tokens(self, text: str) -> int:
        with held(self._counting):
            return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        """As `Embedder.embed`.

        Raises:
            ModelError: `end` has been called.
            TimedOutError: the call is over.
        """
        key = (role, tuple(texts))
        with held(self._lock):
            found = self._remembered.get(key)
            if found is None:
                found = self._remembered[key] = self._ask(texts, role)
                if len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
            self._remembered.move_to_end(key)
            return found

    def _ask(self, texts: Sequence[str], role: Role) -> Embedded:
        if self._is_closed:
            raise _closed()
        try:
            try:
                return self._embedder.embed(texts, role)
            except EmbedderCrashedError:
                if self._is_closed:
                    raise
                # somebody has ended its process since the last question: the next one starts another. If it was this
                # text that ended it, it does so again
                return self._embedder.embed(texts, role)
        finally:
            if self._is_closed:  # `end` did not wait for this, which may have started the model again
                self._embedder.close()

    def close(self) -> None:
        """Only a query ends here; the model stays open."""

    def end(self) -> None:
        """Whoever still waits for an answer of the model is told that it has died, and no other question reaches it."""
        self._is_closed = True
        is_free = self._lock.acquire(timeout=_END_SECONDS)
        try:
            self._embedder.close()
        finally:
            if is_free:
                self._lock.release()
