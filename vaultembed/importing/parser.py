"""A process in which messages are parsed: what one of them may take is limited, and ends this process and no import.

Started by `importing.parsing`. It ends when its input does, so that it outlives no import.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from vaultembed.failpoints import failpoint
from vaultembed.message import ParsedMessage
from vaultembed.text.html.to_text import html_to_text
from vaultembed.text.mime.mime import READER_VERSION, header_alone, parse_message
from vaultembed.text.mime.packed import compress
from vaultembed.text.problems import ProblemLog

SECONDS: Final = 2.0
"""Of processor time for a message. Most take milliseconds, the slowest of 6,046 real ones 0.2 s."""
_BYTES_A_SECOND: Final = 4_000_000
"""So much more time a large one has: 100 MB of attachments are read at 50 MB/s."""
_TIMES_ITS_SIZE: Final = 16
_MEMORY: Final = 64 * 1024 * 1024
"""With that multiple of a message's size, what parsing it may take. `email` takes nine times the size of an attachment,
and sixteen times that of a text with 8-bit bytes; a table of 2 MB of HTML takes 85 MB."""


class Depth(IntEnum):
    """How much of a message is read; less where more has ended a parser."""

    WHOLE = 0
    WITHOUT_HTML = 1
    HEADER = 2
    NOTHING = 3


class Unparsed(Protocol):
    """What goes to a parser, pickled. Nothing is read of it at `Depth.NOTHING`, which is tried in the import itself."""

    @property
    def size(self) -> int: ...

    def parse(self, depth: Depth) -> ParsedMessage: ...


@dataclass(frozen=True, slots=True)
class Mime:
    """A message as it was sent."""

    mime: bytes
    content_hash: bytes
    delivered_at: int | None
    is_kept: bool
    """The bytes go into the archive, too."""

    @property
    def size(self) -> int:
        return len(self.mime)

    def parse(self, depth: Depth) -> ParsedMessage:
        read = {Depth.HEADER: header_alone(self.mime), Depth.NOTHING: b""}.get(depth, self.mime)
        read_html = html_to_text if depth is Depth.WHOLE else _leave_out
        parsed = parse_message(read, delivered_at=self.delivered_at, read_html=read_html)
        packed = compress(self.mime) if self.is_kept else None
        return replace(
            parsed, size_bytes=self.size, content_hash=self.content_hash, packed=packed, reader=READER_VERSION
        )


def _leave_out(_html: str, _log: ProblemLog) -> str:
    return ""


def main() -> None:
    # Ctrl-C reaches the whole terminal, SIGTERM a whole service; what it means is the import's to decide.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    _answer(answers, None)  # ready
    for stream in (1, 2):  # out of reach of native code that prints
        os.dup2(nowhere, stream)
    try:
        _serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, EOFError, pickle.UnpicklingError):
        sys.exit(1)  # the import is gone


def _answer(stream: BinaryIO, what: object) -> None:
    stream.write(pickle.dumps(what))
    stream.flush()


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while True:
        depth, messages = pickle.load(requests)  # noqa: S301  (of the process that started this one)
        for message in messages:
            failpoint("parser.message")
            try:
                with _limited(message.size):
                    parsed = pickle.dumps(message.parse(depth))
            except MemoryError:
                _answer(answers, "reading it takes too much memory")
                raise
            except BaseException as error:  # a panic in native code is no Exception
                _answer(answers, f"{type(error).__name__}: {error}")
                raise
            answers.write(parsed)
            answers.flush()


@contextmanager
def _limited(size: int) -> Iterator[None]:
    """Inside, the process ends, in the middle of native code if need be, when one message takes too much."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = _held()
    if held is not None:
        most = held + _TIMES_ITS_SIZE * size + _MEMORY
        most = min([most, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS + size / _BYTES_A_SECOND)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _held() -> int | None:
    """Bytes of address space in use; None where the system does not tell, nor keep to a limit of it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None
