"""mbox: messages one after another, each behind a `From ` line.

The format never had a standard; RFC 4155 describes the middle of it. The dialects differ in how they keep
a body line that begins with "From " apart from the line before the next message: mboxo and mboxrd write
">From ", mboxcl counts the body in Content-Length as well, mboxcl2 only counts, and pipermail does nothing.
So a line separates messages only where line, predecessor and successor agree (see `_is_separator`).

The file is read in chunks through one growing window; nothing larger than one message is held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Final, Literal

from vaultembed.failpoints import failpoint
from vaultembed.message import MESSAGE_LIMIT, FileState, RawMessage
from vaultembed.sources.base import (
    MboxEntry,
    SourceFile,
    Unreadable,
    describe_os_error,
    printable,
)
from vaultembed.sources.envelope import (
    content_length,
    header_of,
    status_flags,
    strip_last_blank_line,
    unquote_from,
)
from vaultembed.sources.from_line import LONGEST, FromLine, parse_from_line
from vaultembed.sources.sniff import (
    HEAD_SIZE,
    looks_like_mbox,
    looks_like_message,
    skip_blank,
)
from vaultembed.text.mime.header_block import is_header, names_field, names_usual_field
from vaultembed.text.mime.identity import content_hash

BUFFER_SIZE: Final = 1024 * 1024

_MARK: Final = b"\nFrom "
_LOOKAHEAD: Final = LONGEST + 4096
"""Bytes that decide whether a line is a separator: the line itself and the header below it."""
_LOOKBEHIND: Final = 3
_SAMPLE: Final = 4096


@dataclass(frozen=True, slots=True)
class _Section:
    """From one From_ line to the next. Offsets are from the start of the file."""

    offset: int
    content: int
    """Where the message begins: just after the line."""
    line: FromLine | None
    """None for what stands before the first From_ line."""


def read_mbox(
    file: SourceFile,
    start: int = 0,
    *,
    buffer_size: int = BUFFER_SIZE,
    message_limit: int = MESSAGE_LIMIT,
) -> Iterator[MboxEntry]:
    """The messages of an mbox from `start` on, which must be 0 or the `end_offset` of an earlier entry.

    `end_offset` of the last entry is the size of the file, or the place of a From_ line that nothing follows
    yet. Text before the first From_ line is a message if it looks like one, else reported; so is a message
    larger than `message_limit`. An error while reading ends the entries with a report, whose `end_offset` is
    where the next attempt should start. Memory: `message_limit`, up to three times over, plus `buffer_size`.
    """
    reached = start
    try:
        with FileIO(file.path) as stream:
            for entry in _Reader(file, stream, start, buffer_size, message_limit).entries():
                reached = entry.end_offset
                yield entry
    except OSError as error:
        yield MboxEntry(Unreadable(_locator(file, reached), describe_os_error(error), hides_more=True), reached)


class _Window:
    """The part of a file between two offsets, growing at its end and cut at its front."""

    def __init__(self, stream: FileIO, start: int, buffer_size: int) -> None:
        self._stream = stream
        self._buffer_size = buffer_size
        self._data = bytearray()
        self.start = start
        stream.seek(start)

    @property
    def end(self) -> int:
        return self.start + len(self._data)

    def grow(self) -> bool:
        """Read one more chunk; False at the end of the file."""
        failpoint("mbox.read")
        chunk = self._stream.read(self._buffer_size)
        self._data += chunk
        return bool(chunk)

    def grow_to(self, offset: int) -> None:
        while self.end < offset and self.grow():
            pass

    def cut(self, offset: int) -> None:
        """Forget what lies before `offset`."""
        if offset > self.start:
            del self._data[: offset - self.start]
            self.start = offset

    def find(self, mark: bytes, begin: int) -> int:
        found = self._data.find(mark, begin - self.start)
        return found + self.start if found >= 0 else -1

    def slice(self, begin: int, end: int) -> bytes:
        with memoryview(self._data) as view:
            return bytes(view[max(begin - self.start, 0) : max(end - self.start, 0)])

    def peek(self, offset: int, size: int) -> bytes:
        """Bytes from anywhere in the file, leaving the window as it is."""
        return os.pread(self._stream.fileno(), size, offset)


class _Reader:
    def __init__(self, file: SourceFile, stream: FileIO, start: int, buffer_size: int, message_limit: int) -> None:
        self._file = file
        self._window = _Window(stream, start, buffer_size)
        self._start = start
        self._limit = message_limit
        first = parse_from_line(_first_line(skip_blank(self._window.peek(0, HEAD_SIZE))))
        # Where the file's own first From_ line has no date, the others need none either.
        self._dateless = first is not None and not first.dated

    def entries(self) -> Iterator[MboxEntry]:
        section: _Section | None = self._first_section()
        while section is not None:
            following = self._next_section(section)
            end = following.offset if following else self._window.end
            if end - section.content > self._limit:
                size = f"{(end - section.content) / 1e6:.0f} MB"
                yield self._report(
                    section,
                    end,
                    f"a message of {size} is too large to read, the rest is read; take attachments out of it first",
                )
                section = following
                continue
            mime = self._window.slice(section.content, end)
            header, body = header_of(mime)
            length = content_length(header)
            counted_size = 0 if length is None else body + length
            if counted_size > len(mime) and (counted := self._counted(section, section.content + counted_size)):
                mime, following = counted
                end = following.offset if following else self._window.end
            yield from self._entry(section, _unwrap(mime, body, length), header, end)
            section = following

    def _first_section(self) -> _Section:
        head = self._window.peek(self._start, HEAD_SIZE)
        blank = len(head) - len(skip_blank(head))
        found = self._judge(self._start + blank, b"", head[blank : blank + _LOOKAHEAD])
        return found or _Section(self._start, self._start, None)

    def _next_section(self, section: _Section) -> _Section | None:
        window = self._window
        position = section.content
        while True:
            window.grow_to(position + 1)
            found = window.find(_MARK, position)
            if found >= 0:
                offset = found + 1
                window.grow_to(offset + _LOOKAHEAD)
                before = window.slice(offset - _LOOKBEHIND, offset)
                if following := self._judge(offset, before, window.slice(offset, offset + _LOOKAHEAD)):
                    return following
                position = offset
                continue
            position = max(position, window.end - len(_MARK) + 1)
            too_large = window.end - section.content > self._limit
            window.cut(position - _LOOKBEHIND if too_large else section.offset)
            if not window.grow():
                return None

    def _judge(self, offset: int, before: bytes, text: bytes) -> _Section | None:
        """The section that begins at `offset`, where `text` stands there and `before` ends there."""
        raw_line, end, after = text.partition(b"\n")
        line = parse_from_line(raw_line.removesuffix(b"\r"))
        if line is None or not self._is_separator(line, before, after):
            return None
        return _Section(offset, offset + len(raw_line) + len(end), line)

    def _is_separator(self, line: FromLine, before: bytes, after: bytes) -> bool:
        """Whether a line of the right shape separates messages, by the text before (b"": file start) and after.

        Some writers forget the empty line before it, and some bodies quote a From_ line: the less
        a line looks the part, the better known must be the header that follows.
        """
        isolated = not before or before.endswith((b"\n\n", b"\n\r\n"))
        if not line.dated:
            # a bare "From " separates in Mozilla's mailboxes, whatever stands before it
            if line.sender in (b"", b"-"):
                return (isolated and names_usual_field(after)) or is_header(after)
            return isolated and self._dateless and (names_usual_field(after) or is_header(after))
        if isolated and line.plain_sender and (not before or not after or names_field(after)):
            return True
        may_be_apart = isolated and line.plain_sender  # header and From_ line, by an empty line
        return names_usual_field(after) or (is_header(after) and (may_be_apart or after[:1] not in b"\r\n"))

    def _counted(self, section: _Section, end: int) -> tuple[bytes, _Section | None] | None:
        """The message that ends at `end` as its Content-Length says, and what follows; None if it lies."""
        window = self._window
        if end - section.content > self._limit or not window.peek(end - 1, 1):
            return None
        text = window.peek(end, _LOOKAHEAD + 4)
        blank = len(text) - len(skip_blank(text))
        following = self._judge(end + blank, b"\n\n", text[blank : blank + _LOOKAHEAD])
        if following is None and len(text) > blank:
            return None
        window.cut(section.offset)
        window.grow_to(following.offset if following else end + blank + 1)
        return window.slice(section.content, end), following

    def _entry(self, section: _Section, mime: bytes, header: bytes, end: int) -> Iterator[MboxEntry]:
        if section.line is None:
            mime = skip_blank(mime)
            if mime and not looks_like_message(mime[:HEAD_SIZE]):
                yield self._report(section, end, f"{len(mime)} bytes in front of the first message are no mail")
                return
        if not mime.strip():
            return
        digest = content_hash(mime)
        message = RawMessage(
            source_key=f"{self._file.relative_path}:{digest.hex()}",
            locator=_locator(self._file, section.offset),
            mime=mime,
            content_hash=digest,
            folder=self._file.folder,
            flags=status_flags(header),
            delivered_at=section.line.delivered_at if section.line else None,
        )
        yield MboxEntry(message, end)

    def _report(self, section: _Section, end: int, detail: str) -> MboxEntry:
        return MboxEntry(Unreadable(_locator(self._file, section.offset), detail), end)


def _unwrap(mime: bytes, body: int, length: int | None) -> bytes:
    """The message without the mbox's empty line and quoting."""
    if length is None or body + length > len(mime) or mime[body + length :].strip(b"\r\n"):
        return unquote_from(strip_last_blank_line(mime))
    counted = mime[: body + length]
    # mboxcl quotes, mboxcl2 does not: a bare "From " tells that ">From " is the author's.
    return counted if _MARK in counted else unquote_from(counted)


