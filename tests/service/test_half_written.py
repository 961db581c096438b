"""Mail that is imported while it is still being written: the next import has it whole, and once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import run
from tests.kit.mail import mail, maildir, mbox
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.importing.paths import ImportCounts
from vaultembed.service.importing import Raw, import_mail

MESSAGES = [
    mail(f"letter {n}", "The first paragraph.\n\nFrom here on it is the second.\n\nThe end.\n", message_id=f"{n}@x")
    for n in range(3)
]
QUOTED = [message.replace(b"\nFrom here", b"\n>From here") for message in MESSAGES]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def counts(archive: Path, path: Path, raw: Raw = "keep") -> ImportCounts:
    return import_mail(archive, [path], raw=raw).data.counts


def live(archive: Path) -> set[tuple[object, ...]]:
    """What is to be found, by content; and of each, whether it stands somewhere."""
    with open_archive_readonly(archive) as opened:
        found = opened.rows(
            "SELECT m.content_hash, m.subject, b.body_text, EXISTS (SELECT 1 FROM message_sources x"
            " WHERE x.message_id = m.id AND x.gone_at IS NULL) FROM messages m JOIN message_bodies b"
            " ON b.message_id = m.id WHERE m.deleted_at IS NULL"
        )
    assert len(found) == len(set(found))
    return set(found)


def of_whole(tmp_path: Path) -> set[tuple[object, ...]]:
    fresh = tmp_path / "fresh.db"
    counts(fresh, mbox(tmp_path / "whole" / "box", QUOTED))
    return live(fresh)


@pytest.mark.parametrize("raw", ["keep", "none"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_mbox_read_again_and_again_while_it_is_written_ends_as_the_whole_one(
    tmp_path: Path, archive: Path, raw: Raw, line_end: bytes
) -> None:
    whole = mbox(tmp_path / "whole.mbox", QUOTED).read_bytes().replace(b"\n", line_end)
    box = tmp_path / "box"
    for size in (*range(17, len(whole), 23), len(whole)):
        box.write_bytes(whole[:size])
        counts(archive, box, raw)
    fresh = tmp_path / "fresh.db"
    counts(fresh, box)
    assert live(archive) == live(fresh)
    with open_archive(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 3  # none was made anew either
    assert counts(archive, box, raw) == ImportCounts(unchanged=3)


def test_the_whole_message_takes_the_place_of_its_beginning_and_is_counted_as_updated(
    tmp_path: Path, archive: Path
) -> None:
    box = mbox(tmp_path / "box", QUOTED)
    whole = box.read_bytes()
    box.write_bytes(whole[:-40])
    assert counts(archive, box) == ImportCounts(added=3)
    box.write_bytes(whole + mbox(tmp_path / "more", [mail("another", "x")]).read_bytes())
    assert counts(archive, box) == ImportCounts(unchanged=2, updated=1, added=1)


def one_file(tmp_path: Path) -> Path:
    return tmp_path / "mail" / "one.eml"


def in_a_maildir(tmp_path: Path) -> Path:
    return maildir(tmp_path / "mail", {}) / "cur" / "1.host:2,S"


@pytest.mark.parametrize("place", [one_file, in_a_maildir])
def test_a_file_of_one_message_read_while_it_is_written_ends_as_the_whole_one(
    tmp_path: Path, archive: Path, place: Callable[[Path], Path]
) -> None:
    path = place(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for size in (*range(0, len(MESSAGES[0]), 23), len(MESSAGES[0])):
        path.write_bytes(MESSAGES[0][:size])
        counts(archive, path.parent)
    assert {row for row in of_whole(tmp_path) if row[1] == "letter 0"} == live(archive)


def test_what_stands_in_tmp_of_a_maildir_is_still_being_delivered(tmp_path: Path, archive: Path) -> None:
    folder = maildir(tmp_path / "mail", {"1.host": MESSAGES[0][:90]}, "tmp")
    assert counts(archive, folder) == ImportCounts()
    (folder / "tmp" / "1.host").write_bytes(MESSAGES[0])
    (folder / "tmp" / "1.host").rename(folder / "new" / "1.host")
    assert counts(archive, folder) == ImportCounts(added=1)


def test_a_whole_copy_from_elsewhere_leaves_the_beginning_out_of_sight(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", QUOTED)
    whole = box.read_bytes()
    box.write_bytes(whole[:-40])
    counts(archive, box)
    counts(archive, maildir(tmp_path / "Work", {"1.host:2,S": MESSAGES[2]}))
    box.write_bytes(whole)
    assert counts(archive, box) == ImportCounts(unchanged=2, duplicate=1)
    assert live(archive) == of_whole(tmp_path)


def test_a_beginning_that_also_stands_elsewhere_stays(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", QUOTED)
    whole = box.read_bytes()
    box.write_bytes(whole[:-40])
    counts(archive, box)
    backup = tmp_path / "backup"
    backup.write_bytes(box.read_bytes())
    counts(archive, backup)
    box.write_bytes(whole)
    counts(archive, box)
    assert live(archive) > of_whole(tmp_path)
    backup.write_bytes(whole)
    counts(archive, backup)
    assert live(archive) == of_whole(tmp_path)


def compacted(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[whole.index(b"\nFrom ada") + 1 :])


def renamed(path: Path, whole: bytes) -> None:
    path.unlink()
    path.with_suffix("").write_bytes(whole)


def replaced(path: Path, whole: bytes) -> None:
    other = path.with_name(".new")
    other.write_bytes(b"\n" + whole)
    other.rename(path)


@pytest.mark.parametrize("change", [compacted, renamed, replaced])
def test_a_beginning_goes_where_its_mailbox_is_whole_elsewhere_or_otherwise(
    tmp_path: Path, archive: Path, change: Callable[[Path, bytes], None]
) -> None:
    box = mbox(tmp_path / "mail" / "list.mbox.part", QUOTED)
    whole = box.read_bytes()
    box.write_bytes(whole[:-40])
    counts(archive, tmp_path / "mail")
    change(box, whole)
    counts(archive, tmp_path / "mail")
    # of what was compacted away a copy is kept, which stands nowhere now
    assert {row[:3] for row in live(archive)} == {row[:3] for row in of_whole(tmp_path)}


def test_a_mailbox_that_is_fetched_again_from_its_beginning(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", QUOTED)
    whole = box.read_bytes()
    counts(archive, box)
    for size in (0, 60, len(whole) // 2, len(whole) - 50, len(whole)):
        box.write_bytes(whole[:size])
        counts(archive, box)
    assert live(archive) == of_whole(tmp_path)


def test_a_mailbox_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", QUOTED[:1])
    first = box.stat()

    def compact(_: object) -> None:
        if box.stat().st_ino == first.st_ino:
            mbox(tmp_path / "new", [QUOTED[1].ljust(len(QUOTED[0]), b"\n"), QUOTED[2]]).rename(box)
            os.utime(box, ns=(first.st_atime_ns, first.st_mtime_ns + 1))

    import_mail(archive, [box], on_progress=compact)
    counts(archive, box)
    assert {row[1] for row in live(archive)} == {"letter 0", "letter 1", "letter 2"}


def test_its_vectors_are_those_of_the_whole_message(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", QUOTED)
    whole = box.read_bytes()
    for size in (len(whole) - 40, len(whole)):
        box.write_bytes(whole[:size])
        counts(archive, box)
        with open_archive(archive) as opened:
            run(opened)
        check_invariants(archive)
    with open_archive_readonly(archive) as opened:
        stale = "SELECT count(*) FROM messages m JOIN embed_outcomes o ON o.message_id = m.id"
        assert opened.rows(f"{stale} WHERE o.content_rev = m.content_rev") == [(3,)]
        assert opened.scalar("SELECT text FROM message_texts WHERE message_id = 3").endswith("The end.")
