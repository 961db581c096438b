"""After `delete --forever` and `embeddings prune --rewrite`, nothing is left of a message that others have not, too."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.archives import ADA, add, add_parsed, check_invariants, new_archive, new_message
from tests.kit.builds import fill, run
from tests.kit.mail import mail, maildir
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.mail.messages import index_parsed, replace_message
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.archive.vector_format import to_bits
from vaultembed.message import ParsedMessage, Thread
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.evaluating import run_set
from vaultembed.service.importing import import_mail
from vaultembed.service.pruning import plan_prune, prune_embeddings

# Whose rows a message has beside those with its id
ROWS = {
    "messages": "id = :id",
    "participants": "id IN (SELECT sender_id FROM messages WHERE id = :id UNION SELECT participant_id FROM"
    " message_recipients WHERE message_id = :id)",
    "conversations": "id = (SELECT conversation_id FROM messages WHERE id = :id)",
    "thread_ids": "rfc822_message_id IN (SELECT rfc822_message_id FROM messages WHERE id = :id"
    " UNION SELECT in_reply_to FROM messages WHERE id = :id)",
    "labels": "id IN (SELECT label_id FROM message_labels WHERE message_id = :id)",
    "source_files": "(source_id, path) IN (SELECT source_id, source_key FROM message_sources WHERE message_id = :id)",
    "msgvault_messages": "(source_id, source_key) IN (SELECT source_id, source_key FROM message_sources"
    " WHERE message_id = :id)",
    "vectors": "chunk_id IN (SELECT id FROM chunks WHERE message_id = :id)",
}
NOT_OF_A_MESSAGE = {
    "sources",  # what was imported; but see the file of one message below
    "models",
    "generations",
    "generation_types",
    "embed_runs",
    "embed_leases",
    "adopted_generations",
    "applied_steps",
    "schema_migrations",
}
FIXED_WORDS = {  # of a few words each, or what the rest hangs on
    "message_raw.encoding",
    "message_recipients.kind",
    "labels.kind",
    "message_sources.set_aside",
    "repairs.field",
    "embed_outcomes.outcome",
    "source_files.prefix_hash",  # empty for a file of one message
}


def word(name: str) -> str:
    return "zq" + hashlib.sha256(name.encode()).hexdigest()[:18]


def planted(archive: Archive, message_id: int) -> dict[str, bytes]:
    """Into every text and every blob of the message that has none yet, a word of its own; each by its column, as it is
    found in the file."""
    found: dict[str, bytes] = {}
    archive.db.pragma("foreign_keys", False)
    for (table,) in archive.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"):
        columns = [row[1:3] for row in archive.rows(f"PRAGMA table_info({table})")]
        if table in NOT_OF_A_MESSAGE or table.startswith(("messages_fts", "vec_")):
            continue
        whose = ROWS.get(table) or "message_id = :id"
        for column, kind in columns:
            name = f"{table}.{column}"
            if kind not in ("TEXT", "BLOB") or name in FIXED_WORDS:
                continue
            read = f"SELECT CAST({column} AS BLOB) FROM {table} WHERE {whose}".replace(":id", str(message_id))
            values = [row[0] for row in archive.rows(read)]
            assert values, f"{name}: nothing of the message is there"
            if not any(value and (b"zq" in value or kind == "BLOB") for value in values):
                write = f"UPDATE {table} SET {column} = ? WHERE {whose}".replace(":id", str(message_id))
                archive.db.execute(write, (word(name).encode() if kind == "BLOB" else word(name),))
                values = [word(name).encode()]
            for n, value in enumerate(values):
                if kind == "TEXT" and b"zq" not in value:
                    continue  # as that of another column
                at = value.find(b"zq") + 2 if b"zq" in value else 0
                found[f"{name} {n}"] = value[at : at + 18]
    archive.db.pragma("foreign_keys", True)
    return found


def left(folder: Path, needles: dict[str, bytes]) -> set[str]:
    content = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {
        f"{name} in {file}"
        for file, written in content.items()
        for name, needle in needles.items()
        if needle in written or needle.decode("latin-1").encode("utf-16-le") in written
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two messages of one conversation, of which the first is to go: every header of it has a word that nothing else
    has."""
    here = tmp_path / "mail"
    for name, headers, content in (
        (
            f"0 {word('file')}.eml",
            [
                f"From: {word('name')} <{word('address')}@{word('domain')}.example>",
                f"To: {word('to')} <{word('to address')}@example.org>",
                f"Subject: Re: {word('subject')}",
                f"Message-ID: <{word('id')}@example.org>",
                f"References: <{word('reference')}@example.org> <kept@example.org>",
                f"In-Reply-To: <{word('reply')}@example.org>",
                f"List-Id: <{word('list')}.example.org>",
                f"X-Gmail-Labels: {word('label')}",
            ],
            word("body"),
        ),
        ("1.eml", ["From: ada@example.org", "Subject: kept", "Message-ID: <kept@example.org>"], "the other"),
    ):
        path = here / (word("folder") if name[0] == "0" else "zz") / name  # which is read later
        path.parent.mkdir(parents=True, exist_ok=True)
        boundary = ['Content-Type: multipart/mixed; boundary="b"', "", "--b", "Content-Type: text/plain", "", content]
        file = [
            "--b",
            f"Content-Type: application/{word('type')}",
            f"Content-Disposition: attachment; filename={word('attached')}",
        ]
        lines = [
            *headers,
            "Date: Mon, 03 Feb 2003 10:00:00 +0100",
            *boundary,
            *(file if name[0] == "0" else []),
            "",
            "",
            "--b--",
            "",
        ]
        path.write_text("\n".join(lines))
    return here


