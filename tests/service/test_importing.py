from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.kit.mail import mail, maildir, many, mbox
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.errors import UsageError
from vaultembed.failpoints import action_at
from vaultembed.importing.paths import ImportCounts
from vaultembed.service.importing import import_mail
from vaultembed.service.showing import raw_message, show_message


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def counts(archive: Path, *paths: Path) -> ImportCounts:
    return import_mail(archive, paths).data.counts


def rows(archive: Path, sql: str) -> list[tuple[object, ...]]:
    with open_archive_readonly(archive) as opened:
        return opened.rows(sql)


def test_a_second_import_adds_nothing_and_opens_no_file(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "mail" / "box", many(5))
    folder = maildir(tmp_path / "mail" / "Work", {"1.a:2,S": mail("in a maildir", "x"), "2.a:2,": mail("another", "y")})
    (tmp_path / "mail" / "one.eml").write_bytes(mail("alone", "z"))
    assert counts(archive, tmp_path / "mail") == ImportCounts(added=8)
    for path in (box, folder / "cur" / "1.a:2,S", tmp_path / "mail" / "one.eml"):
        before = path.stat()
        head = path.read_bytes()[:100]  # by which files of any name are recognised
        path.write_bytes(head.ljust(before.st_size, b"?"))  # would be noticed, were it read
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(archive, tmp_path / "mail") == ImportCounts(unchanged=8)


def test_one_message_in_several_places_is_one_message(tmp_path: Path, archive: Path) -> None:
    message = mail("the same", "text\n\nFrom here on it is quoted in an mbox\n", message_id="same@example.org")
    as_quoted = message.replace(b"\nFrom here", b"\n>From here")
    elsewhere = b"Received: from there\nX-Mozilla-Status: 0001\n" + message.replace(b"\n", b"\r\n")
    box = mbox(tmp_path / "box", [as_quoted, as_quoted])
    folder = maildir(tmp_path / "Work", {"1.a:2,S": message})
    (tmp_path / "one.eml").write_bytes(elsewhere)
    assert counts(archive, box, folder, tmp_path / "one.eml") == ImportCounts(added=1, duplicate=3)
    assert len(show_message(archive, 1).data.places) == 3


