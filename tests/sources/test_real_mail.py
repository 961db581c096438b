"""Counts and bytes on real mailboxes, where the folder `shared` stands beside the checkout."""

from __future__ import annotations

import mailbox
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from vaultembed.message import RawMessage
from vaultembed.sources import NotMail, SourceFile, discover, read_mbox, read_one

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real mail: the folder `shared` is not there"),
]


def messages_of(path: Path) -> list[RawMessage]:
    found = []
    for file in discover(path):
        if isinstance(file, SourceFile):
            messages = [e.message for e in read_mbox(file)] if file.kind == "mbox" else [read_one(file)]
            for message in messages:
                assert isinstance(message, RawMessage), message
                found.append(message)
    return found


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # One fewer than lines that begin with "From ": a body has such a line, and no Message-ID below it.
        ("mbox/cypherpunks", 976),
        ("mbox/r-announce", 699),
        ("mbox/r-sig-geo", 29_586),
        ("eml/spamassassin", 6_046),
        ("eml/ruby-mail", 104),
        ("maildir/notmuch", 320),
        ("maildir/mu", 51),
    ],
)
def test_every_message_is_found_and_none_twice(name: str, count: int) -> None:
    messages = messages_of(DATA / name)
    assert len(messages) == count
    assert len({message.locator for message in messages}) == count
    if name.startswith("mbox/"):  # a piece of a body would have neither
        for message in messages:
            header = message.mime.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
            assert re.search(rb"(?im)^message-id:", header), message.locator
            assert message.delivered_at is not None, message.locator


def test_messages_agree_with_the_standard_library_where_bodies_hold_no_from_line(tmp_path: Path) -> None:
    for path in sorted((DATA / "mbox" / "r-announce").iterdir()):
        copy = Path(shutil.copy(path, tmp_path))  # the standard library opens for writing
        box = mailbox.mbox(copy, create=False)
        expected = [re.sub(rb"\n>(>*From )", rb"\n\1", box.get_bytes(key)) for key in box.iterkeys()]
        box.close()
        entries = read_mbox(SourceFile(path, path.name, "mbox", ""))
        assert expected == [entry.message.mime for entry in entries if isinstance(entry.message, RawMessage)]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_buffer_size_makes_no_difference(size: int) -> None:
    path = DATA / "mbox" / "r-announce" / "2004.txt"
    file = SourceFile(path, path.name, "mbox", "")
    assert list(read_mbox(file, buffer_size=size)) == list(read_mbox(file))


def test_flags_of_a_maildir_are_read_whatever_stands_before_them() -> None:
    flags = Counter(flag for message in messages_of(DATA / "maildir/mu") for flag in message.flags)
    assert flags == {"seen": 22, "flagged": 2, "passed": 1, "answered": 1}


def test_licence_readme_and_unfinished_deliveries_are_no_mail() -> None:
    passed_over = {item.path.name for item in discover(DATA / "maildir/mu") if isinstance(item, NotMail)}
    assert "COPYING" in passed_over
    assert not any("testdir/tmp" in message.locator for message in messages_of(DATA / "maildir/mu"))
