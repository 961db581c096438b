from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.mail import mail, maildir, many, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.engine.opening import BUSY_TIMEOUT_MS
from vaultembed.errors import UsageError
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    import_mail(tmp_path / "a.db", [mbox(tmp_path / "box", many(8))])
    return tmp_path / "a.db"


def found(archive: Path, words: str) -> list[int]:
    return [result.id for result in search_archive(archive, words, mode="text").data.results]


def selected(archive: Path, *arguments: str, as_query: bool = False) -> tuple[int, ...]:
    return select_messages(archive, arguments, as_query=as_query).ids


def test_digits_are_ids_and_words_a_query_of_which_every_one_must_occur(archive: Path) -> None:
    assert selected(archive, "3", "5", "3") == (3, 5)
    assert selected(archive, "word2", "thing2") == (3,)
    assert selected(archive, "word2", "thing3") == ()
    assert selected(archive, "thing2") == (3, 8)
    assert selected(archive, "thing2", "from:ada") == (3, 8)
    assert selected(archive, "from:nobody") == ()
    assert selected(archive, "5", as_query=True) == (6,)  # "subject 5"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("3", "word2"), "is not an id"),
        (("99",), "no message 99"),
        (("3", "99"), "no message 99"),
        ((str(2**70),), "no message"),
        ((), "nothing to delete"),
        (("from:ada", "!!!"), "no word"),
        (("from:",), "nothing follows"),
    ],
)
def test_what_is_not_clear_is_refused(archive: Path, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        select_messages(archive, arguments)


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_a_query_that_matches_nothing_shows_how_it_was_read(archive: Path, option: str) -> None:
    done = vaultembed("delete", "from:nobody", option, archive=archive)
    assert done.stdout.startswith("0 messages")
    assert "Read as: from:nobody" in done.stdout


def test_deleting_shows_first_asks_and_can_be_taken_back(archive: Path) -> None:
    refused = vaultembed("delete", "thing2", archive=archive)
    assert refused.returncode == 2
    assert "subject 2" in refused.stderr
    assert "--yes" in refused.stderr
    assert found(archive, "thing2") == [3, 8]
    data = vaultembed_json("delete", "thing2", "--dry-run", archive=archive)
    assert (data["selected"], data["deleted"]) == (2, 0)
    assert found(archive, "thing2") == [3, 8]
    done = vaultembed("delete", "thing2", "--yes", archive=archive)
    assert done.stdout == '2 messages deleted.\nRead as: "thing2"\n'
    assert "vaultembed undelete 3 8" in done.stderr
    assert found(archive, "thing2") == []
    assert vaultembed("show", "3", archive=archive).returncode == 1
    listed = vaultembed_json("undelete", archive=archive)
    assert [message["id"] for message in listed["messages"]] == [3, 8]
    assert vaultembed_json("undelete", "3", archive=archive)["undeleted"] == 1
    assert found(archive, "thing2") == [3]
    assert vaultembed_json("undelete", "--all", archive=archive)["undeleted"] == 1
    assert found(archive, "thing2") == [3, 8]


def test_forever_is_for_ever(archive: Path) -> None:
    vaultembed_json("delete", "1", "2", "--yes", archive=archive)
    assert vaultembed("delete", "--deleted", archive=archive).returncode == 2
    assert vaultembed("delete", "3", "--deleted", "--forever", "--yes", archive=archive).returncode == 2
    assert vaultembed_json("delete", "--deleted", "--forever", "--yes", archive=archive)["deleted"] == 2
    assert vaultembed_json("delete", "3", "--forever", "--yes", archive=archive)["deleted"] == 1
    assert vaultembed_json("undelete", archive=archive)["total"] == 0
    gone = vaultembed("undelete", "3", archive=archive)
    assert gone.returncode == 2
    assert "imported again" in gone.stderr
    check_invariants(archive)


def test_an_import_does_not_bring_a_deleted_message_back(archive: Path, tmp_path: Path) -> None:
    vaultembed_json("delete", "3", "--yes", archive=archive)
    mbox(tmp_path / "box", many(9))
    again = import_mail(archive, [tmp_path / "box"])
    assert (again.data.counts.added, again.data.counts.deleted) == (1, 0)  # only what was appended is read
    elsewhere = import_mail(archive, [mbox(tmp_path / "copy", many(9))])
    assert (elsewhere.data.counts.deleted, elsewhere.data.counts.duplicate) == (1, 8)
    assert any("vaultembed undelete" in note for note in elsewhere.notes)
    assert found(archive, "word2") == []
    vaultembed_json("undelete", "3", archive=archive)
    assert found(archive, "word2") == [3]
    check_invariants(archive)


def test_a_message_deleted_for_ever_comes_back_only_when_its_file_is_read_again(archive: Path, tmp_path: Path) -> None:
    vaultembed_json("delete", "3", "--forever", "--yes", archive=archive)
    assert import_mail(archive, [tmp_path / "box"]).data.counts.added == 0
    mbox(tmp_path / "box", many(9))
    import_mail(archive, [tmp_path / "box"])
    assert found(archive, "word2") == []
    mbox(tmp_path / "box", many(9)[1:])
    assert import_mail(archive, [tmp_path / "box"]).data.counts.added == 1
    assert len(found(archive, "word2")) == 1
    check_invariants(archive)


def test_a_newer_text_is_not_hidden_under_a_deleted_draft(tmp_path: Path) -> None:
    folder = maildir(tmp_path / "mail", {"1.a:2,": mail("draft", "first version", message_id="d@x")})
    archive = tmp_path / "a.db"
    import_mail(archive, [folder])
    vaultembed_json("delete", "1", "--yes", archive=archive)
    maildir(folder, {"1.a:2,": mail("draft", "second, longer version", message_id="d@x")})
    os.utime(folder / "cur" / "1.a:2,", (1, 1))
    counts = import_mail(archive, [folder]).data.counts
    assert (counts.added, counts.updated) == (1, 0)
    assert found(archive, "version") == [2]
    check_invariants(archive)


def test_prune_says_how_much_it_freed_and_needs_no_agreement_where_nothing_is_whole(archive: Path) -> None:
    data = vaultembed_json("embeddings", "prune", archive=archive)
    assert data["pruned"] == []
    assert data["bytes_before"] - data["bytes_after"] == data["freed"]
    done = vaultembed("embeddings", "prune", "--rewrite", archive=archive)
    assert "written anew" in done.stdout
    assert vaultembed("embeddings", "prune", "1", archive=archive).returncode == 2


@pytest.mark.slow  # it waits for the reader
def test_what_a_reader_keeps_in_the_log_is_told_and_goes_with_the_next_prune(archive: Path) -> None:
    def is_held() -> bool:
        files = (archive, archive.with_name("a.db-wal"))
        return any(b"subject 0" in file.read_bytes() for file in files if file.exists())

    with open_archive_readonly(archive) as reader, reader.snapshot():
        reader.scalar("SELECT count(*) FROM messages")
        started = time.monotonic()
        held = delete_messages(archive, select_messages(archive, ["1"]), forever=True)
        assert time.monotonic() - started < 1.8 * BUSY_TIMEOUT_MS / 1000, "it waited twice for the reader"
    assert is_held()  # the reader is gone, and must not write
    (note,) = [note for note in held.notes if "Another program" in note]
    assert note.endswith("vaultembed embeddings prune")
    assert vaultembed("embeddings", "prune", archive=archive).returncode == 0
    assert not is_held()
    free = delete_messages(archive, select_messages(archive, ["2"]), forever=True)
    assert not any("Another program" in note for note in free.notes)
