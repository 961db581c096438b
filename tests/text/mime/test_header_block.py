"""A header is read over lines that have no place in it, and text is no header."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.mime.header_block import mended
from vaultembed.text.mime.mime import parse_message

HEADER: Final = (
    b"From: Mara <mara@example.org>\nTo: Odo <odo@example.org>\nSubject: heron\n"
    b"Date: Tue, 05 Jul 2022 10:00:00 +0200\nMessage-ID: <m1@example.org>\n"
)
ODD: Final[dict[str, bytes]] = {
    "mbox line": b">From - Sat Apr 12 2025 15:59:28\n",
    "mbox line, From_ line": b"From mara@example.org Tue Jul  5 18:44:10 2022\n>From mara\n",
    "sentence": b"no header at all line\n",
    "continuation": b" folded garbage\n",
    "blank": b"\n",
    "blanks": b"\n\r\n\n",
    "byte order mark": b"\xef\xbb\xbfX-A: z\n",
    "NUL": b"X-A\0: z\n",
    "stray CR": b"\rX-A: z\n",
    "CR in a value": b"X-A: y\rX-B: z\n",
    "8-bit name": b"\xc3\x9cberschrift: x\n",
    "name of several words": b"X-Odd Header Name: foo\n",
    "name of several words, folded": b"X-Odd Header Name: foo\n\tbar\n",
    "no name": b": z\n",
    "blank before the colon": b"Received : from x by y; Tue, 5 Jul 2022 10:00:00 +0000\n",
    "long name": b"X-" + b"a" * 400 + b": z\n",
    "two": b"one line\nanother line\n",
}
INSIDE: Final = [name for name in ODD if "blank" not in name or "colon" in name]


def check(mime: bytes) -> None:
    found = parse_message(mime)
    assert (found.subject, found.rfc822_message_id, found.body_text) == ("heron", "m1@example.org", "The heron nests.")
    assert found.sender is not None
    assert found.sender.address == "mara@example.org"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
@pytest.mark.parametrize("odd", ODD)
def test_a_header_begins_behind_odd_lines(odd: str, end: bytes) -> None:
    check((ODD[odd] + HEADER + b"\nThe heron nests.\n").replace(b"\r\n", b"\n").replace(b"\n", end))


@pytest.mark.parametrize("odd", INSIDE)
def test_a_header_goes_on_behind_odd_lines(odd: str) -> None:
    check(b"X-First: 1\nMIME-Version: 1.0\n" + ODD[odd] + HEADER + b"\nThe heron nests.\n")


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\nDate: Tue, 05 Jul 2022 10:00:00 +0200\nContent-Type: text/plain\n\nx\n",
        b"-----Original Message-----\nFrom: Mara\nSent: Tuesday\nTo: Odo\nSubject: heron\n\nx\n",
        b"Dear Odo,\n\n" + HEADER + b"\nwas what she wrote.\n",
        HEADER + b"Note that it has no empty line\nDate: none\nand so on\n",
        HEADER.replace(b"Subject: heron\n", b"") + b"text at once\nSubject: is what it is about\nTo: be told\n",
        HEADER + b"\n" + HEADER,
        b"",
        b"\n\n",
    ],
)
def test_text_is_no_header(text: bytes) -> None:
    assert mended(text).replace(b"\n\n", b"\n") == text.replace(b"\n\n", b"\n")


@given(st.lists(st.sampled_from([*ODD.values(), *HEADER.splitlines(keepends=True), b"\n", b"text\n"]), max_size=12))
def test_what_is_mended_is_sound_and_loses_no_text(lines: list[bytes]) -> None:
    mime = b"".join(lines)
    assert mended(mended(mime)) == mended(mime)
    body = b"\nthe last of it \0\r\xff\n"
    assert mended(mime + b"\n" + body).endswith(body)
