"""How a build stops within seconds, whatever the model is doing, and keeps what it has embedded.

Nothing can stop native code in the middle of a call, so calls are short, and one that is not over soon is given up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from vaultembed.deadline import Deadline, within
from vaultembed.errors import StoppedError, TimedOutError
from vaultembed.models.errors import EmbedderCrashedError
from vaultembed.models.protocol import Embedded, Embedder, ModelFacts, Role

STEP_SECONDS: Final = 2.0
"""What the model is given at once takes it about so long. Each call leaves some cores idle at its end: with a quarter
of it a build would be 5 % slower."""
PATIENCE_SECONDS: Final = 3.0
"""So long the model may go on with what it has when a build is to stop. A large one takes minutes to load."""
_FIRST_CHARACTERS: Final = 2000


class StoppableEmbedder:
    """Implements `Embedder` for a build. A call that goes on long after the build is to stop ends with `StoppedError`;
    the embedder is of no use then but to be closed."""

    def __init__(self, embedder: Embedder, should_stop: Callable[[], bool]) -> None:
        self._embedder = embedder
        self._should_stop = should_stop
        self._end = _Patience(should_stop)

    @property
    def facts(self) -> ModelFacts:
        return self._embedder.facts

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        """As `Embedder.embed`.

        Raises:
            StoppedError: the build is to stop.
        """
        try:
            with within(self._end):
                self._end.check()
                return self._embedder.embed(texts, role)
        except (TimedOutError, EmbedderCrashedError):
            # no text is to blame for a crash, either: a service is stopped by a signal to all of its processes
            check_goes_on(self._should_stop)
            raise

    def close(self) -> None:
        self._embedder.close()


def check_goes_on(should_stop: Callable[[], bool]) -> None:
    """
    Raises:
        StoppedError: the build is to stop.
    """
    if should_stop():
        raise StoppedError("Stopped; what is embedded stays.", "Go on with: vaultembed embeddings build")


class _Patience(Deadline):
    """Is over some seconds after a build is to stop."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        super().__init__(math.inf)
        self._should_stop = should_stop
        self._since: float | None = None

    @property
    def is_over(self) -> bool:
        if self._since is None and self._should_stop():
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since >= PATIENCE_SECONDS


class Pace:
    """How many texts the model is given at once: few at first, then as many as it can do in a step, and less before the
    time of the build is over."""

    def __init__(self, should_stop: Callable[[], bool], until: float | None) -> None:
        self.should_stop = should_stop
        self._until = until
        self._per_second = _FIRST_CHARACTERS / STEP_SECONDS

    def step(self, texts: Sequence[str]) -> int:
        """So many of them, from the first on; one at least."""
        seconds = STEP_SECONDS if self._until is None else min(STEP_SECONDS, self._until - time.monotonic())
        room = self._per_second * seconds
        count = 0
        while count < len(texts) and (count == 0 or room >= len(texts[count])):
            room -= len(texts[count])
            count += 1
        return count

    def learn(self, texts: Sequence[str], seconds: float) -> None:
        self._per_second = sum(map(len, texts)) / max(seconds, 1e-3)