def test_of_every_text_and_blob_of_a_message_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "archive" / "a.db"
    import_mail(path, [folder])
    with open_archive(path) as archive:
        delete_forever(archive, [add(archive, "before it", "so that the text index was merged once")])
        run(archive)
        ((doomed,),) = archive.rows("SELECT id FROM messages WHERE subject <> 'kept'")
        assert archive.rows("SELECT subject FROM conversations") == [(f"Re: {word('subject')}",)]
        source = archive.scalar("SELECT source_id FROM message_sources WHERE message_id = ?", (doomed,))
        locator = archive.scalar("SELECT locator FROM message_sources WHERE message_id = ?", (doomed,))
        key = archive.scalar("SELECT source_key FROM message_sources WHERE message_id = ?", (doomed,))
        archive.db.execute("INSERT INTO repair_runs VALUES (1, 0, 0)")
        for at in (doomed, 3 - doomed):
            archive.db.execute(
                "INSERT INTO repairs(run_id, message_id, field, place, before, after, method, confidence, at)"
                " VALUES (1, ?, 'conversation', '', ?, ?, 'm', 1, 0)",
                (at, f"{word('repaired')}".encode(), f"Re: {word('subject')}"),
            )
        archive.db.execute(
            "INSERT INTO problems VALUES (NULL, ?, ?, 'here', 'k', ?, 0, NULL)", (source, doomed, word("p1"))
        )
        archive.db.execute(
            "INSERT INTO problems VALUES (NULL, ?, NULL, ?, 'k', ?, 0, NULL)", (source, locator, word("p2"))
        )
        archive.db.execute(
            "INSERT INTO msgvault_messages VALUES (?, ?, ?, 1, NULL)", (source, key, word("digest").encode())
        )
        archive.db.execute("INSERT INTO labels(kind, name) VALUES ('label', ?)", (word("label it had once"),))
        archive.db.execute(
            "INSERT INTO participants(address, name, domain) VALUES (?, '', '')", (word("address it had once"),)
        )
        archive.db.execute("UPDATE embed_outcomes SET outcome = 'failed', reason = 'r' WHERE message_id = ?", (doomed,))
        archive.db.execute("INSERT INTO reactions SELECT ?, 0, 'love', max(id) FROM participants", (doomed,))
        needles = planted(archive, doomed)
        embedding = archive.scalar(
            "SELECT embedding FROM vectors WHERE chunk_id IN (SELECT id FROM chunks WHERE message_id = ?)", (doomed,)
        )
        needles["bits"] = to_bits(embedding)
        raw = archive.scalar("SELECT mime FROM message_raw WHERE message_id = ?", (doomed,))
        needles["raw"] = raw[20:60]
        needles |= {n: word(n)[2:].encode() for n in ("repaired", "p2", "label it had once", "address it had once")}
        needles |= {n: word(n)[2:].encode() for n in ("folder", "file", "reference", "attached", "type", "domain")}
        kept = archive.rows("SELECT id, subject FROM messages WHERE id <> ?", (doomed,))
    assert len(needles) > 40
    assert min(map(len, needles.values())) > 7
    assert {name.rpartition(" in ")[0] for name in left(path.parent, needles)} == set(needles)  # the twin
    delete_messages(path, select_messages(path, [str(doomed)]), forever=True)
    prune_embeddings(path, plan_prune(path), rewrite=True)
    assert left(path.parent, needles) == set()
    check_invariants(path)
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT id, subject FROM messages") == kept
        assert archive.rows("SELECT thread_key, subject FROM conversations") == [("kept", "kept")]
        assert archive.rows("SELECT rfc822_message_id FROM thread_ids") == [("kept@example.org",)]