def test_messages_that_only_share_a_message_id_are_two(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", [mail("one", "a", message_id="x@y"), mail("two", "b", message_id="x@y")])
    assert counts(archive, box) == ImportCounts(added=2)


def test_an_mbox_that_grew_is_read_from_where_it_ended(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", many(5))
    counts(archive, box)
    with box.open("ab") as file:
        file.write(b"From a@b Mon Feb  3 10:00:00 2003\n" + many(1, start=5)[0] + b"\n")
    assert counts(archive, box) == ImportCounts(added=1, unchanged=5)


def test_what_left_an_mbox_stays_in_the_archive_and_is_marked_gone(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", many(5))
    counts(archive, box)
    mbox(box, many(6)[1:])
    assert counts(archive, box) == ImportCounts(added=1, unchanged=4, gone=1)
    assert show_message(archive, 1).data.places[0].gone
    mbox(box, many(6))
    assert counts(archive, box) == ImportCounts(unchanged=6)
    assert not show_message(archive, 1).data.places[0].gone


def test_a_maildir_message_may_be_read_flagged_moved_and_removed(tmp_path: Path, archive: Path) -> None:
    folder = maildir(tmp_path / "Work", {"1.a": mail("hello", "x")}, "new")
    counts(archive, folder)
    (folder / "new" / "1.a").rename(folder / "cur" / "1.a:2,FS")
    assert counts(archive, folder) == ImportCounts(unchanged=1)
    place = show_message(archive, 1).data.places[0]
    assert place.flags == ("flagged", "seen")
    assert place.locator.endswith("cur/1.a:2,FS")
    (folder / "cur" / "1.a:2,FS").unlink()
    assert counts(archive, folder) == ImportCounts(gone=1)
    assert show_message(archive, 1).data.places[0].gone


def test_an_edited_file_updates_its_message_and_makes_it_work(tmp_path: Path, archive: Path) -> None:
    path = tmp_path / "draft.eml"
    path.write_bytes(mail("draft", "first words", message_id="d@example.org"))
    counts(archive, path)
    before = rows(archive, "SELECT content_rev FROM messages")[0][0]
    path.write_bytes(mail("draft", "other words", message_id="d@example.org"))
    assert counts(archive, path) == ImportCounts(updated=1)
    (found,) = rows(archive, "SELECT id, content_rev FROM messages")
    assert found[0] == 1
    assert found[1] > before  # type: ignore[operator]
    assert "other words" in show_message(archive, 1).data.body_text


def test_an_edited_file_leaves_alone_what_also_stands_elsewhere(tmp_path: Path, archive: Path) -> None:
    message = mail("draft", "first words", message_id="d@example.org")
    path = tmp_path / "draft.eml"
    path.write_bytes(message)
    box = mbox(tmp_path / "box", [message])
    counts(archive, path, box)
    path.write_bytes(mail("draft", "other words", message_id="d@example.org"))
    assert counts(archive, path) == ImportCounts(added=1, gone=1)
    assert sorted(str(row[0]) for row in rows(archive, "SELECT snippet FROM messages")) == [
        "first words",
        "other words",
    ]


def test_a_reimport_with_other_flags_and_folders_is_no_work(tmp_path: Path, archive: Path) -> None:
    folder = maildir(tmp_path / "Work", {"1.a:2,": mail("hello", "x")})
    counts(archive, folder)
    before = rows(archive, "SELECT content_rev, embed_gen FROM messages")
    (folder / "cur" / "1.a:2,").rename(folder / "cur" / "1.a:2,FRS")
    box = mbox(tmp_path / "other", [mail("hello", "x", headers=["X-Gmail-Labels: Travel"])])
    counts(archive, folder, box)
    assert rows(archive, "SELECT content_rev, embed_gen FROM messages") == before


def test_broken_messages_are_listed_and_stop_nothing(tmp_path: Path, archive: Path) -> None:
    box = mbox(
        tmp_path / "box",
        [
            mail("good", "one"),
            mail("bad charset", "caf\\xe9", headers=['Content-Type: text/plain; charset="klingon"']),
            mail("good too", "two"),
        ],
    )
    found = counts(archive, box)
    assert found.added == 3
    assert (found.problems, found.guessed) == (0, 1)
    (problem,) = rows(archive, "SELECT message_id, kind FROM problems")
    assert problem[0] == 2
    assert counts(archive, box).guessed == 0


def test_a_file_that_cannot_be_read_is_a_problem_and_its_messages_are_not_gone(tmp_path: Path, archive: Path) -> None:
    folder = maildir(tmp_path / "Work", {"1.a:2,": mail("one", "x"), "2.a:2,": mail("two", "y")})
    counts(archive, folder)
    (folder / "cur" / "1.a:2,").unlink()
    (folder / "cur" / "1.a:2,").symlink_to(tmp_path / "nowhere")
    found = counts(archive, folder)
    assert (found.unchanged, found.gone) == (1, 0)


def test_where_no_path_exists_nothing_is_made(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        import_mail(archive, [tmp_path / "nowhere", tmp_path / "either"])
    assert not archive.exists()


def test_the_raw_message_comes_back_as_it_was_sent_unless_it_was_left_out(tmp_path: Path, archive: Path) -> None:
    message = mail("raw", "x")
    path = tmp_path / "one.eml"
    path.write_bytes(message)
    counts(archive, path)
    assert raw_message(archive, 1) == message
    import_mail(tmp_path / "b.db", [path], raw="none")
    assert rows(tmp_path / "b.db", "SELECT count(*) FROM message_raw") == [(0,)]


def test_an_interrupted_import_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", many(1000))
    written: list[int] = []
    paused = import_mail(
        archive,
        [box],
        on_progress=lambda at: written.append(at.messages),
        should_stop=lambda: bool(written),
    )
    assert paused.data.interrupted
    assert paused.exit_code == 130
    assert 0 < paused.data.counts.added < 1000
    assert counts(archive, box).added == 1000 - paused.data.counts.added
    counts(tmp_path / "whole.db", box)
    everything = "SELECT id, subject, snippet, content_hash, conversation_id FROM messages ORDER BY id"
    assert rows(archive, everything) == rows(tmp_path / "whole.db", everything)


def test_an_import_that_is_to_stop_reads_no_further_message(tmp_path: Path, archive: Path) -> None:
    """A batch of them may take a minute."""
    box = mbox(tmp_path / "box", many(30))
    folder = maildir(tmp_path / "Work", {f"{n}.a:2,": message for n, message in enumerate(many(30, start=30))})
    for path in (box, folder):
        asked = chain(repeat(False, 10), repeat(True))
        assert import_mail(archive, [path], should_stop=asked.__next__).data.counts.added < 15
    assert counts(archive, box).added + counts(archive, folder).added > 30
    assert rows(archive, "SELECT count(*) FROM messages") == [(60,)]


def test_a_deleted_message_stays_deleted_when_it_is_imported_again(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", many(2))
    counts(archive, box)
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 1")
    os.utime(box)
    counts(archive, box)
    assert rows(archive, "SELECT id FROM messages WHERE deleted_at IS NULL") == [(2,)]


def test_a_file_name_used_again_for_other_mail_leaves_the_earlier_message_alone(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "mh"
    folder.mkdir()
    for number, word in enumerate(("one", "two", "three"), 1):
        (folder / str(number)).write_bytes(mail(word, f"{word} text", message_id=f"{word}@example.org"))
    counts(archive, folder)
    (folder / "3").write_bytes(mail("four", "four text", message_id="four@example.org"))
    assert counts(archive, folder) == ImportCounts(added=1, unchanged=2, gone=1)
    assert rows(archive, "SELECT subject FROM messages ORDER BY id") == [("one",), ("two",), ("three",), ("four",)]
    (place,) = show_message(archive, 3).data.places
    assert place.gone


def test_a_message_replaced_and_found_elsewhere_in_one_batch_is_not_lost(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    message = mail("draft", "first words", message_id="d@example.org")
    (folder / "a.eml").write_bytes(message)
    counts(archive, folder)
    (folder / "a.eml").write_bytes(mail("draft", "other words", message_id="d@example.org"))
    mbox(folder / "box", [message])
    counts(archive, folder)
    assert sorted(str(row[0]) for row in rows(archive, "SELECT snippet FROM messages")) == [
        "first words",
        "other words",
    ]


def test_notes_without_a_header_are_different_messages(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    texts = {
        "a": "All about cats.\nAnd more.\n",
        "b": "All about dogs.\nAnd more.\n",
        "c": "One\n\nsame",
        "d": "Two\n\nsame",
    }
    for name, text in texts.items():
        (folder / f"{name}.eml").write_text(text)
    assert counts(archive, folder).added == 4


@contextmanager
def bad_sector() -> Iterator[None]:
    """Inside, of an mbox the beginning alone can be read."""
    reads = itertools.count()

    def fail() -> None:
        if next(reads):
            raise OSError(5, "Input/output error")

    with action_at("mbox.read", fail):
        yield


def test_what_lies_behind_a_read_error_is_read_when_the_disk_is_well_again(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", [mail(f"n{n}", "text " * 200, message_id=str(n)) for n in range(2000)])
    with bad_sector():
        first = counts(archive, box)
    assert first.unread == 1
    assert 0 < first.added < 2000
    assert counts(archive, box).added == 2000 - first.added


def test_what_lies_behind_a_read_error_is_not_taken_for_gone(tmp_path: Path, archive: Path) -> None:
    messages = [mail(f"n{n}", "text " * 200, message_id=str(n)) for n in range(2000)]
    box = mbox(tmp_path / "box", messages)
    counts(archive, box)
    mbox(box, messages[1:])
    with bad_sector():
        assert counts(archive, box).gone == 0
    assert counts(archive, box).gone == 1


def test_an_interrupted_import_of_a_rewritten_mbox_still_finds_what_is_gone(tmp_path: Path, archive: Path) -> None:
    box = mbox(tmp_path / "box", many(1000))
    counts(archive, box)
    mbox(box, many(1000)[5:])
    paused = import_mail(archive, [box], should_stop=lambda: True)
    assert paused.data.interrupted
    assert counts(archive, box) == ImportCounts(unchanged=995, gone=5)
    assert counts(archive, box) == ImportCounts(unchanged=995)


def test_an_import_does_not_take_for_gone_what_another_adds_meanwhile(tmp_path: Path, archive: Path) -> None:
    folder = maildir(tmp_path / "Work", {f"{n}.a:2,": message for n, message in enumerate(many(450))})
    added = folder / "cur" / "999.a:2,"

    def deliver(_: object) -> None:
        if not added.exists():
            added.write_bytes(mail("just delivered", "x"))
            import_mail(archive, [folder])

    import_mail(archive, [folder], on_progress=deliver)
    assert rows(archive, "SELECT count(*) FROM message_sources WHERE gone_at IS NOT NULL") == [(0,)]


def test_a_problem_is_forgotten_when_its_file_can_be_read(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "good.eml").write_bytes(mail("good", "x"))
    path = tmp_path / "late.eml"
    path.touch()
    assert counts(archive, tmp_path).unread == 1
    path.write_bytes(mail("late", "y"))
    assert counts(archive, tmp_path).added == 1
    assert rows(archive, "SELECT * FROM problems") == []


@pytest.mark.parametrize("other", ["nowhere", "notes", "outlook.pst"])
def test_a_path_that_gives_no_mail_is_named_and_the_others_go_through(
    tmp_path: Path, archive: Path, other: str
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "outlook.pst").write_bytes(b"!BDN" + bytes(100))
    box = mbox(tmp_path / "box", many(2))
    for added in (2, 0):  # each time: it was asked for by name
        result = import_mail(archive, [tmp_path / other, box])
        assert result.exit_code == 3
        assert result.data.counts.added == added
        assert any("Not imported" in note and other in note for note in result.notes)
    if other != "nowhere":
        assert import_mail(archive, [tmp_path / other]).exit_code == 1


def test_a_message_bears_the_labels_of_all_its_copies(tmp_path: Path, archive: Path) -> None:
    message = mail("hello", "x")
    first = mbox(tmp_path / "inbox", [message.replace(b"\n\n", b"\nX-Gmail-Labels: Travel\n\n", 1)])
    second = mbox(
        tmp_path / "takeout",
        [message.replace(b"\n\n", b'\nX-Gmail-Labels: "Paris, 2003",=?utf-8?q?Caf=C3=A9?=\n\n', 1)],
    )
    counts(archive, first, second)
    assert show_message(archive, 1).data.labels == ("Café", "Paris, 2003", "Travel")
