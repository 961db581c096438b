"""Messages are parsed in other processes, and one that ends its process costs nothing but itself."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import new_message
from vaultembed.errors import StoppedError, VaultembedError
from vaultembed.importing import parser, parsing
from vaultembed.importing.parser import Depth, Mime
from vaultembed.importing.parsing import Parsers
from vaultembed.message import ParsedMessage

ENDLESS: Final = 10**9


def fill_memory() -> None:
    held = []
    while True:
        held.append(bytearray(1 << 24))


def panic() -> None:
    raise type("PanicException", (BaseException,), {})("in native code")


TROUBLES: Final[dict[str, Callable[[], object]]] = {
    "native code that does not return": lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", ENDLESS),
    "a loop": lambda: sum(1 for _ in iter(int, 1)),
    "memory": fill_memory,
    "an abort": os.abort,
    "an exit": lambda: os._exit(0),
    "a panic": panic,
    "a mistake of ours": lambda: 1 // 0,
    "the end of its stack": lambda: (lambda f: f(f))(lambda f: f(f)),
}
SLOW: Final = ("native code that does not return", "a loop")


@dataclass(frozen=True, slots=True)
class Troublesome:
    """A message that is one until so little of it is read."""

    what: str
    until: Depth
    size: int = 1000

    def parse(self, depth: Depth) -> ParsedMessage:
        if depth < self.until:
            TROUBLES[self.what]()
        return new_message(f"read: {depth.name}")


@dataclass(frozen=True, slots=True)
class Killed:
    """Its parser is killed by somebody while there are files to be taken away."""

    folder: Path
    size: int = 1000

    def parse(self, depth: Depth) -> ParsedMessage:
        for file in self.folder.iterdir() if depth < Depth.NOTHING else ():
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return new_message(f"read: {depth.name}")


@dataclass(frozen=True, slots=True)
class Awaited:
    """Says that it is being parsed, and is when it is told to."""

    folder: Path
    size: int = 1000

    def parse(self, _depth: Depth) -> ParsedMessage:
        (self.folder / "here").touch()
        while not (self.folder / "go on").exists():
            time.sleep(0.01)
        return new_message("read")


def plain(number: int) -> Mime:
    return Mime(b"Subject: number %d\n\nHello." % number, bytes(16), None, is_kept=True)


@pytest.fixture
def parsers() -> Iterator[Parsers]:
    with Parsers(lambda: False) as found:
        yield found


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            what,
            marks=[pytest.mark.slow]
            if what in SLOW
            else [pytest.mark.skipif(what == "memory" and sys.platform != "linux", reason="no limit of memory here")],
        )
        for what in TROUBLES
    ],
)
def test_what_ends_a_parser_is_read_without_what_may_be_to_blame(parsers: Parsers, what: str) -> None:
    messages = [*map(plain, range(3)), Troublesome(what, Depth.WITHOUT_HTML), *map(plain, range(3, 60))]
    found = parsers.collect(parsers.submit(messages))
    assert [each.subject for each in found if "number" in each.subject] == [f"number {n}" for n in range(60)]
    assert found[3].subject == "read: WITHOUT_HTML"
    (problem,) = found[3].problems
    assert problem.kind == "html-left-out"
    reasons = {"memory": "takes too much memory", "an abort": "SIGABRT", "a mistake of ours": "ZeroDivisionError"}
    assert reasons.get(what, "takes too long" if what in SLOW else "") in problem.detail
    assert not any(each.problems for each in found if each is not found[3])


@pytest.mark.parametrize("until", [Depth.HEADER, Depth.NOTHING])
def test_whatever_ends_a_parser_comes_to_an_end(parsers: Parsers, until: Depth) -> None:
    (found,) = parsers.collect(parsers.submit([Troublesome("an abort", until)]))
    assert found.subject == f"read: {until.name}"
    assert [each.kind for each in found.problems] == ["unreadable-message"]


@pytest.mark.parametrize(
    ("kills", "depth", "kinds"), [(2, Depth.WHOLE, []), (3, Depth.WITHOUT_HTML, ["html-left-out"])]
)
def test_a_message_is_not_to_blame_for_a_kill_or_two(
    parsers: Parsers, tmp_path: Path, kills: int, depth: Depth, kinds: list[str]
) -> None:
    for number in range(kills):
        (tmp_path / str(number)).touch()
    (found,) = parsers.collect(parsers.submit([Killed(tmp_path)]))
    assert (found.subject, [each.kind for each in found.problems]) == (f"read: {depth.name}", kinds)


def test_a_parser_that_is_killed_while_it_waits_is_replaced(parsers: Parsers) -> None:
    parsers.collect(parsers.submit([plain(1)]))
    for process in parsers.process_ids:
        os.kill(process, signal.SIGKILL)
    assert [each.problems for each in parsers.collect(parsers.submit([plain(2)]))] == [()]


def test_an_import_that_is_to_stop_waits_for_no_parser() -> None:
    started = time.monotonic()
    with Parsers(lambda: time.monotonic() > started + 0.3) as parsers:
        submitted = parsers.submit([Troublesome("native code that does not return", Depth.NOTHING)] * 100)
        with pytest.raises(StoppedError):
            parsers.collect(submitted)
        there = parsers.process_ids
    assert time.monotonic() - started < 2
    for process in there:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_parser_that_is_killed_at_the_end_of_an_import_is_not_kept_for_the_next(
    parsers: Parsers, tmp_path: Path
) -> None:
    """Its last answer came between the look at who is busy and the look at who is idle: it was both."""
    submitted = parsers.submit([Awaited(tmp_path)])
    while not (tmp_path / "here").exists():
        time.sleep(0.01)
    with parsers._lock:  # as `close` does both looks
        (tmp_path / "go on").touch()
        time.sleep(0.3)
        assert parsers._idle == []
    parsers.collect(submitted)
    assert len(parsers._idle) == 1


def test_a_parser_that_cannot_be_started_says_so_and_the_way_out(parsers: Parsers) -> None:
    spare = parsing._spare(os.getpid())
    aside, spare[:] = list(spare), []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        with pytest.raises(VaultembedError, match=r"(?s)parses messages could not be started: Too many.*same command"):
            parsers.collect(parsers.submit([plain(1)]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        spare[:] = aside
    assert parsers.collect(parsers.submit([plain(1)]))


@pytest.mark.parametrize("depth", Depth)
def test_a_message_keeps_its_bytes_and_its_size_however_little_is_read(depth: Depth) -> None:
    mime = b"Subject: a\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p>Hello"
    found = Mime(mime, b"h" * 16, 5, is_kept=True).parse(depth)
    assert (found.size_bytes, found.content_hash, found.sent_at) == (len(mime), b"h" * 16, 5)
    assert parser.compress(mime) == found.packed
    assert (found.subject, found.body_text) == [("a", "Hello"), ("a", ""), ("a", ""), ("", "")][depth]
