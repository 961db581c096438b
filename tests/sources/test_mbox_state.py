"""Telling an mbox that grew from one that was rewritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaultembed.message import RawMessage
from vaultembed.sources import FileState, SourceFile, file_state, growth, read_mbox

FROM = b"From joe@example.org Mon Feb 13 12:00:05 2012\n"


def entry_bytes(subject: str, body: str = "x") -> bytes:
    return FROM + f"From: joe@example.org\nSubject: {subject}\n\n{body}\n\n".encode()


def read_whole(path: Path) -> FileState:
    *_, last = read_mbox(SourceFile(path, path.name, "mbox", ""))
    return file_state(path, last.end_offset)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box"
    path.write_bytes(b"".join(entry_bytes(f"n{number}", "text " * 200) for number in range(20)))
    return path


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def test_file_left_alone_goes_on(box: Path) -> None:
    state = read_whole(box)
    assert growth(box, state) == "at-end"


def test_appended_file_goes_on_at_the_offset(box: Path) -> None:
    state = read_whole(box)
    append(box, entry_bytes("new"))
    assert growth(box, state) == "at-end"
    (entry,) = read_mbox(SourceFile(box, "box", "mbox", ""), state.offset)
    assert isinstance(entry.message, RawMessage)
    assert b"Subject: new" in entry.message.mime


def test_file_appended_after_a_lone_newline_goes_on(box: Path) -> None:
    box.write_bytes(box.read_bytes()[:-1])
    state = read_whole(box)
    append(box, b"\n" + entry_bytes("new"))
    assert growth(box, state) == "at-end"
    assert len(list(read_mbox(SourceFile(box, "box", "mbox", ""), state.offset))) == 1


def test_half_read_file_goes_on(box: Path) -> None:
    first = next(read_mbox(SourceFile(box, "box", "mbox", "")))
    state = file_state(box, first.end_offset)
    assert growth(box, state) == "at-end"


@pytest.mark.parametrize("place", [60, -60])
def test_rewritten_file_is_noticed(box: Path, place: int) -> None:
    state = read_whole(box)
    data = bytearray(box.read_bytes())
    data[place] ^= 0xFF
    box.write_bytes(data)
    os.utime(box, ns=(state.mtime_ns + 1, state.mtime_ns + 1))
    assert growth(box, state) == "rewritten"


def test_file_that_lost_its_first_message_is_noticed(box: Path) -> None:
    state = read_whole(box)
    data = box.read_bytes()
    box.write_bytes(data[len(entry_bytes("n0", "text " * 200)) :] + entry_bytes("new") * 40)
    assert growth(box, state) == "rewritten"


def test_shortened_file_is_noticed(box: Path) -> None:
    state = read_whole(box)
    box.write_bytes(box.read_bytes()[:-100])
    assert growth(box, state) == "rewritten"


def test_last_message_that_grew_since_is_noticed(box: Path) -> None:
    box.write_bytes(box.read_bytes()[:-300])
    state = read_whole(box)
    append(box, b"the rest of it arrived\n\n")
    assert growth(box, state) == "in-last-message"


def test_from_line_still_without_a_message_is_read_next_time(box: Path) -> None:
    append(box, FROM)
    state = read_whole(box)
    assert state.offset == box.stat().st_size - len(FROM)
    append(box, entry_bytes("late")[len(FROM) :])
    assert growth(box, state) == "at-end"
    (entry,) = read_mbox(SourceFile(box, "box", "mbox", ""), state.offset)
    assert isinstance(entry.message, RawMessage)
    assert b"Subject: late" in entry.message.mime


def test_state_of_nothing_read_continues_with_anything(tmp_path: Path) -> None:
    path = tmp_path / "box"
    path.write_bytes(b"")
    state = file_state(path, 0)
    append(path, entry_bytes("first"))
    assert growth(path, state) == "at-end"