def forever(path: Path, *ids: int) -> tuple[str, ...]:
    return delete_messages(path, select_messages(path, [str(i) for i in ids]), forever=True).notes


def subjects(path: Path) -> list[str]:
    with open_archive_readonly(path) as archive:
        return [row[0] for row in archive.rows("SELECT subject FROM messages ORDER BY id")]


def test_its_file_is_not_read_again_until_it_changes_and_nobody_knows_its_name(tmp_path: Path) -> None:
    path, folder = tmp_path / "archive" / "a.db", tmp_path / "mail"
    secret = folder / "cur" / f"{word('file')}:2,S"
    maildir(folder, {secret.name: mail("secret", "one", message_id="s"), "2:2,": mail("kept", "two", message_id="k")})
    import_mail(path, [folder])
    (doomed,) = (n for n, subject in enumerate(subjects(path), 1) if subject == "secret")
    forever(path, doomed)
    for _ in range(2):  # what the first has not seen would be gone for the second
        assert import_mail(path, [folder]).data.counts.unchanged == 2
    assert subjects(path) == ["kept"]
    assert not left(path.parent, {"file": word("file").encode()})
    os.utime(secret, (1, 1))
    assert import_mail(path, [folder]).data.counts.added == 1
    forever(path, 3)
    assert import_mail(path, [folder]).data.counts.unchanged == 2
    secret.unlink()
    import_mail(path, [folder])
    with open_archive_readonly(path) as archive:
        assert archive.scalar("SELECT count(*) FROM source_files") == 1
    check_invariants(path)


def test_a_file_imported_by_its_own_name_is_no_source_any_more(tmp_path: Path) -> None:
    path = tmp_path / "archive" / "a.db"
    files = [tmp_path / f"{word(name)}.eml" for name in ("one", "two")]
    for file in files:
        file.write_bytes(mail(file.name, "text"))
        import_mail(path, [file])
    forever(path, 1)
    prune_embeddings(path, plan_prune(path), rewrite=True)
    assert not left(path.parent, {"one": word("one").encode()})
    assert left(path.parent, {"two": word("two").encode()})


def test_what_an_interrupted_deletion_left_goes_when_the_file_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with new_archive(path) as archive:
        ids = fill(archive, 100)
        ids.append(add(archive, word("subject"), word("body")))
        fill(archive, 100, start=200)
        stops = iter([False, False])
        assert delete_forever(archive, ids, lambda: next(stops, True)) == 101
    needles = {"subject": word("subject")[2:].encode(), "body": word("body")[2:].encode()}
    assert left(tmp_path, needles)
    prune_embeddings(path, plan_prune(path), rewrite=True)
    assert not left(tmp_path, needles)
    check_invariants(path)


def test_copies_that_hold_it_are_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with new_archive(path) as archive:
        first = add(archive, "first", "one")
        shutil.copy(path, tmp_path / "a.db.v103.bak")
        second = add(archive, "second", "two")
        archive.db.pragma("wal_checkpoint", "TRUNCATE")
        shutil.copy(path, tmp_path / "my copy")
    (tmp_path / "notes.txt").write_text("no archive")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file != path}
    selection = select_messages(path, [str(second)])
    would = delete_messages(path, selection, forever=True, dry_run=True)
    done = delete_messages(path, selection, forever=True)
    assert would.data.copies == done.data.copies == (tmp_path / "my copy",)
    assert any("my copy" in note for note in done.notes)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.name in before} == before
    assert set(before) == {file.name for file in tmp_path.iterdir()} - {path.name}
    assert delete_messages(path, select_messages(path, [str(first)])).data.copies == ()
    assert len(forever(path, first)) == 2


