"""Reading an mbox, whatever wrote it."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultembed.message import RawMessage
from vaultembed.sources import MboxEntry, SourceFile, Unreadable, read_mbox
from vaultembed.text.mime.identity import content_hash
from vaultembed.text.mime.mime import parse_message

FROM = b"From joe@example.org Mon Feb 13 12:00:05 2012\n"
PIPERMAIL = b"From joe at example.org  Mon Feb 13 12:00:05 2012\n"


def entries_of(path: Path, data: bytes, start: int = 0, *, buffer_size: int = 1 << 20) -> list[MboxEntry]:
    path.write_bytes(data)
    return list(read_mbox(SourceFile(path, path.name, "mbox", ""), start, buffer_size=buffer_size))


def messages_of(path: Path, data: bytes, *, buffer_size: int = 1 << 20) -> list[bytes]:
    found = []
    for entry in entries_of(path, data, buffer_size=buffer_size):
        assert isinstance(entry.message, RawMessage), entry
        found.append(entry.message.mime)
    return found


def message(subject: str, body: bytes) -> bytes:
    return f"From: Joe <joe@example.org>\nSubject: {subject}\n\n".encode() + body


def write_mboxrd(messages: list[bytes]) -> bytes:
    return b"".join(FROM + re.sub(rb"(?m)^(>*From )", rb">\1", each) + b"\n" for each in messages)


def write_mboxo(messages: list[bytes]) -> bytes:
    return b"".join(FROM + re.sub(rb"(?m)^From ", rb">From ", each) + b"\n" for each in messages)


def write_mboxcl2(messages: list[bytes]) -> bytes:
    parts = []
    for each in messages:
        header, _, body = each.partition(b"\n\n")
        parts.append(FROM + header + b"\nContent-Length: %d\n\n" % len(body) + body + b"\n")
    return b"".join(parts)


def write_mboxcl(messages: list[bytes]) -> bytes:
    return write_mboxcl2([re.sub(rb"(?m)^From ", rb">From ", each) for each in messages])


def write_pipermail(messages: list[bytes]) -> bytes:
    return b"".join(PIPERMAIL + each + b"\n" for each in messages)


def without_length(mime: bytes) -> bytes:
    return re.sub(rb"Content-Length: \d+\n", b"", mime)


plain_line = st.sampled_from(
    [
        b"",
        b" ",
        b"\r",
        b"Hello there.",
        b"> quoted",
        b"caf\xe9 \xff\x00",
        b"Subject: not a header",
        b"Fro",
        b"From:",
        b"x" * 300,
    ]
)
from_line_in_body = st.sampled_from(
    [b"From what I see, it works.", b"From joe@example.org Mon Feb 13 12:00:05 2012", b"From ", b"From there"]
)
quoted_from = st.sampled_from([b">From joe", b">>From what I see"])


def bodies(*lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    body = st.lists(st.one_of(*lines), max_size=8).map(lambda found: b"".join(line + b"\n" for line in found))
    return st.lists(body, min_size=1, max_size=5).map(
        lambda found: [message(f"number {number}", each) for number, each in enumerate(found)]
    )


buffer_sizes = st.integers(min_value=1, max_value=700)


@given(bodies(plain_line, from_line_in_body, quoted_from), buffer_sizes)
def test_mboxrd_gives_back_every_byte(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mboxrd"
    assert messages_of(path, write_mboxrd(messages), buffer_size=size) == messages


@given(bodies(plain_line, from_line_in_body), buffer_sizes)
def test_mboxo_gives_back_what_had_no_quoted_from(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mboxo"
    assert messages_of(path, write_mboxo(messages), buffer_size=size) == messages


@given(bodies(plain_line, from_line_in_body), buffer_sizes)
def test_mboxcl_gives_back_every_byte(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mboxcl"
    found = messages_of(path, write_mboxcl(messages), buffer_size=size)
    assert [without_length(mime) for mime in found] == messages


@given(bodies(plain_line, from_line_in_body), buffer_sizes)
def test_mboxcl2_keeps_whole_messages_inside_a_body(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mboxcl2"
    with_inner = [each + b"\n" + FROM + message("inner", b"inner\n") for each in messages]
    found = messages_of(path, write_mboxcl2(with_inner), buffer_size=size)
    assert [without_length(mime) for mime in found] == with_inner


@given(bodies(plain_line, st.just(b"From what I see, it works.")), buffer_sizes)
def test_pipermail_gives_back_every_byte(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "pipermail.txt"
    assert messages_of(path, write_pipermail(messages), buffer_size=size) == messages


@given(bodies(plain_line, from_line_in_body, quoted_from), buffer_sizes)
def test_crlf_file_keeps_its_line_ends(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "crlf"
    unix = [re.sub(rb"\r", b"", each) for each in messages]
    data = write_mboxrd(unix).replace(b"\n", b"\r\n")
    expected = [each.replace(b"\n", b"\r\n") for each in unix]
    assert messages_of(path, data, buffer_size=size) == expected


def test_every_buffer_boundary_gives_the_same_messages(tmp_path: Path) -> None:
    messages = [message("one", b"a\n\nFrom there on\n"), message("two", b">From x\n"), message("three", b"")]
    data = write_mboxrd(messages)
    for size in range(1, len(data) + 2):
        assert messages_of(tmp_path / "box", data, buffer_size=size) == messages


@settings(max_examples=300)
@given(st.binary(max_size=2000))
def test_garbage_is_read_to_its_end_without_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    found = entries_of(tmp_path_factory.getbasetemp() / "garbage", data)
    if data.strip(b"\xef\xbb\xbf \t\r\n\x0b\x0c"):
        assert found[-1].end_offset == len(data)


def test_from_line_in_a_body_is_no_separator_without_a_header_below(tmp_path: Path) -> None:
    body = b"He sent:\n\n" + FROM + b"and that was all.\n\n" + FROM + b"http://example.org/ was in it.\n"
    assert len(messages_of(tmp_path / "box", FROM + message("one", body) + b"\n" + FROM + message("two", b"x\n"))) == 2


def test_missing_blank_line_before_a_separator_is_forgiven(tmp_path: Path) -> None:
    first, second = message("one", b"no blank line follows\n"), message("two", b"x\n")
    assert messages_of(tmp_path / "box", FROM + first + FROM + second) == [first, second]


ODD_FIRST_LINES = {
    "quoted From_ line": b">From - Sat Apr 12 2025 15:59:28\n",
    "sentence": b"no header at all line\n",
    "continuation": b" folded garbage\n",
    "blank": b"\n",
    "byte order mark": b"\xef\xbb\xbfX-A: z\n",
    "NUL": b"X-A\0: z\n",
    "stray CR": b"\rX-A: z\n",
    "8-bit name": b"\xc3\x9cberschrift: x\n",
    "name of several words": b"X-Odd Header Name: foo\n",
    "no name": b": z\n",
    "long name": b"X-" + b"a" * 400 + b": z\n",
    "tab before the colon": b"Received\t: from x by y\n",
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("odd", ODD_FIRST_LINES)
def test_an_odd_line_below_it_hides_no_separator(tmp_path: Path, odd: str, end: bytes) -> None:
    messages = [
        ODD_FIRST_LINES[odd] + f"Message-ID: <{n}@example.org>\n".encode() + message(f"number {n}", b"text\n")
        for n in range(300)
    ]
    data = b"".join(FROM + each + b"\n" for each in messages).replace(b"\n", end)
    found = messages_of(tmp_path / "box", data)
    assert len(found) == 300
    assert [parse_message(each).subject for each in found] == [f"number {n}" for n in range(300)]


@pytest.mark.parametrize("blank", [b"", b"\n"])
@pytest.mark.parametrize("line", [b"From ", b"From - ", b"From -"])
@pytest.mark.parametrize("first", [FROM, b"From - Mon Mar  5 10:11:12 2018\n", None])
def test_a_separator_without_a_date(tmp_path: Path, first: bytes | None, line: bytes, blank: bytes) -> None:
    messages = [
        f"X-Mozilla-Status: 0001\nDate: Mon, 05 Mar 2018 10:11:12 +0100\n{message(str(n), b'text').decode()}\n".encode()
        for n in range(3)
    ]
    line += b"\n"
    data = (first or line) + (blank + line).join(messages)
    assert messages_of(tmp_path / "box", data) == messages


def test_sentence_ending_in_a_date_is_no_separator(tmp_path: Path) -> None:
    body = b"\nFrom what I wrote on Mon Feb 13 12:00:05 2012\nNote: this was before.\n"
    assert messages_of(tmp_path / "box", FROM + message("one", body)) == [message("one", body)]


def test_bare_from_of_new_mozilla_separates(tmp_path: Path) -> None:
    first = b"X-Mozilla-Status: 0001\r\n" + message("one", b"x\n").replace(b"\n", b"\r\n")
    second = b"X-Mozilla-Status: 0000\r\n" + message("two", b"x\n").replace(b"\n", b"\r\n")
    data = b"From \r\n" + first + b"\r\nFrom \r\n" + second + b"\r\n"
    found = entries_of(tmp_path / "Inbox", data)
    assert [entry.message.mime for entry in found if isinstance(entry.message, RawMessage)] == [first, second]
    assert isinstance(found[0].message, RawMessage)
    assert found[0].message.flags == {"seen"}


def test_file_whose_from_lines_have_no_date_is_split_by_them(tmp_path: Path) -> None:
    messages = [message("one", b"x\n"), message("two", b"From there\nto here\n")]
    data = b"".join(b"From joe@example.org\n" + each + b"\n" for each in messages)
    assert messages_of(tmp_path / "box", data) == messages


@pytest.mark.parametrize("length", [b"0", b"3", b"7", b"100000", b"999999999999", b"-1", b"many"])
def test_content_length_that_lies_is_ignored(tmp_path: Path, length: bytes) -> None:
    first = b"Content-Length: " + length + b"\n" + message("one", b"some text\n")
    second = message("two", b"more\n")
    assert messages_of(tmp_path / "box", FROM + first + b"\n" + FROM + second + b"\n") == [first, second]


def test_byte_order_mark_and_blank_lines_in_front_are_skipped(tmp_path: Path) -> None:
    one = message("one", b"x\n")
    assert messages_of(tmp_path / "box", b"\xef\xbb\xbf\n\r\n" + FROM + one) == [one]


def test_message_in_front_of_the_first_separator_is_kept(tmp_path: Path) -> None:
    messages = [message("cut by rotation", b"x\n"), message("two", b"y\n")]
    assert messages_of(tmp_path / "box", messages[0] + b"\n" + FROM + messages[1]) == messages


def test_garbage_in_front_is_reported_and_the_rest_read(tmp_path: Path) -> None:
    found = entries_of(tmp_path / "box", b"%PDF-1.4 nonsense\n\n" + FROM + message("one", b"x\n"))
    assert [type(entry.message) for entry in found] == [Unreadable, RawMessage]
    assert found[0].end_offset == 19


def test_message_cut_off_in_its_middle_is_given_as_it_is(tmp_path: Path) -> None:
    data = FROM + message("one", b"x\n") + b"\n" + FROM + b"From: joe@example.org\nSubj"
    assert messages_of(tmp_path / "box", data)[1] == b"From: joe@example.org\nSubj"


@pytest.mark.parametrize("data", [b"", b"\n\n", FROM])
def test_mbox_without_messages_has_no_entries(tmp_path: Path, data: bytes) -> None:
    assert entries_of(tmp_path / "box", data) == []


def test_entry_says_where_it_stands_and_what_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "box"
    first, second = message("one", b"x\n"), message("two", b"y\n")
    path.write_bytes(write_mboxrd([first, second]))
    found = list(read_mbox(SourceFile(path, "lists/box", "mbox", "lists/box")))
    offset = len(write_mboxrd([first]))
    assert found[1].message == RawMessage(
        source_key=f"lists/box:{content_hash(second).hex()}",
        locator=f"{path}@{offset}",
        mime=second,
        content_hash=content_hash(second),
        folder="lists/box",
        delivered_at=1329134405,
    )
    assert found[0].end_offset == offset


def test_status_fields_become_flags(tmp_path: Path) -> None:
    data = FROM + b"Status: RO\nX-Status: AF\n" + message("one", b"x\n")
    (entry,) = entries_of(tmp_path / "box", data)
    assert isinstance(entry.message, RawMessage)
    assert entry.message.flags == {"seen", "answered", "flagged"}


def test_reading_goes_on_at_every_boundary(tmp_path: Path) -> None:
    path = tmp_path / "box"
    whole = entries_of(path, write_mboxrd([message(f"n{number}", b"x\n" * number) for number in range(6)]))
    for number, entry in enumerate(whole):
        rest = list(read_mbox(SourceFile(path, "box", "mbox", ""), entry.end_offset))
        assert rest == whole[number + 1 :]


def test_message_over_the_limit_is_reported_and_the_rest_read(tmp_path: Path) -> None:
    path = tmp_path / "box"
    messages = [message("one", b"x\n"), message("huge", b"z" * 50_000 + b"\n"), message("three", b"y\n")]
    path.write_bytes(write_mboxrd(messages))
    file = SourceFile(path, "box", "mbox", "")
    found = list(read_mbox(file, buffer_size=1000, message_limit=10_000))
    assert [type(entry.message) for entry in found] == [RawMessage, Unreadable, RawMessage]
    assert found[1].end_offset == len(write_mboxrd(messages[:2]))
    assert list(read_mbox(file, found[1].end_offset)) == found[2:]


def test_memory_does_not_grow_with_the_file_or_with_one_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "box"
    with path.open("wb") as stream:
        for number in range(100):
            stream.write(FROM + message(f"n{number}", b"line of text\n" * 8000) + b"\n")
        stream.write(FROM + message("endless", b"z" * 10_000_000 + b"\n") + b"\n" + FROM + message("last", b"x\n"))
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_mbox(SourceFile(path, "box", "mbox", ""), message_limit=1_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 102
    assert peak < 8_000_000 < path.stat().st_size


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "box"
    path.write_bytes(FROM + message("one", b"x\n"))
    path.chmod(0)
    (entry,) = read_mbox(SourceFile(path, "box", "mbox", ""))
    assert entry == MboxEntry(Unreadable(f"{path}@0", "Permission denied"), 0)


def test_file_that_vanished_is_reported_and_starts_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    (entry,) = read_mbox(SourceFile(path, "gone", "mbox", ""), 77)
    assert entry == MboxEntry(Unreadable(f"{path}@77", "No such file or directory", hides_more=True), 77)
