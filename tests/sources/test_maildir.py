"""Maildir: flags and keys from file names, and files renamed under the reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from vaultembed.message import Flag, RawMessage
from vaultembed.sources import SourceFile, Unreadable, discover
from vaultembed.sources.maildir import read_maildir_file

MAIL = b"From: joe@example.org\nSubject: hi\n\nhello\n"


def put(path: Path, data: bytes = MAIL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read(path: Path, relative: str) -> RawMessage | Unreadable:
    return read_maildir_file(SourceFile(path, relative, "maildir", ""))


def read_message(path: Path, relative: str) -> RawMessage:
    message = read(path, relative)
    assert isinstance(message, RawMessage)
    return message


@pytest.mark.parametrize(
    ("ending", "flags"),
    [
        (":2,FS", {"flagged", "seen"}),
        ("!2,PS", {"passed", "seen"}),
        (";2,RT", {"answered", "trashed"}),
        (":2,D", {"draft"}),
        ("-2,RS", {"answered", "seen"}),
        ("\uf03a2,RS", {"answered", "seen"}),
        (":2,", set()),
        (":1,anything", set()),
        (":2,Sabc", {"seen"}),
        ("", set()),
    ],
)
def test_flags_come_from_the_end_of_the_name_and_are_no_part_of_the_key(
    tmp_path: Path, ending: str, flags: set[Flag]
) -> None:
    name = "1220863087.12663_15.host,S=42"
    message = read_message(put(tmp_path / "cur" / (name + ending)), f"cur/{name}{ending}")
    assert message.flags == flags
    assert message.source_key == f"cur/{name}"
    assert message.delivered_at == 1220863087


def test_key_stays_when_a_message_is_seen_for_the_first_time(tmp_path: Path) -> None:
    unseen = read_message(put(tmp_path / "new/1.host"), "Work/new/1.host")
    seen = read_message(put(tmp_path / "cur/1.host:2,S"), "Work/cur/1.host:2,S")
    assert unseen.source_key == seen.source_key == "Work/cur/1.host"


@pytest.mark.parametrize("name", ["mail5", "12663_9.host", "0000000001.x", "9999999999.x"])
def test_name_without_plausible_time_gives_none(tmp_path: Path, name: str) -> None:
    assert read_message(put(tmp_path / "cur" / name), f"cur/{name}").delivered_at is None


@pytest.mark.parametrize("now", ["cur/1.host:2,S", "cur/1.host:2,RS", "cur/1.host", "new/1.host"])
def test_file_renamed_since_it_was_listed_is_found_again(tmp_path: Path, now: str) -> None:
    put(tmp_path / "cur/1.host2:2,S", b"Subject: another\n\n")
    (tmp_path / "new").mkdir()
    put(tmp_path / now)
    message = read_message(tmp_path / "new/1.host:2,", "new/1.host:2,")
    assert message.mime == MAIL
    assert message.locator == str(tmp_path / now)
    assert message.source_key == "cur/1.host"
    assert ("seen" in message.flags) == ("S" in now)


def test_file_gone_for_good_is_reported(tmp_path: Path) -> None:
    put(tmp_path / "cur/2.host")
    assert read(tmp_path / "cur/1.host", "cur/1.host") == Unreadable(
        str(tmp_path / "cur/1.host"), "No such file or directory"
    )


def test_empty_file_is_reported(tmp_path: Path) -> None:
    assert isinstance(read(put(tmp_path / "cur/1.host", b""), "cur/1.host"), Unreadable)


def test_undecodable_name_gives_a_key_and_locator_that_are_valid_text(tmp_path: Path) -> None:
    directory = tmp_path / "cur"
    directory.mkdir()
    (tmp_path / "new").mkdir()
    for name in (b"1.h\xf6st:2,S", rb"1.h\xf6st:2,S"):
        with open(bytes(directory) + b"/" + name, "wb") as stream:
            stream.write(MAIL)
    keys = set()
    for file in discover(tmp_path):
        assert isinstance(file, SourceFile)
        message = read_maildir_file(file)
        assert isinstance(message, RawMessage)
        keys.add(message.source_key)
        assert (message.locator + message.source_key).encode("utf-8")
    assert keys == {r"cur/1.h\xf6st", r"cur/1.h\x5cxf6st"}
