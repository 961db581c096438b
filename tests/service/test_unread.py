"""Mail that is not read: named once with why and the way out, told by the exit code, and forgotten when it is well."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.kit.mail import mail, maildir, many, mbox
from vaultembed.archive.database import open_archive
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.result import Result
from vaultembed.service.showing import show_problems
from vaultembed.service.statistics import archive_statistics

PST = b"!BDN" + bytes(100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mbox(tmp_path / "mail" / "box", many(2))
    return tmp_path / "mail"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def again(archive: Path, folder: Path) -> Result[Imported]:
    return import_mail(archive, [folder])


def test_it_is_told_when_it_is_new_and_counted_from_then_on(folder: Path, archive: Path) -> None:
    assert again(archive, folder).exit_code == 0
    for name in ("1", "2"):
        (folder / f"{name}.pst").write_bytes(PST)
    first = again(archive, folder)
    assert (first.exit_code, first.data.counts.unread, len(first.data.unread)) == (3, 2, 1)
    (note,) = (note for note in first.notes if note.startswith("Not read"))
    assert note == f"Not read: 2, the first {folder}/1.pst: {first.data.unread[0].why}"
    second = again(archive, folder)
    assert (second.exit_code, second.data.counts.unread, second.data.unread) == (0, 2, ())
    assert "2 could not be read: vaultembed problems" in second.notes
    (folder / "3.pst").write_bytes(PST)
    third = again(archive, folder)
    assert (third.exit_code, third.data.unread[0].first) == (3, f"{folder}/3.pst")


def test_what_an_interrupted_import_met_is_told_by_the_next(folder: Path, archive: Path) -> None:
    (folder / "1.pst").write_bytes(PST)
    assert import_mail(archive, [folder], should_stop=lambda: True).exit_code == 130
    assert again(archive, folder).exit_code == 3


def test_what_another_import_told_is_told_where_it_is_new(folder: Path, tmp_path: Path, archive: Path) -> None:
    for name in ("one", "two"):
        mbox(tmp_path / name / "box", many(1))
        (tmp_path / name / "a.pst").write_bytes(PST)
    assert again(archive, tmp_path / "one").exit_code == 3
    assert again(archive, tmp_path / "two").exit_code == 3
    assert again(archive, tmp_path / "one").exit_code == 0


@pytest.mark.parametrize("way", ["removed", "unpacked", "read"])
def test_it_is_forgotten_when_it_is_there_no_more_or_can_be_read(folder: Path, archive: Path, way: str) -> None:
    path = folder / "letter.eml"
    path.write_bytes(gzip.compress(mail("a letter", "x"))[:-8])
    assert again(archive, folder).exit_code == 3
    if way == "removed":
        path.unlink()
    elif way == "unpacked":
        path.rename(folder / "letter.txt")
        (folder / "letter.txt").write_bytes(mail("a letter", "x"))
    else:
        path.write_bytes(mail("a letter", "x"))
    done = again(archive, folder)
    assert (done.exit_code, done.data.counts.unread, done.data.counts.added) == (0, 0, way != "removed")
    assert show_problems(archive).data.problems == ()


def test_it_is_told_anew_where_the_reason_is_another(folder: Path, archive: Path) -> None:
    path = folder / "letter.eml"
    path.touch()
    assert again(archive, folder).exit_code == 3
    path.write_bytes(gzip.compress(b"x" * 50)[:-8])
    assert again(archive, folder).exit_code == 3
    (problem,) = show_problems(archive).data.problems
    assert "cut short" in problem.detail


def test_what_was_no_mail_in_an_mbox_is_forgotten_with_it(folder: Path, archive: Path) -> None:
    box = folder / "odd.mbox"
    whole = mbox(box, many(1, start=9)).read_bytes()
    box.write_bytes(b"no mail at all\n\n" + whole)
    assert again(archive, folder).exit_code == 3
    mbox(folder / "box", many(3))
    assert (again(archive, folder).exit_code, len(show_problems(archive).data.problems)) == (0, 1)
    box.write_bytes(whole)
    assert (again(archive, folder).exit_code, len(show_problems(archive).data.problems)) == (0, 0)
    box.write_bytes(b"no mail at all\n\n" + whole)
    assert again(archive, folder).exit_code == 3
    box.unlink()
    assert (again(archive, folder).exit_code, len(show_problems(archive).data.problems)) == (0, 0)


@pytest.mark.parametrize("name", ["Work/cur/500.a:2,", "z.eml", "zbox"])
def test_what_is_deleted_while_it_is_imported_is_gone_and_nothing_else(folder: Path, archive: Path, name: str) -> None:
    maildir(folder / "Work", {f"{n:03}.a:2,": message for n, message in enumerate(many(3))})
    path = folder / name
    if name == "zbox":
        mbox(path, many(1, start=999))
    else:
        path.write_bytes(mail("deleted meanwhile", "x"))

    def delete() -> bool:  # behind the first message: all are listed by then
        path.unlink(missing_ok=True)
        return False

    done = import_mail(archive, [folder], should_stop=delete)
    assert (done.exit_code, done.data.counts.unread, done.data.counts.added) == (0, 0, 3)


def test_what_is_gone_is_noticed_beside_what_cannot_be_read(folder: Path, archive: Path) -> None:
    work = maildir(folder / "Work", {"1.a:2,": mail("one", "x")})
    (folder / "1.pst").write_bytes(PST)
    again(archive, folder)
    (work / "cur" / "1.a:2,").unlink()
    assert again(archive, folder).data.counts.gone == 1


def test_problems_are_weighed_and_each_message_counts_once(tmp_path: Path, archive: Path) -> None:
    odd = ["Content-Type: text/plain; charset=klingon", "Content-Transfer-Encoding: morse"]
    folder = tmp_path / "mail"
    mbox(
        folder / "box",
        [
            mail("Grüße", "in UTF-8, as headers may be", message_id="1@x"),
            mail("guessed twice", "café", headers=odd[:1], date="tomorrow", message_id="2@x"),
            mail("incomplete and guessed", "café", headers=odd, message_id="3@x"),
            mail("sound", "x", message_id="4@x"),
        ],
    )
    (folder / "1.pst").write_bytes(PST)
    done = again(archive, folder)
    counts = done.data.counts
    assert (counts.added, counts.unread, counts.problems, counts.guessed) == (4, 1, 1, 1)
    view = show_problems(archive).data
    assert view.weights == {"unread": 1, "incomplete": 1, "guessed": 1}
    assert [(each.kind, each.weight, each.number) for each in view.kinds] == [
        ("unreadable-file", "unread", 1),
        ("unknown-encoding", "incomplete", 1),
        ("unknown-charset", "guessed", 2),
        ("bad-date", "guessed", 1),
    ]
    assert [problem.kind for problem in view.problems] == ["unreadable-file", "unknown-encoding"]
    assert len(show_problems(archive, kind="unknown-charset").data.problems) == 2
    totals = archive_statistics(archive).data.totals
    assert totals is not None
    assert (totals.problems, totals.guessed) == (2, 1)


def test_two_copies_in_one_import_are_one_message_with_a_problem(tmp_path: Path, archive: Path) -> None:
    odd = mail("odd", "café", headers=["Content-Type: text/plain; charset=klingon"])
    assert again(archive, mbox(tmp_path / "box", [odd, odd])).data.counts.guessed == 1


def test_an_import_that_is_killed_before_its_end_has_told_nothing(folder: Path, archive: Path) -> None:
    (folder / "1.pst").write_bytes(PST)
    again(archive, folder)
    with open_archive(archive) as opened:  # as a kill leaves it
        opened.execute("UPDATE problems SET told_at = NULL")
    assert again(archive, folder).exit_code == 3
