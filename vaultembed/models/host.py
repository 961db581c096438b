"""The embedder for builds: the model lives in a child process, and this one only asks."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from vaultembed.deadline import check_deadline, current_deadline
from vaultembed.errors import ModelError, TimedOutError
from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.frames import Kind, pack_model, pack_texts, read_frame, unpack_embedded, write_frame
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, ModelFacts, Role
from vaultembed.models.vocabulary import Vocabulary, open_vocabulary
from vaultembed.processes import python_command

_PATIENCE: Final = 10.0
"""Seconds that a child is given to end by itself once its input has: it may be in the middle of a batch."""

HUNG_SECONDS: Final = 600.0
"""A child that has not answered for so long will not. A large model on a slow disk takes minutes to load."""

_LAST_WORDS: Final = 2000
"""Bytes of a dead child's standard error that are looked at."""


class ChildEmbedder:
    """Implements `Embedder`. The child starts with the first call, and again with the call after a crash.

    A call that is over leaves the child at its work: it may be loading its model, for the calls to come. They wait for
    the answer that it owes before they ask for theirs. `close` may be called from another thread.
    """

    def __init__(self, model: ModelFile, share: int = 1, hung_seconds: float = HUNG_SECONDS) -> None:
        """`hung_seconds`: a child that owes an answer for longer is ended by the next call that cannot wait for it."""
        self._model = model
        self._share = share
        self._hung_seconds = hung_seconds
        self._vocabulary: Vocabulary | None = None
        self._child: _Child | None = None
        self._asked: _Asked | None = None

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

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        """As `Embedder.embed`.

        Raises:
            BadTextError, EmbedderCrashedError: as `Embedder.embed`.
            TimedOutError: there is a deadline, and the answer did not come in time; the child goes on.
            ModelError: the child cannot load the model, or llama.cpp reported a failure, be it over the texts of an
                earlier call that did not wait for the answer.
            RuntimeError: another thread is asking: a mistake in the calling code.
        """
        late = self._asked
        if late is not None and late.is_late:
            if late.is_for(texts, role) and not self._is_hung(late):
                return self._collect(late)
            self._settle(late)
        return self._collect(self._ask(texts, role))

    def close(self) -> None:
        """Ends the child, at once where a result is still to come. May be called twice; a later call starts anew."""
        child, self._child = self._child, None
        asked, self._asked = self._asked, None
        if child is not None:
            child.end(_PATIENCE if asked is None else 0)

    def _started(self) -> _Child:
        child = self._child
        if child is None:
            child = self._child = _Child(self._model, self._share)
        return child

    def _ask(self, texts: Sequence[str], role: Role) -> _Asked:
        if self._asked is not None:
            raise RuntimeError("ChildEmbedder was asked by two threads at once")
        child = self._started()
        asked = self._asked = _Asked(child, tuple(texts), role, time.monotonic())
        try:
            child.send(Kind.EMBED, pack_texts(texts, role))
        except BaseException:  # Ctrl-C, too, leaves half a frame in the pipe
            self._end(child)
            raise
        return asked

    def _collect(self, asked: _Asked) -> Embedded:
        try:
            kind, content = asked.child.receive()
            if kind is Kind.ERROR:
                raise ModelError(*json.loads(content))
        except TimedOutError:
            asked.is_late = True
            if self._is_hung(asked):
                self._end(asked.child)
            raise
        except BaseException:  # Ctrl-C, too, leaves an answer that the next call would take for its own
            self._end(asked.child)
            raise
        if self._asked is asked:
            self._asked = None
        if kind is Kind.BAD_TEXT:
            raise BadTextError(*json.loads(content))
        return unpack_embedded(content)

    def _settle(self, late: _Asked) -> None:
        """The child is ready for a question, or ended. What it says of the texts is of no use to anybody any more."""
        if self._is_hung(late):
            self._end(late.child)
            return
        with contextlib.suppress(BadTextError):
            self._collect(late)
        check_deadline()

    def _is_hung(self, asked: _Asked) -> bool:
        return time.monotonic() - asked.since >= self._hung_seconds

    def _end(self, child: _Child) -> None:
        if self._child is child:
            self._child = self._asked = None
        child.end(0)


@dataclass(slots=True)
class _Asked:
    """What a child is to answer."""

    child: _Child
    texts: tuple[str, ...]
    role: Role
    since: float
    """By `time.monotonic`."""
    is_late: bool = False
    """Whoever asked has given up waiting."""

    def is_for(self, texts: Sequence[str], role: Role) -> bool:
        return (self.texts, self.role) == (tuple(texts), role)


class _Child:
    """One process and the pipes to it. One thread asks; another may end it meanwhile."""

    def __init__(self, model: ModelFile, share: int) -> None:
        self._in_use = threading.Lock()
        """Held while the pipes are written, read or closed: a number of a closed one may soon be another file's."""
        self._is_ended = False
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
        """
        Raises:
            EmbedderCrashedError: it is dead.
        """
        with self._in_use:
            self._check_is_there()
            try:
                write_frame(self._requests, kind, content)
            except OSError:
                raise self._crash() from None

    def receive(self) -> tuple[Kind, bytes]:
        """
        Raises:
            EmbedderCrashedError: it is dead.
            TimedOutError: the call is over, and it has not begun to answer.
        """
        with self._in_use:
            self._check_is_there()
            deadline = current_deadline()
            if deadline is not None:
                answered = select.poll()
                answered.register(self._answers, select.POLLIN)
                deadline.wait(lambda seconds: answered.poll(1000 * seconds))
            frame = read_frame(self._answers)
            if frame is None:
                raise self._crash()
            return frame

    def end(self, patience: float) -> None:
        """`patience`: seconds until it is killed, where nobody waits for it. Reaps it and closes the pipes."""
        if patience and self._in_use.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):
                    self._requests.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
            finally:
                self._in_use.release()
        self._process.kill()
        with self._in_use:  # who waits for its answer comes to the end of the pipe
            self._is_ended = True
            self._process.wait()
            with contextlib.suppress(OSError):
                self._requests.close()
            self._answers.close()
            self._words.close()

    def _check_is_there(self) -> None:
        if self._is_ended:
            raise EmbedderCrashedError("The process that runs the embedding model has been ended")

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
