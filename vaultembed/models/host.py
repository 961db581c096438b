"""The embedder for builds: the model lives in a child process, and this one only asks."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, cast

from vaultembed.errors import ModelError
from vaultembed.limits import current_limit
from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.frames import Kind, pack_model, pack_texts, read_frame, unpack_embedded, write_frame
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, ModelFacts, Role
from vaultembed.models.python_process import python_command
from vaultembed.models.vocabulary import Vocabulary, open_vocabulary

_PATIENCE: Final = 10.0
"""Seconds that a child is given to end by itself once its input has: it may be in the middle of a batch."""

_LAST_WORDS: Final = 2000
"""Bytes of a dead child's standard error that are looked at."""


class ChildEmbedder:
    """Implements `Embedder`. The child starts with the first call, and again with the call after a crash.

    Beside `embed` there is the same in two steps, `submit` and `result`, to do something else while the model works.
    """

    def __init__(self, model: ModelFile, share: int = 1) -> None:
        self._model = model
        self._share = share
        self._vocabulary: Vocabulary | None = None
        self._child: _Child | None = None
        self._waiting = False

    @property
    def facts(self) -> ModelFacts:
        return self._model.facts

    @property
    def process_id(self) -> int | None:
        """Of the child; None while there is none."""
        return None if self._child is None else self._child.process_id

    def count_tokens(self, text: str) -> int:
        """In this process, from the vocabulary alone: the child may be busy."""
        if self._vocabulary is None:
            self._vocabulary = open_vocabulary(self._model.path)
        return len(self._vocabulary.encode(self.facts.document_prefix + text))

    def start(self) -> None:
        """Starts the child, without waiting until its model is loaded."""
        if self._child is None:
            self._child = _Child(self._model, self._share)

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        self.submit(texts, role)
        return self.result()

    def submit(self, texts: Sequence[str], role: Role = "document") -> None:
        """Hands texts to the model and returns; `result` must follow before the next call.

        Raises:
            EmbedderCrashedError: the child is dead; the next call starts a new one.
            RuntimeError: a result is still to be collected: a mistake in the calling code.
        """
        if self._waiting:
            raise RuntimeError("ChildEmbedder.submit was called again before result")
        self.start()
        with self._exchange() as child:
            child.send(Kind.EMBED, pack_texts(texts, role))
        self._waiting = True

    def result(self) -> Embedded:
        """What became of the texts last submitted; waits for it.

        Raises:
            BadTextError, EmbedderCrashedError: as `Embedder.embed`.
            TimedOutError: there is a limit, and it did not come in time; the next call starts a new child.
            ModelError: the child cannot load the model, or llama.cpp reported a failure.
            RuntimeError: nothing was submitted: a mistake in the calling code.
        """
        if not self._waiting:
            raise RuntimeError("ChildEmbedder.result was called without submit")
        self._waiting = False
        with self._exchange() as child:
            kind, content = child.receive()
            if kind is Kind.ERROR:
                raise ModelError(*json.loads(content))
        if kind is Kind.BAD_TEXT:
            raise BadTextError(*json.loads(content))
        return unpack_embedded(content)

    def close(self) -> None:
        """Ends the child, at once where a result is still to come. May be called twice; a later call starts anew."""
        child, self._child = self._child, None
        waiting, self._waiting = self._waiting, False
        if child is not None:
            child.end(0 if waiting else _PATIENCE)

    @contextlib.contextmanager
    def _exchange(self) -> Iterator[_Child]:
        """The child, for one step. Whatever interrupts the step, Ctrl-C included, leaves half a frame in a pipe, or
        an answer that the next call would take for its own: so that child is ended, and the next call starts another.
        """
        child = cast(_Child, self._child)
        try:
            yield child
        except BaseException:
            self._child = None
            child.end(0)
            raise


class _Child:
    """One process and the pipes to it."""

    def __init__(self, model: ModelFile, share: int) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `end`)
        self._process = subprocess.Popen(
            python_command("vaultembed.models.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C and a closing terminal are the caller's to answer
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # or an abort looks for a debugger first
        )
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        with contextlib.suppress(EmbedderCrashedError):  # the first answer tells
            self.send(Kind.OPEN, pack_model(model, share))

    @property
    def process_id(self) -> int:
        return self._process.pid

    def send(self, kind: Kind, content: bytes) -> None:
        try:
            write_frame(self._requests, kind, content)
        except OSError:
            raise self._crash() from None

    def receive(self) -> tuple[Kind, bytes]:
        """
        Raises:
            EmbedderCrashedError: it is dead.
            TimedOutError: the call's time is over, and it has not answered.
        """
        limit = current_limit()
        if limit is not None:
            answered = select.poll()
            answered.register(self._answers, select.POLLIN)
            if not answered.poll(1000 * limit.seconds_left):
                raise limit.error()
        frame = read_frame(self._answers)
        if frame is None:
            raise self._crash()
        return frame

    def end(self, patience: float) -> None:
        """`patience`: seconds until it is killed. Reaps it and closes the pipes."""
        with contextlib.suppress(OSError):
            self._requests.close()
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._words.close()

    def _crash(self) -> EmbedderCrashedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        code = self._process.returncode
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _LAST_WORDS))
        words = self._words.read().decode("utf-8", "replace").strip().splitlines()
        said = f": {words[-1]}" if words else ""
        return EmbedderCrashedError(f"The process that runs the embedding model died ({how}){said}")
