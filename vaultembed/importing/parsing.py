"""Parses messages in a few processes at once, so that none of them hangs an import or ends it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import BinaryIO, Final, cast

from vaultembed.errors import StoppedError, VaultembedError
from vaultembed.importing.parser import Depth, Unparsed
from vaultembed.message import ParsedMessage, Problem
from vaultembed.processes import python_command

_MOST: Final = 4
"""Processes. More would wait for the one that writes."""
_GROUP_MESSAGES: Final = 40
_GROUP_BYTES: Final = 1024 * 1024
"""What a parser is given at once, unless one message is more."""
_LOOK_SECONDS: Final = 0.1
_FROM_OUTSIDE: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MOST_KILLED: Final = 3
"""So often a message is given to another parser when somebody kills the one that has it; then it counts as its doing:
where a system is out of memory, it kills, too."""

_LEFT_OUT: Final = {
    Depth.WITHOUT_HTML: ("html-left-out", "its HTML is left out"),
    Depth.HEADER: ("unreadable-message", "only its header was read"),
    Depth.NOTHING: ("unreadable-message", "nothing of it was read"),
}


class Parsers:
    """The parsers of one import; they start when there is something to parse. To be closed."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._threads = ThreadPoolExecutor(min(_cores(), _MOST), "parsing")
        self._idle: list[_Parser] = []
        self._started: list[_Parser] = []
        self._is_closed = False
        self._lock = Lock()

    def __enter__(self) -> Parsers:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        return [each.process_id for each in self._started]

    def submit(self, messages: Sequence[Unparsed]) -> list[Future[list[ParsedMessage]]]:
        """Have them parsed, in groups; `collect` waits for it."""
        return [self._threads.submit(self._parse, group) for group in _groups(messages)]

    def close(self) -> None:
        """What is being parsed is given up. May be called twice."""
        with self._lock:
            self._is_closed = True
            busy = [parser for parser in self._started if parser not in self._idle]
            for parser in busy:
                parser.kill()
            _spare(os.getpid()).extend(self._idle)
            self._idle.clear()
        self._threads.shutdown(cancel_futures=True)
        for parser in busy:
            parser.reap()
        self._started.clear()

    def collect(self, submitted: Sequence[Future[list[ParsedMessage]]]) -> list[ParsedMessage]:
        """What was submitted, in its order.

        Raises:
            StoppedError: the import is to stop.
            VaultembedError: no parser can be started.
        """
        found: list[ParsedMessage] = []
        for group in submitted:
            while not wait([group], _LOOK_SECONDS).done:
                if self._should_stop():
                    raise StoppedError("Stopped.")
            found += group.result()
        return found

    def _parse(self, messages: Sequence[Unparsed]) -> list[ParsedMessage]:
        parsed: list[ParsedMessage] = []
        while len(parsed) < len(messages):
            try:
                for each in self._ask(messages[len(parsed) :], Depth.WHOLE):
                    parsed.append(each)  # noqa: PERF402  (those before the one at which a parser ended count)
            except _EndedError as ended:
                parsed.append(self._parse_again(messages[len(parsed)], ended))
        return parsed

    def _parse_again(self, message: Unparsed, ended: _EndedError) -> ParsedMessage:
        """A message at which a parser has ended."""
        depth, killed, reason = Depth.WHOLE, 0, ""
        while True:
            killed += ended.is_from_outside
            if not ended.is_from_outside or killed == _MOST_KILLED:
                depth, killed, reason = Depth(depth + 1), 0, ended.reason
            try:
                parsed = message.parse(depth) if depth is Depth.NOTHING else next(self._ask([message], depth))
            except _EndedError as error:
                ended = error
                continue
            if depth is Depth.WHOLE:
                return parsed
            kind, what = _LEFT_OUT[depth]
            return replace(parsed, problems=(*parsed.problems, Problem(kind, f"{what}: {reason}")))

    def _ask(self, messages: Sequence[Unparsed], depth: Depth) -> Iterator[ParsedMessage]:
        """
        Raises:
            _EndedError: the parser ended at the message behind the last one that was parsed.
        """
        parser = self._take()
        try:
            parser.wait_until_ready()
            parser.tell(messages, depth)
            for left in range(len(messages), 0, -1):
                parsed = parser.answer()
                if left == 1:
                    with self._lock:
                        if not self._is_closed:  # else it counted as busy, and was killed
                            self._idle.append(parser)
                yield parsed
        except _EndedError:
            with self._lock:
                if parser in self._started:
                    self._started.remove(parser)
            parser.kill()
            parser.reap()
            raise

    def _take(self) -> _Parser:
        with self._lock:
            if self._is_closed:
                raise StoppedError("Stopped.")
            if self._idle:
                return self._idle.pop()
            spare = _spare(os.getpid())
            parser = spare.pop() if spare else _Parser()
            self._started.append(parser)
            return parser


@cache
def _spare(_process_id: int) -> list[_Parser]:
    """Parsers that a process has from an earlier import: starting one takes 0.1 s. They end when it does; one that is
    forked off has none."""
    return []


class _EndedError(Exception):
    """A parser is no more."""

    def __init__(self, reason: str, *, is_from_outside: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_from_outside = is_from_outside


class _Parser:
    """One process and the pipes to it; one thread at a time talks to it."""

    def __init__(self) -> None:
        """
        Raises:
            VaultembedError: it cannot be started.
        """
        try:
            self._process = subprocess.Popen(
                python_command("vaultembed.importing.parser"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C and a closing terminal are the import's to answer
            )
        except OSError as error:  # too many processes, or open files
            raise _not_started(error.strerror or str(error)) from None
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._is_ready = False

    @property
    def process_id(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """
        Raises:
            _EndedError: it was killed.
            VaultembedError: it cannot be started.
        """
        if self._is_ready:
            return
        try:
            self._load()
            self._is_ready = True
        except _EndedError as ended:
            if ended.is_from_outside:
                raise
            raise _not_started(ended.reason) from None

    def tell(self, messages: Sequence[Unparsed], depth: Depth) -> None:
        try:
            pickle.dump((depth, messages), self._requests)
            self._requests.flush()
        except OSError:
            raise self._ended() from None

    def answer(self) -> ParsedMessage:
        answer = self._load()
        if isinstance(answer, str):
            raise _EndedError(answer, is_from_outside=False)
        return cast(ParsedMessage, answer)

    def kill(self) -> None:
        self._process.kill()

    def reap(self) -> None:
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def _load(self) -> object:
        try:
            found: object = pickle.load(self._answers)  # noqa: S301  (of a process of ours)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._ended() from None
        return found

    def _ended(self) -> _EndedError:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return _EndedError("reading it takes too long", is_from_outside=False)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _EndedError(f"its parser ended with {how}", is_from_outside=-code in _FROM_OUTSIDE)


def _not_started(reason: str) -> VaultembedError:
    return VaultembedError(
        f"the process that parses messages could not be started: {reason}",
        "Nothing was lost. Give the same command again.",
    )


def _groups(messages: Sequence[Unparsed]) -> Iterator[list[Unparsed]]:
    group: list[Unparsed] = []
    size = 0
    for message in messages:
        if group and (len(group) == _GROUP_MESSAGES or size + message.size > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(message)
        size += message.size
    if group:
        yield group


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
