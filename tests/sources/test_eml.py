"""Files of one message."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from vaultembed.message import MESSAGE_LIMIT, RawMessage
from vaultembed.sources import SourceFile, Unreadable, read_mbox
from vaultembed.sources.eml import read_eml_file, read_message_bytes
from vaultembed.text.mime.identity import content_hash

MAIL = b"From: joe@example.org\r\nSubject: hi\r\n\r\nhello\r\n"
FROM = b"From joe@example.org Mon Feb 13 12:00:05 2012\r\n"


def read(path: Path, data: bytes) -> RawMessage | Unreadable:
    path.write_bytes(data)
    return read_eml_file(SourceFile(path, f"box/{path.name}", "eml", "box"))


def test_message_is_given_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    assert read(path, MAIL) == RawMessage("box/a.eml", str(path), MAIL, content_hash(MAIL), "box")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_message_that_was_compressed_by_itself_is_unpacked(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    for name in ("1520000011.M9.host,S=123,W=130:2,S", "a.eml"):
        message = read(tmp_path / name, compress(MAIL))
        assert isinstance(message, RawMessage)
        assert message.mime == MAIL
    assert isinstance(read(tmp_path / "a.eml", compress(MAIL)[:-5]), Unreadable)


def test_message_in_utf_16_is_read(tmp_path: Path) -> None:
    text = MAIL.decode() + "Grüße\r\n"
    latin = "Content-Type: text/plain; charset=iso-8859-1\r\n" + text
    for encoded, expected in (
        (text.encode("utf-16"), text.encode()),
        (b"\xfe\xff" + text.encode("utf-16-be"), text.encode()),
        (latin.encode("utf-16"), latin.encode("latin-1")),
        ((latin + "→").encode("utf-16"), (latin + "→").encode()),
        (latin.replace("iso-8859-1", "utf-16").encode("utf-16"), latin.replace("iso-8859-1", "utf-16").encode()),
    ):
        message = read(tmp_path / "a.eml", encoded)
        assert isinstance(message, RawMessage)
        assert message.mime == expected


@pytest.mark.parametrize(
    ("data", "way_out"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "save it as .eml"),
        (b"PK\x03\x04" + bytes(100), "unpack"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "unpack"),
        (b"CRYPTED\x03\x07" + bytes(100), "doveadm"),
        (b"Dovecot-LZ4\r\n" + bytes(100), "doveadm"),
        (gzip.compress(bytes(80 * 1024 * 1024), 1), "unpack"),
        (gzip.compress(b""), "empty"),
    ],
    ids=["msg", "zip", "zstd", "encrypted", "lz4", "bomb", "nothing"],
)
def test_what_is_named_like_a_message_and_cannot_be_read_is_reported(tmp_path: Path, data: bytes, way_out: str) -> None:
    found = read(tmp_path / "a.eml", data)
    assert isinstance(found, Unreadable)
    assert way_out in found.detail


@pytest.mark.parametrize(
    ("front", "time"),
    [
        (b"\xef\xbb\xbf", None),
        (FROM, 1329134405),
        (b"From joe@example.org\r\n", None),
        (b"\xef\xbb\xbf" + FROM, 1329134405),
    ],
)
def test_mark_and_from_line_in_front_are_cut(tmp_path: Path, front: bytes, time: int | None) -> None:
    message = read(tmp_path / "a.eml", front + MAIL)
    assert isinstance(message, RawMessage)
    assert (message.mime, message.delivered_at) == (MAIL, time)


def test_message_cut_from_an_mbox_reads_like_the_mbox(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    message = read(path, FROM + MAIL + b">From here on\r\n\r\n")
    (entry,) = read_mbox(SourceFile(path, "a.eml", "mbox", ""))
    assert isinstance(message, RawMessage)
    assert isinstance(entry.message, RawMessage)
    assert message.mime == entry.message.mime == MAIL + b"From here on\r\n"


def test_quoted_from_without_a_from_line_is_the_authors(tmp_path: Path) -> None:
    message = read(tmp_path / "a.eml", MAIL + b">From here on\r\n")
    assert isinstance(message, RawMessage)
    assert message.mime.endswith(b"\n>From here on\r\n")


def test_empty_and_vanished_files_are_reported(tmp_path: Path) -> None:
    assert read(tmp_path / "a.eml", b"") == Unreadable(str(tmp_path / "a.eml"), "the file is empty")
    gone = SourceFile(tmp_path / "b.eml", "b.eml", "eml", "")
    assert read_eml_file(gone) == Unreadable(str(tmp_path / "b.eml"), "No such file or directory")


def test_file_over_the_limit_is_reported_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    with path.open("wb") as stream:
        stream.truncate(MESSAGE_LIMIT + 1)
    message = read_eml_file(SourceFile(path, "a.eml", "eml", ""))
    assert isinstance(message, Unreadable)
    assert "268 MB" in message.detail


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_small_file_takes_little_memory(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """With 256 MB set aside for each, a process that is limited to 500 MB read none; 8 MB are what xz itself takes."""
    path = tmp_path / "a.eml"
    path.write_bytes(pack(b"Subject: small\n\nHello.\n"))
    tracemalloc.start()
    try:
        read_message_bytes(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < (10_000_000 if pack is lzma.compress else 1_000_000)
