"""What holds for any writer: these tests write with plain SQL, as somebody at the sqlite3 shell would."""

from __future__ import annotations

import shutil
import subprocess

import apsw
import pytest

from tests.kit.archives import add
from vaultembed.archive.database import Archive
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.mail.lexical import weigh
from vaultembed.search.query import parse_query
from vaultembed.search.ranking import by_words


def stamp(archive: Archive, message_id: int) -> None:
    """Give a message a blank outcome and stamp in generation 1, and sweep past it."""
    if archive.scalar("SELECT 1 FROM generations") is None:
        archive.db.execute(
            "INSERT INTO models VALUES (1, 'm', 'sha', 'c', 'bert', 8, 'mean', 512, '', '', 'MIT', NULL, 0)"
        )
        archive.db.execute(
            "INSERT INTO generations(id, model_id, dimension, space, recipe, state, created_at)"
            " VALUES (1, 1, 8, 's', 'r', 'building', 0)"
        )
        archive.db.execute("INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (1, 0)")
    archive.db.execute(
        "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
        " SELECT 1, id, content_rev, 'r', 'blank', 0 FROM messages WHERE id = ?",
        (message_id,),
    )
    archive.db.execute("UPDATE messages SET embed_gen = 1 WHERE id = ?", (message_id,))
    archive.db.execute("UPDATE embed_watermark SET watermark_id = 1000")


def state(archive: Archive, message_id: int) -> tuple[object, ...]:
    row = archive.row("SELECT content_rev, embed_gen FROM messages WHERE id = ?", (message_id,))
    assert row is not None
    return row


def watermark(archive: Archive) -> int:
    return int(archive.scalar("SELECT watermark_id FROM embed_watermark"))


CONTENT_CHANGES = [
    "UPDATE messages SET subject = 'other' WHERE id = 1",
    "UPDATE message_bodies SET body_text = 'other' WHERE message_id = 1",
    "DELETE FROM message_bodies WHERE message_id = 1",
    "UPDATE messages SET in_reply_to = 'other' WHERE id = 1",  # it answers nothing before
]
METADATA_CHANGES = [
    "UPDATE messages SET in_reply_to = in_reply_to, rfc822_message_id = 'other' WHERE id = 1",
    "UPDATE messages SET subject = subject, sent_at = 5, snippet = 'x', list_id = 'y', size_bytes = 1 WHERE id = 1",
    "UPDATE message_bodies SET body_text = body_text WHERE message_id = 1",
    "INSERT INTO labels(kind, name) VALUES ('label', 'l'); INSERT INTO message_labels VALUES (1, 1)",
    "UPDATE messages SET conversation_id = NULL WHERE id = 1",
    "UPDATE messages SET deleted_at = 5 WHERE id = 1",
]


@pytest.mark.parametrize("sql", CONTENT_CHANGES)
def test_a_change_of_content_is_work_below_the_watermark(archive: Archive, sql: str) -> None:
    message_id = add(archive, "subject", "body")
    stamp(archive, message_id)
    before = state(archive, message_id)
    archive.db.execute(sql)
    after = state(archive, message_id)
    assert after[0] > before[0]  # type: ignore[operator]
    assert after[1] is None
    assert watermark(archive) == message_id - 1


@pytest.mark.parametrize("sql", METADATA_CHANGES)
def test_a_change_of_metadata_leaves_the_stamp_alone(archive: Archive, sql: str) -> None:
    message_id = add(archive, "subject", "body")
    stamp(archive, message_id)
    before = state(archive, message_id)
    archive.db.execute(sql)
    assert state(archive, message_id) == before
    assert watermark(archive) == 1000


def test_an_edit_of_a_message_without_a_stamp_lowers_the_watermark_too(archive: Archive) -> None:
    first, second = add(archive, "one"), add(archive, "two")
    stamp(archive, first)
    archive.db.execute("UPDATE messages SET subject = 'edited' WHERE id = ?", (second,))
    assert watermark(archive) == second - 1


def test_undeleting_and_clearing_a_stamp_are_work(archive: Archive) -> None:
    first, second = add(archive, "one"), add(archive, "two")
    for message_id in (first, second):
        stamp(archive, message_id)
    archive.db.execute("UPDATE messages SET embed_gen = NULL WHERE id = ?", (second,))
    assert watermark(archive) == second - 1
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (first,))
    archive.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = ?", (first,))
    assert watermark(archive) == first - 1


def test_a_body_that_arrives_late_is_work(archive: Archive) -> None:
    archive.db.execute("INSERT INTO messages(id, subject) VALUES (7, 'alone')")
    stamp(archive, 7)
    archive.db.execute("INSERT INTO message_bodies VALUES (7, 'here I am')")
    assert state(archive, 7)[1] is None
    assert watermark(archive) == 6


def test_a_message_inserted_below_the_watermark_lowers_it(archive: Archive) -> None:
    stamp(archive, add(archive, "one"))
    archive.db.execute("INSERT INTO messages(id, subject) VALUES (500, 'restored by hand')")
    assert watermark(archive) == 499


REFUSED = [
    ("UPDATE messages SET content_rev = 1 WHERE id = 1", "only grows"),
    ("UPDATE messages SET embed_gen = 1 WHERE id = 2", "current outcome"),
    ("INSERT INTO messages(subject, embed_gen) VALUES ('x', 1)", "no outcome yet"),
    (
        (
            "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
            " VALUES (1, 2, 1, 'r', 'embedded', 0)"
        ),
        "vector for every chunk",
    ),
    ("UPDATE embed_outcomes SET outcome = 'embedded'", "vector for every chunk"),
    ("INSERT INTO vectors VALUES (1, x'0011', 0)", "dimension"),
    ("INSERT INTO vectors VALUES (999, zeroblob(16), 0)", "dimension"),
    (
        (
            "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
            " VALUES (1, 2, 1, 'r', 'failed', 0)"
        ),
        "CHECK",
    ),
]


@pytest.mark.parametrize(("sql", "why"), REFUSED)
def test_what_would_be_a_lie_cannot_be_written(archive: Archive, sql: str, why: str) -> None:
    stamp(archive, add(archive, "one"))
    add(archive, "two")
    archive.db.execute("INSERT INTO chunks VALUES (1, 1, 2, 0, 0, 5, x'00', 0)")
    with pytest.raises(apsw.ConstraintError, match=why):
        archive.db.execute(sql)


def test_text_changed_from_outside_is_not_found_by_its_old_words_and_then_by_its_new_ones(archive: Archive) -> None:
    message_id = add(archive, "breakfast", "porridge with honey")
    assert found(archive, "porridge") == [message_id]
    archive.db.execute("UPDATE message_bodies SET body_text = 'scrambled eggs' WHERE message_id = ?", (message_id,))
    assert found(archive, "porridge") == found(archive, "scrambled") == []
    assert count_stale(archive) == 1
    assert refresh_stale(archive) == 1
    assert found(archive, "porridge") == []
    assert found(archive, "scrambled") == [message_id]


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
def test_the_sqlite3_shell_can_write_without_sqlite_vec(archive: Archive) -> None:
    message_id = add(archive, "subject", "body")
    stamp(archive, message_id)
    subprocess.run(["sqlite3", str(archive.path), "UPDATE messages SET subject = 'by hand'"], check=True)
    assert state(archive, message_id)[1] is None
    assert watermark(archive) == message_id - 1


def found(archive: Archive, words: str) -> list[int]:
    query = parse_query(words)
    return [hit.message_id for hit in by_words(archive, query, weigh(archive, query.phrases), 10)]
