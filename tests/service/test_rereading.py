"""Mail that an earlier version has read: the next import reads it again, and only what differs is written."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import run
from tests.kit.mail import mail, maildir, many, mbox
from tests.kit.processes import vaultembed, vaultembed_json, vaultembed_process
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.mail import places
from vaultembed.archive.mail.fulltext import index_messages
from vaultembed.archive.mail.messages import add_message, replace_message
from vaultembed.archive.mail.places import Place
from vaultembed.archive.mail.rereading import finish_rereads, read_again, stored_message
from vaultembed.importing.parser import Depth, Mime
from vaultembed.importing.paths import ImportCounts
from vaultembed.message import Attachment, ParsedMessage, Person, Problem, Recipient
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.importing import Raw, import_mail
from vaultembed.service.importing import read_again as read_kept_again
from vaultembed.sources import file_state
from vaultembed.text.mime.identity import content_hash
from vaultembed.text.mime.mime import READER_VERSION

OF_LIST = ["List-Id: <sailors.example.org>", "X-Keywords: Harbour"]
MESSAGES = [
    mail("The boat", "It floats.\n\n-- \nAda\n", message_id="1@x", headers=OF_LIST),
    mail("Re: The boat", "It sank.\n\n> It floats.\n", message_id="2@x", headers=["In-Reply-To: <1@x>"]),
    mail("Bread", "Of rye.\n", message_id="3@x"),
    mail("Salt", "", message_id="4@x", headers=["References: <3@x>"]),
]
WRONG: dict[str, object] = {
    "subject": "=?x?=",
    "body_text": "SXQgZmxvYXRzLg==",
    "sender": Person("list@example.org", "Ada @ending from"),
    "recipients": (Recipient("to", Person("nobody@example.org", "")),),
    "sent_at": 1,
    "zone_minutes": None,
    "rfc822_message_id": None,
    "in_reply_to": "null@x",
    "references": ("null@x",),
    "list_id": None,
    "attachments": (Attachment("a.pgp", "application/pgp-signature", 1, b"\0" * 32),),
    "labels": ("$label1",),
    "problems": (Problem("bad-bytes", "long mended"),),
}
Change = Callable[[ParsedMessage], ParsedMessage]


def as_earlier(archive: Path, change: Change) -> None:
    """As if an earlier version had read the mail of an archive, and read `change` of what this one reads."""
    with open_archive(archive) as opened, opened.transaction():
        for (message_id,) in opened.rows("SELECT message_id FROM message_readings ORDER BY 1"):
            packed = opened.scalar("SELECT mime FROM message_raw WHERE message_id = ?", (message_id,))
            here = change(stored_message(opened, message_id))
            replace_message(opened, message_id, replace(here, packed=packed, reader=READER_VERSION - 1))
            opened.execute(
                "INSERT INTO problems(message_id, locator, kind, detail, at) SELECT ?1, ?1, ?2, ?3, 0 WHERE ?2 <> ''",
                (message_id, *((here.problems[0].kind, here.problems[0].detail) if here.problems else ("", ""))),
            )
            opened.execute(
                "DELETE FROM message_labels WHERE message_id = ? AND label_id NOT IN"
                " (SELECT id FROM labels WHERE kind = 'folder' OR name IN (SELECT value FROM json_each(?)))",
                (message_id, "[" + ",".join(f'"{label}"' for label in here.labels) + "]"),
            )
            index_messages(opened, [message_id])
        opened.execute("UPDATE source_files SET reader = ?", (READER_VERSION - 1,))


def with_wrong(*names: str) -> Change:
    return lambda here: replace(here, **{name: WRONG[name] for name in names})  # type: ignore[arg-type]


def counts(archive: Path, path: Path, raw: Raw = "keep") -> ImportCounts:
    return import_mail(archive, [path], raw=raw).data.counts


def contents(archive: Path) -> dict[bytes, object]:
    """Of each live message all that is read of it, and which it is in a conversation with."""
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM fulltext_stale") == 0
        ids = opened.rows("SELECT id, content_hash, conversation_id FROM messages WHERE deleted_at IS NULL")
        members = {key: sorted(each[1] for each in ids if each[2] == key) for key in {each[2] for each in ids}}
        people = opened.rows("SELECT address, name FROM participants ORDER BY 1, 2")
        return {b"people": people} | {
            digest: (stored_message(opened, message_id), members[conversation])
            for message_id, digest, conversation in ids
        }


def mailbox(path: Path) -> Path:
    return mbox(path, MESSAGES)


def folder(path: Path) -> Path:
    return maildir(path, {f"{n}:2,S": message for n, message in enumerate(MESSAGES)})


@pytest.mark.parametrize(
    ("make", "raw", "names"),
    [
        *((mailbox, "keep", (name,)) for name in WRONG),
        (folder, "keep", ("in_reply_to", "references")),
        *((make, raw, tuple(WRONG)) for make in (mailbox, folder) for raw in ("keep", "none")),
    ],
)
def test_what_is_read_otherwise_now_is_here_as_if_imported_today(
    tmp_path: Path, make: Callable[[Path], Path], raw: Raw, names: tuple[str, ...]
) -> None:
    archive, fresh, mail_there = tmp_path / "a.db", tmp_path / "b.db", make(tmp_path / "mail")
    counts(archive, mail_there, raw)
    counts(fresh, mail_there, raw)
    as_earlier(archive, with_wrong(*names))
    assert contents(archive) != contents(fresh)
    found = counts(archive, mail_there, raw)
    assert (found.unchanged, found.reread, found.added, found.updated) == (4, 4, 0, 0)
    assert found.differ >= (names != ("problems",))
    assert contents(archive) == contents(fresh)
    assert counts(archive, mail_there, raw) == ImportCounts(unchanged=4)
    check_invariants(archive)


def test_stamps_stay_where_what_is_embedded_is_equal(tmp_path: Path) -> None:
    archive, box = tmp_path / "a.db", mailbox(tmp_path / "box")
    counts(archive, box)
    earlier = {
        "1@x": {"body_text": "It floats.\n\n-- \nAda @ending\n"},  # a signature, which is not embedded
        "2@x": {"sent_at": 1, "sender": Person("x", "y"), "labels": ("z",)},
        "3@x": {"body_text": "T2YgcnllLg=="},
    }
    as_earlier(archive, lambda here: replace(here, **earlier.get(here.rfc822_message_id or "", {})))  # type: ignore[arg-type]
    stamps = "SELECT subject, content_rev, embed_gen IS NOT NULL FROM messages ORDER BY id"
    with open_archive(archive) as opened:
        run(opened)
        before = opened.rows(stamps)
        assert all(each[2] for each in before)
        assert counts(archive, box).differ == 3
        after = {
            subject: (rev - was[1], stamp)
            for was, (subject, rev, stamp) in zip(before, opened.rows(stamps), strict=True)
        }
        assert after == {"The boat": (1, 1), "Re: The boat": (0, 1), "Bread": (1, 0), "Salt": (0, 1)}
        run(opened)
    check_invariants(archive)


@pytest.mark.parametrize("reads_otherwise", [True, False])
def test_what_somebody_wrote_over_it_stays(tmp_path: Path, reads_otherwise: bool) -> None:
    archive, box = tmp_path / "a.db", mailbox(tmp_path / "box")
    counts(archive, box)
    as_earlier(archive, with_wrong(*(["subject", "list_id", "labels"] if reads_otherwise else ["list_id"])))
    with open_archive(archive) as opened:
        opened.execute("UPDATE messages SET subject = 'mine' WHERE id = 1")
        opened.execute("INSERT INTO labels(kind, name) VALUES ('label', 'my own')")
        opened.execute("INSERT INTO message_labels SELECT 1, id FROM labels WHERE name = 'my own'")
    assert counts(archive, box).reread == 4
    with open_archive_readonly(archive) as opened:
        here = stored_message(opened, 1)
        assert (here.subject, here.list_id) == ("mine", "sailors.example.org")
        assert {"my own", "Harbour"} <= set(here.labels)
        assert stored_message(opened, 2).subject == "Re: The boat"
    check_invariants(archive)


def test_what_a_person_deleted_stays_deleted_and_is_read_again(tmp_path: Path) -> None:
    archive, box = tmp_path / "a.db", mailbox(tmp_path / "box")
    counts(archive, box)
    delete_messages(archive, select_messages(archive, ["1"]))
    as_earlier(archive, with_wrong("subject"))
    found = counts(archive, box)
    assert (found.deleted, found.reread) == (1, 4)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT subject FROM messages WHERE deleted_at IS NOT NULL") == [("The boat",)]


@pytest.mark.parametrize("make", [mailbox, folder])
def test_what_was_deleted_for_ever_does_not_come_back_with_a_newer_reader(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    archive, mail_there = tmp_path / "a.db", make(tmp_path / "mail")
    counts(archive, mail_there)
    delete_messages(archive, select_messages(archive, ["2"]), forever=True)
    as_earlier(archive, with_wrong("subject"))
    for _ in range(2):
        assert counts(archive, mail_there).added == 0
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM messages") == 3


def misread(archive: Path, source: Path, kind: str, key: str, mime: bytes) -> int:
    """As if an earlier version had taken `mime` for one message, at the beginning of a file."""
    parsed = Mime(mime, content_hash(mime), None, is_kept=True).parse(Depth.WHOLE)
    with open_archive(archive) as opened, opened.transaction():
        source_id = places.source_id_of(opened, kind, str(source))
        message_id = add_message(opened, replace(parsed, reader=READER_VERSION - 1))
        index_messages(opened, [message_id])
        locator = f"{source}@0" if kind == "mbox" else str(source)
        places.put_at(opened, source_id, Place(key, locator, "", ""), message_id)
        state = file_state(source, source.stat().st_size)
        places.set_read_state(opened, source_id, source.name, state)
        opened.execute("UPDATE source_files SET reader = ?", (READER_VERSION - 1,))
    return message_id


@pytest.mark.parametrize("stands_elsewhere", [False, True])
@pytest.mark.parametrize(
    ("kind", "becomes"), [("mbox", "same"), ("mbox", "longer"), ("mbox", "rewritten"), ("eml", "same")]
)
def test_a_message_that_was_several_is_displaced_by_its_parts(
    tmp_path: Path, kind: str, becomes: str, stands_elsewhere: bool
) -> None:
    archive, box = tmp_path / "a.db", mbox(tmp_path / "box", MESSAGES)
    whole = box.read_bytes().partition(b"\n")[2]
    key = f"box:{content_hash(whole).hex()}" if kind == "mbox" else "box"
    glued = misread(archive, box, kind, key, whole)
    if stands_elsewhere:
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "x.eml").write_bytes(whole)
        assert counts(archive, tmp_path / "more").duplicate == 1
    grows = becomes != "same"
    if grows:
        mbox(box, [*MESSAGES, *many(1)] if becomes == "longer" else [*many(1), *MESSAGES])
    assert counts(archive, box).added == 4 + grows
    with open_archive_readonly(archive) as opened:
        live = "SELECT deleted_at IS NULL FROM messages WHERE id = ?"
        assert opened.scalar(live, (glued,)) == stands_elsewhere
        assert opened.scalar("SELECT count(*) FROM messages") == 5 + grows
    assert counts(archive, box) == ImportCounts(unchanged=4 + grows)
    check_invariants(archive)


def test_a_file_that_is_other_bytes_for_a_newer_reader_is_the_same_message(tmp_path: Path) -> None:
    archive, file = tmp_path / "a.db", tmp_path / "x.eml"
    file.write_bytes(b"\xff\xfe" + MESSAGES[0].decode().encode("utf-16-le"))
    misread(archive, file, "eml", "x.eml", file.read_bytes())
    assert counts(archive, file).updated == 1
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT id, subject FROM messages") == [(1, "The boat")]
    assert counts(archive, file) == ImportCounts(unchanged=1)


@pytest.mark.parametrize("gone", ["a file", "the source"])
def test_what_is_gone_is_read_again_from_what_is_kept_of_it(tmp_path: Path, gone: str) -> None:
    archive, fresh, mail_there = tmp_path / "a.db", tmp_path / "b.db", folder(tmp_path / "mail")
    counts(archive, mail_there)
    counts(fresh, mail_there)
    as_earlier(archive, with_wrong("subject", "body_text"))
    if gone == "a file":
        (mail_there / "cur" / "0:2,S").unlink()
        assert counts(archive, mail_there).reread == 4
    else:
        other = import_mail(archive, [mbox(tmp_path / "other", many(1))])
        assert other.data.counts == ImportCounts(added=1)
        assert any("vaultembed import --reread" in note for note in other.notes)
        done = vaultembed("import", "--reread", archive=archive)
        assert done.returncode == 0
        assert "4 read again with a newer reader, 4 differ" in done.stdout
        assert vaultembed_json("import", "--reread", archive=archive)["counts"]["reread"] == 0
    now, wanted = contents(archive), contents(fresh)
    assert {key: now[key] for key in wanted if key != b"people"} == {k: v for k, v in wanted.items() if k != b"people"}
    assert counts(archive, mail_there).reread == 0
    check_invariants(archive)


def test_reread_goes_alone(tmp_path: Path) -> None:
    for arguments in (("--reread", "x"), ()):
        assert vaultembed("import", *arguments, archive=tmp_path / "a.db").returncode == 2


def test_a_date_of_delivery_outlives_the_file(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    box = mbox(tmp_path / "box", [MESSAGES[0].replace(b"Date:", b"X-Date:")])
    counts(archive, box)
    as_earlier(archive, with_wrong("subject"))
    read_kept_again(archive)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT subject, sent_at FROM messages") == [("The boat", 1044266400)]


def test_what_was_too_much_to_read_this_time_stays_as_it_was_read(tmp_path: Path) -> None:
    archive, box = tmp_path / "a.db", mailbox(tmp_path / "box")
    counts(archive, box)
    as_earlier(archive, lambda here: here)
    poor = (Problem("html-left-out", "its HTML is left out"),)
    with open_archive(archive) as opened, opened.transaction():
        here = stored_message(opened, 1)
        done = read_again(opened, 1, replace(here, body_text="", problems=poor, reader=READER_VERSION))
        finish_rereads(opened, {1: done})
        assert stored_message(opened, 1) == here
    assert counts(archive, box).differ == 0


def test_a_conversation_falls_apart_that_a_name_of_nobody_had_joined(tmp_path: Path) -> None:
    archive, fresh = tmp_path / "a.db", tmp_path / "b.db"
    box = mbox(tmp_path / "box", many(5))
    counts(archive, box)
    counts(fresh, box)
    as_earlier(archive, with_wrong("in_reply_to", "references"))
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM conversations") == 1
    counts(archive, box)
    assert contents(archive) == contents(fresh)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT subject FROM conversations ORDER BY 1") == [(f"subject {n}",) for n in range(5)]
        assert opened.scalar("SELECT count(*) FROM thread_ids") == 5


@pytest.mark.parametrize("make", [mailbox, folder])
def test_stopped_it_goes_on_from_there(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive, fresh, mail_there = tmp_path / "a.db", tmp_path / "b.db", make(tmp_path / "mail")
    counts(archive, mail_there)
    counts(fresh, mail_there)
    as_earlier(archive, with_wrong(*WRONG))
    for asked in (1, 3, 5, 8):
        answers = iter([False] * asked)
        import_mail(archive, [mail_there], should_stop=lambda answers=answers: next(answers, True))  # type: ignore[misc]
        check_invariants(archive)
    counts(archive, mail_there)
    assert contents(archive) == contents(fresh)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failpoint", "arguments"),
    [
        ("import.before_transaction:1", ["box"]),
        ("import.in_transaction:300", ["box"]),
        ("import.in_transaction:500", ["box"]),
        ("import.after_transaction:1", ["box"]),
        ("reread.before_transaction:2", ["--reread"]),
        ("reread.in_transaction:450", ["--reread"]),
    ],
)
def test_killed_it_goes_on_from_there(tmp_path: Path, failpoint: str, arguments: list[str]) -> None:
    archive, fresh = tmp_path / "a.db", tmp_path / "b.db"
    box = mbox(tmp_path / "box", many(600))
    counts(archive, box)
    counts(fresh, box)
    as_earlier(archive, with_wrong(*WRONG))
    given = [box if each == "box" else each for each in arguments]
    assert vaultembed_process("import", *given, archive=archive, failpoint=failpoint).returncode == -signal.SIGKILL
    check_invariants(archive)
    assert vaultembed("import", *given, archive=archive).returncode == 0
    assert contents(archive) == contents(fresh)
    counts(archive, box)
    assert counts(archive, box) == ImportCounts(unchanged=600)
    check_invariants(archive)
