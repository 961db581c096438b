"""Finding mail below a path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

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
        (".Work.directory/Trips", MBOX, "Work/Trips"),  # KMail
        (".Work.directory/.Trips.directory/2012/cur/1", MAIL, "Work/Trips/2012"),
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


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return packed.getvalue()


def tarred(mode: str = "w", **members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            facts = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            facts.size = len(data)
            archive.addfile(facts, io.BytesIO(data))
    return packed.getvalue()


CLOSED = [
    ("a.msg", OLE, "save it as .eml"),
    ("a.pst", b"!BDN" + bytes(100), "readpst"),
    ("backup", b"!BDN" + bytes(100), "readpst"),
    ("cut short.PST", bytes(100), "readpst"),
    ("a.olm", zipped(Accounts__me=b"x"), "Outlook for Mac"),
    ("Sent.dbx", b"\xcf\xad\x12\xfe" + bytes(100), "undbx"),
    ("Inbox.mbx", b"JMF6" + bytes(100), "undbx"),
    ("INBOX", b"*mbx*\r\n" + bytes(100), "mailutil"),
    ("RMAIL", b"BABYL OPTIONS: -*- rmail -*-\nVersion: 5\n\x1f", "unrmail"),
    ("inbox", b"\1\1\1\1\n" + MBOX + b"\1\1\1\1\n", "mutt"),
    ("m.1", b"2 M1e C54d4c3a5\n\1\2N          00000000000000c8\n" + MAIL, "doveadm"),
    ("1.emlx", b"96        \n" + MAIL + b'<?xml version="1.0"?>', "Apple Mail"),
    ("without suffix", b"96        \n" + MAIL, "Apple Mail"),
    ("a.mbox.gz", gzip.compress(MBOX, mtime=0), "unpack"),
    ("list.gz", gzip.compress(MBOX, mtime=0), "unpack"),
    ("2003.txt.bz2", bz2.compress(MBOX), "unpack"),
    ("letter.xz", lzma.compress(MAIL), "unpack"),
    ("outlook.pst.gz", gzip.compress(b"!BDN" + bytes(100)), "unpack"),
    ("cut short.mbox.gz", gzip.compress(MBOX, mtime=0)[:30], "unpack"),
    ("takeout.zip", zipped(Takeout__Mail__All_mbox=MBOX), "unpack"),
    ("profile.zip", zipped(Mail__Local__Inbox=MBOX), "unpack"),
    ("cut short.zip", zipped(Takeout__Mail__All_mbox=MBOX)[:60], "unpack"),
    ("mail.tar", tarred(mail__cur__1=MAIL), "unpack"),
    ("mail.tgz", tarred("w:gz", a_txt=b"x", mail__Inbox=MBOX), "unpack"),
    ("mail.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "unpack"),
    ("mail.zst", b"\x28\xb5\x2f\xfd" + bytes(100), "unpack"),
    ("box.mbox", MBOX.decode().encode("utf-16"), "iconv"),
]


@pytest.mark.parametrize(("name", "data", "way_out"), CLOSED, ids=[name for name, _, _ in CLOSED])
def test_mail_in_a_form_that_cannot_be_read_is_named_with_a_way_out(
    tmp_path: Path, name: str, data: bytes, way_out: str
) -> None:
    path = put(tmp_path / "mail" / name, data)
    for found in (tmp_path / "mail", path):
        (item,) = discover(found)
        assert isinstance(item, Unreadable)
        assert way_out in item.detail
        assert not item.hides_more


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("access.gz", gzip.compress(b"127.0.0.1 - - GET /\n", mtime=0)),
        ("photos.zip", zipped(a_jpg=b"x", README=b"hello\n")),
        ("letter.docx", zipped(mimetype=b"x", word__mail_eml=b"x")),
        ("source.tar.gz", tarred("w:gz", src__main_c=b"int main;\n", README=b"hello\n")),
        ("table.xls", OLE),
        ("numbers", b"12\nand more\n"),
    ],
)
def test_what_is_packed_and_is_no_mail_is_passed_over(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path / name, data)
    put(tmp_path / "z.eml")
    assert [type(item) for item in sorted(discover(tmp_path), key=lambda i: isinstance(i, SourceFile))] == [
        NotMail,
        SourceFile,
    ]


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


def test_a_link_that_leads_nowhere_is_reported_unless_it_is_a_lock(tmp_path: Path) -> None:
    put(tmp_path / "a.eml")
    (tmp_path / "lock").symlink_to("127.0.0.1:+4711")
    (tmp_path / "old").symlink_to("/mnt/not mounted/mail")
    not_mail, unreadable = sorted(
        (item for item in discover(tmp_path) if not isinstance(item, SourceFile)), key=lambda item: str(type(item))
    )
    assert not_mail == NotMail(tmp_path / "lock")
    assert isinstance(unreadable, Unreadable)
    assert unreadable.hides_more


def test_pipes_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    put(tmp_path / "a.eml")
    assert [type(item) for item in discover(tmp_path)] == [SourceFile]
    with pytest.raises(UsageError, match="neither a file nor a directory"):
        discover(tmp_path / "pipe")


@contextmanager
def as_somebody(*closed: Path) -> Iterator[None]:
    """Inside, nobody may look into these; root might, and so is somebody else."""
    for path in closed:
        path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in closed:
            path.chmod(0o700)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that anybody may look into, which those of pytest are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_may_not_be_looked_into_is_reported(open_path: Path) -> None:
    for name in ("closed/a.eml", "cur/1.h:2,", "new/2.h", ".Sent/cur/3.h", "open/a.eml"):
        put(open_path / name)
    (open_path / "tmp").mkdir()
    put(open_path / "box", MBOX)
    (open_path / "link").symlink_to(open_path / "closed" / "a.eml")
    with as_somebody(*(open_path / name for name in ("closed", "new", ".Sent", "box"))):
        items = list(discover(open_path))
    unreadable = [item for item in items if isinstance(item, Unreadable)]
    assert {Path(item.locator).name for item in unreadable} == {"new", ".Sent", "closed", "box", "link"}
    assert all(item.hides_more and "Permission denied; as somebody" in item.detail for item in unreadable)
    assert [item.relative_path for item in items if isinstance(item, SourceFile)] == ["cur/1.h:2,", "open/a.eml"]


def test_path_that_may_not_be_searched_is_reported(open_path: Path) -> None:
    put(open_path / "mail/cur/1.h")
    put(open_path / "mail/a.eml")
    with as_somebody(open_path / "mail"):
        (item,) = discover(open_path / "mail")
    assert isinstance(item, Unreadable)


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
