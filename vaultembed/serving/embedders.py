"""Models that a server keeps open: the first query loads one, every later query finds it loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from vaultembed.archive.generations import Generation
from vaultembed.limits import Limit, held, limited
from vaultembed.models.protocol import Embedded, Embedder, ModelFacts, Role
from vaultembed.service.model_of import open_model_of
from vaultembed.service.readiness import generation_that_answers

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

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def open(self, generation: Generation) -> Embedder:
        """An `Opener`. What it returns is not ended by its `close`.

        Raises:
            ModelError: the model is not here, or is another one.
            TimedOutError: the call's time is over.
        """
        key = (generation.space, generation.model.weights_sha256)
        with held(self._lock):
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(open_model_of(generation))
                while len(self._kept) > self._MOST:
                    _, oldest = self._kept.popitem(last=False)
                    oldest.end()
            self._kept.move_to_end(key)
            return kept

    def warm(self, archive_path: Path) -> None:
        """Begin to load what the first query will need, and return. What stands against it, that query will be told."""
        threading.Thread(target=self._warm, args=(archive_path,), daemon=True).start()

    def _warm(self, archive_path: Path) -> None:
        with suppress(Exception), limited(Limit(_WARM_SECONDS)):
            generation = generation_that_answers(archive_path)
            if generation is not None:
                self.open(generation).embed([_ANY_TEXT], "query")

    def close(self) -> None:
        with self._lock:
            for kept in self._kept.values():
                kept.end()
            self._kept.clear()


class _Kept:
    """Implements `Embedder`, for several threads. Remembers: pages of one search ask for the same text again."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[Role, tuple[str, ...]], Embedded] = OrderedDict()

    @property
    def facts(self) -> ModelFacts:
        return self._embedder.facts

    def count_tokens(self, text: str) -> int:
        with self._lock:
            return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        key = (role, tuple(texts))
        with held(self._lock):
            found = self._remembered.get(key)
            if found is None:
                found = self._remembered[key] = self._embedder.embed(texts, role)
                if len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
            self._remembered.move_to_end(key)
            return found

    def close(self) -> None:
        """Only a query ends here; the model stays open."""

    def end(self) -> None:
        """Whoever still waits for the model is told that it has died."""
        is_free = self._lock.acquire(timeout=_END_SECONDS)
        try:
            self._embedder.close()
        finally:
            if is_free:
                self._lock.release()
