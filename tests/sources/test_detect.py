"""Finding mail below a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaultembed.errors import UsageError
from vaultembed.sources import NotMail, SourceFile, Unreadable, discover

MAIL = b"From: joe@example.org\nDate: Mon, 13 Feb 2012 12:00:05 +0000\nSubject: hi\n\nhello\n"
MBOX = b"From joe@example.org Mon Feb 13 12:00:05 2012\n" + MAIL


def put(path: Path, data: bytes = MAIL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found_in(path: Path) -> list[tuple[str, str, str]]:
    return [(f.relative_path, f.kind, f.folder) for f in discover(path) if isinstance(f, SourceFile)]


def test_maildir_with_subfolders_of_both_kinds(tmp_path: Path) -> None:
    for name in ("cur/2.h:2,S", "new/1.h", "tmp/3.h", ".Sent.2012/cur/4.h", ".Sent.2012/new/5.h", "Work/cur/6.h:2,"):
        put(tmp_path / name)
    put(tmp_path / "dovecot-uidlist", b"3 V1 N2\n")
    put(tmp_path / "cur/.hidden")
    assert found_in(tmp_path) == [
        ("cur/2.h:2,S", "maildir", ""),
        ("new/1.h", "maildir", ""),
        (".Sent.2012/cur/4.h", "maildir", "Sent/2012"),
        (".Sent.2012/new/5.h", "maildir", "Sent/2012"),
        ("Work/cur/6.h:2,", "maildir", "Work"),
    ]


def test_files_of_a_whole_maildir_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    put(tmp_path / "cur/1.host.py", b"no mail at all")
    assert found_in(tmp_path) == [("cur/1.host.py", "maildir", "")]


def test_directory_that_is_merely_called_cur_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "cur/left_ptr", b"Xcur\0\0\0")
    put(tmp_path / "cur/mail")
    assert found_in(tmp_path) == [("cur/mail", "maildir", "")]


def test_thunderbird_and_apple_folders_are_named_as_their_user_knows_them(tmp_path: Path) -> None:
    put(tmp_path / "Local/Inbox", MBOX)
    put(tmp_path / "Local/Inbox.msf", b"// <!-- <mdb:mork:z")
    put(tmp_path / "Local/Inbox.sbd/Trips", MBOX)
    put(tmp_path / "Work.mbox/mbox", MBOX)
    put(tmp_path / "Work.mbox/table_of_contents", b"\0\0\0\1")
    put(tmp_path / "All mail.mbox", MBOX)
    put(tmp_path / "list/2012-March.txt", MBOX.replace(b"@", b" at ", 1))
    assert found_in(tmp_path) == [
        ("All mail.mbox", "mbox", "All mail"),
        ("Local/Inbox", "mbox", "Local/Inbox"),
        ("Local/Inbox.sbd/Trips", "mbox", "Local/Inbox/Trips"),
        ("Work.mbox/mbox", "mbox", "Work"),
        ("list/2012-March.txt", "mbox", "list"),
    ]


@pytest.mark.parametrize(
    ("path", "data", "folder"),
    [
        (".Lists.2012.R&AOk-sum&AOk-/cur/1", MAIL, "Lists/2012/Résumé"),
        (".[Gmail].All Mail/cur/1", MAIL, "[Gmail]/All Mail"),
        ("INBOX.Entw&APw-rfe/cur/1", MAIL, "INBOX/Entwürfe"),
        ("[Gmail].Messages envoy&AOk-s/cur/1", MAIL, "[Gmail]/Messages envoyés"),
        ("Mail/&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-/cur/1", MAIL, "Mail/Отправленные"),
        ("Reisen.sbd/&ANY-sterreich.sbd/Z&APw-rich", MBOX, "Reisen/Österreich/Zürich"),
        ("Entw&APw-rfe.mbox", MBOX, "Entwürfe"),
        ("inbox.Entw&APw-rfe.mbox", MBOX, "inbox/Entwürfe"),
        ("Entw&APw-rfe.mbox/mbox", MBOX, "Entwürfe"),
        ("&ZeVnLIqe-/17", MAIL, "日本語"),
        ("&2D3cjA-/17", MAIL, "\U0001f48c"),
        ("R&-D/17", MAIL, "R&D"),
        ("Entwu\u0308rfe/17", MAIL, "Entwürfe"),
        # none of IMAP's names
        ("R&D/17", MAIL, "R&D"),
        ("Q&A-2019/17", MAIL, "Q&A-2019"),
        ("Barnes&Noble-Orders/17", MAIL, "Barnes&Noble-Orders"),
        ("Tom & Jerry, Entw&APw-rfe/17", MAIL, "Tom & Jerry, Entw&APw-rfe"),
        ("Entwürfe &AOk-/17", MAIL, "Entwürfe &AOk-"),
        ("&AC8-etc/17", MAIL, "&AC8-etc"),
        ("&ACAAIA-/17", MAIL, "&ACAAIA-"),
        ("&2D0-/17", MAIL, "&2D0-"),
        ("&AAo-/17", MAIL, "&AAo-"),
        ("&AOl-/17", MAIL, "&AOl-"),
        ("&IC4-/17", MAIL, "&IC4-"),
        ("mr.smith/17", MAIL, "mr.smith"),
    ],
)
def test_folders_have_the_names_that_people_know(tmp_path: Path, path: str, data: bytes, folder: str) -> None:
    put(tmp_path / path, data)
    assert [found for _, _, found in found_in(tmp_path)] == [folder]


def test_single_files_are_told_by_name_or_content(tmp_path: Path) -> None:
    put(tmp_path / "a.eml", b"no header here")
    put(tmp_path / "b.msg", b"text only")
    put(tmp_path / "c")
    put(tmp_path / "d:2,S", b"flags tell")
    put(tmp_path / "e.MBOX", b"")
    assert found_in(tmp_path) == [
        ("a.eml", "eml", ""),
        ("b.msg", "eml", ""),
        ("c", "eml", ""),
        ("d:2,S", "maildir", ""),
        ("e.MBOX", "mbox", "e"),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (".DS_Store", MAIL),
        ("Inbox.msf", MAIL),
        ("LICENSE", b"Copyright: someone\n\nFrom the date of:\n"),
        ("METADATA", b"Metadata-Version: 2.1\nName: x\nKeywords: y\n\ntext\n"),
        ("card", b"BEGIN:VCARD\nVERSION:3.0\nN:Joe\nEND:VCARD\n"),
        ("reply", b"HTTP/1.1 200 OK\nDate: now\nContent-Type: text/plain\n\n"),
        ("notes.txt", b"From what I see:\nNote: this\n"),
        ("links.txt", b"From here\nhttp://example.org\n"),
        ("data", bytes(range(256))),
        ("empty", b""),
    ],
)
def test_what_is_not_mail_is_passed_over_and_counted(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path / name, data)
    put(tmp_path / "z.eml")
    assert [type(item) for item in discover(tmp_path)] == [NotMail, SourceFile]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)),
        ("a.pst", b"!BDN" + bytes(100)),
        ("INBOX", b"*mbx*\r\n" + bytes(100)),
        ("a.mbox.gz", b"\x1f\x8b" + bytes(100)),
    ],
)
def test_mail_in_a_form_that_cannot_be_read_is_reported(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path / name, data)
    (item,) = discover(tmp_path)
    assert isinstance(item, Unreadable)


def test_path_of_one_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    path = put(tmp_path / ".old.log", MBOX)
    assert list(discover(path)) == [SourceFile(path, ".old.log", "mbox", "")]


def test_order_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("b/2.eml", "b/1.eml", "a.eml", "c.eml", "B.eml"):
        put(tmp_path / name)
    assert [name for name, _, _ in found_in(tmp_path)] == ["B.eml", "a.eml", "b/1.eml", "b/2.eml", "c.eml"]


@pytest.mark.parametrize("target", [".", "..", "sub"])
def test_symlinks_in_a_circle_end(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    put(root / "sub/a.eml")
    (root / "sub/link").symlink_to(Path("..") / target)
    (root / "self").symlink_to("self")
    assert found_in(root) == [("sub/a.eml", "eml", "sub")]


def test_symlink_to_elsewhere_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "disk/a.eml")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "disk")
    assert found_in(tmp_path / "root") == [("link/a.eml", "eml", "link")]


def test_pipes_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    put(tmp_path / "a.eml")
    assert [type(item) for item in discover(tmp_path)] == [SourceFile]
    with pytest.raises(UsageError, match="neither a file nor a directory"):
        discover(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directory_that_may_not_be_listed_is_reported(tmp_path: Path) -> None:
    put(tmp_path / "closed/a.eml")
    put(tmp_path / "open/a.eml")
    (tmp_path / "closed").chmod(0)
    try:
        items = list(discover(tmp_path))
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert [type(item) for item in items] == [Unreadable, SourceFile]


def test_missing_path_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        discover(tmp_path / "nowhere")


def test_path_without_mail_is_refused_saying_what_was_looked_for(tmp_path: Path) -> None:
    put(tmp_path / "LICENSE", b"Permission is granted\n")
    for path in (tmp_path, tmp_path / "LICENSE"):
        with pytest.raises(UsageError, match=r"something else: 1[^§]*mbox files, Maildirs"):
            list(discover(path))


def test_empty_maildir_is_no_mistake(tmp_path: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (tmp_path / name).mkdir()
    assert list(discover(tmp_path)) == []