def _locator(file: SourceFile, offset: int) -> str:
    return f"{printable(file.path)}@{offset}"


def _first_line(text: bytes) -> bytes:
    return text.partition(b"\n")[0].rstrip(b"\r")


def file_state(path: Path, offset: int) -> FileState:
    """What to remember of an mbox read up to `offset`.

    Raises:
        OSError: the file cannot be read.
    """
    with FileIO(path) as stream:
        facts = os.fstat(stream.fileno())
        return FileState(facts.st_size, facts.st_mtime_ns, _prefix_hash(stream, offset), offset)


Growth = Literal["at-end", "in-last-message", "rewritten"]


def growth(path: Path, state: FileState) -> Growth:
    """What has become of a file since it was read up to `state.offset`, where it has changed.

    at-end: it goes on there with another message, or nothing. in-last-message: it goes on with more of the last one,
    which was read while it was being written. rewritten: it no longer begins with what was read.

    Raises:
        OSError: the file cannot be read.
    """
    with FileIO(path) as stream:
        if os.fstat(stream.fileno()).st_size < state.offset or _prefix_hash(stream, state.offset) != state.prefix_hash:
            return "rewritten"
        appended = os.pread(stream.fileno(), HEAD_SIZE, state.offset)
    is_apart = state.offset == 0 or not appended.strip() or looks_like_mbox(appended)
    return "at-end" if is_apart else "in-last-message"


def _prefix_hash(stream: FileIO, offset: int) -> bytes:
    digest = blake2b(str(offset).encode(), digest_size=16)
    digest.update(os.pread(stream.fileno(), min(_SAMPLE, offset), 0))
    digest.update(os.pread(stream.fileno(), min(_SAMPLE, offset), max(offset - _SAMPLE, 0)))
    return digest.digest()