def test_what_eval_keeps_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with new_archive(path) as archive:
        first = add(archive, "first", "one", message_id="one@x")
    (tmp_path / "questions.tsv").write_text("one@x\twhich is the first?\n")
    file = run_set(path, tmp_path / "questions.tsv", modes=("text",)).data.file
    assert any(f": {file}. Delete" in note for note in forever(path, first))


def test_a_copy_is_named_whose_log_or_older_edition_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with new_archive(path) as archive:
        first = add(archive, "first", "one", message_id="draft@x")
        archive.db.pragma("wal_checkpoint", "TRUNCATE")
        shutil.copy(path, tmp_path / "edition")
        with archive.transaction():
            edited = new_message("first", "rewritten", message_id="draft@x")
            replace_message(archive, first, edited)
            index_parsed(archive, {first: edited})
        second = add(archive, "second", "two")
        for end in ("", "-wal"):  # as they lie there while it is open
            shutil.copy(tmp_path / f"a.db{end}", tmp_path / f"open{end}")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file != path}
    for doomed, holding in ((second, {"open"}), (first, {"open", "edition"})):
        done = delete_messages(path, select_messages(path, [str(doomed)]), forever=True)
        assert {copy.name for copy in done.data.copies} == holding
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file != path} == before


def chat(text: str, number: int, *, subject: str = "", kind: str = "whatsapp") -> ParsedMessage:
    return ParsedMessage(
        rfc822_message_id=None,
        in_reply_to=None,
        references=(),
        subject=subject,
        sent_at=number,
        zone_minutes=0,
        sender=ADA,
        recipients=(),
        list_id=None,
        labels=(),
        body_text=text,
        attachments=(),
        size_bytes=1,
        problems=(),
        message_type=kind,
        content_hash=bytes([number] * 16),
        thread=Thread("whatsapp:me/9", "The family", kind == "whatsapp"),
    )


def test_a_chat_keeps_its_name_and_its_messages_together(archive: Archive) -> None:
    with archive.transaction():
        first, second = (add_parsed(archive, chat(text, n)) for n, text in enumerate(("one", "two")))
    delete_forever(archive, [first])
    assert archive.rows("SELECT subject FROM conversations") == [("The family",)]
    with archive.transaction():
        third = add_parsed(archive, chat("three", 3))
    same = "SELECT count(DISTINCT conversation_id) FROM messages WHERE id IN (?, ?)"
    assert archive.scalar(same, (second, third)) == 1
    delete_forever(archive, [second, third])
    assert archive.rows("SELECT (SELECT count(*) FROM thread_ids), (SELECT count(*) FROM conversations)") == [(0, 0)]


def test_a_conversation_without_a_subject_does_not_keep_one(archive: Archive) -> None:
    first = add(archive, "secret", "one", message_id="a")
    add(archive, "", "two", message_id="b", references=("a",))
    delete_forever(archive, [first])
    assert archive.rows("SELECT thread_key, subject FROM conversations") == [("", "")]
    # which the reply names, so that an answer to it still comes here
    assert archive.rows("SELECT rfc822_message_id FROM thread_ids ORDER BY 1") == [("a",), ("b",)]


def test_an_edition_takes_the_words_of_the_one_before_with_it(archive: Archive) -> None:
    def draft(subject: str, named: str) -> ParsedMessage:
        return replace(chat("text", 1, kind="email"), subject=subject, in_reply_to=named, thread=None)

    with archive.transaction():
        message = add_parsed(archive, draft("secret", "old@x"))
        replace_message(archive, message, draft("harmless", "new@x"))
    assert archive.rows("SELECT subject, thread_key FROM conversations") == [("harmless", "harmless")]
    assert archive.rows("SELECT rfc822_message_id FROM thread_ids") == [("new@x",)]
