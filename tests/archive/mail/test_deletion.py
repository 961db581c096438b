from __future__ import annotations

import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run, search
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.conditions import All, Words, compile_condition
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import coverage_of
from vaultembed.archive.mail.deletion import delete_softly, matching_ids, undelete
from vaultembed.archive.mail.fulltext import phrase
from vaultembed.archive.mail.lexical import rank_by_words
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.archive.upkeep.pruning import collect_garbage
from vaultembed.archive.upkeep.shrinking import shrink
from vaultembed.message import Person

SECRET = "xylophonequartz"  # noqa: S105


def words(archive: Archive, text: str) -> list[int]:
    return [match.message_id for match in rank_by_words(archive, phrase(text) or "", 10, Filter())]


def all_bytes(archive: Archive) -> bytes:
    files = [archive.path, *archive.path.parent.glob(archive.path.name + "-wal")]
    return b"".join(file.read_bytes() for file in files)


@pytest.mark.parametrize("delete", [delete_softly, delete_forever])
def test_a_deleted_message_is_in_no_result_from_the_same_transaction_on(archive: Archive, delete) -> None:  # type: ignore[no-untyped-def]
    fill(archive, 5)
    run(archive)
    assert words(archive, "word2") == [3]
    assert search(archive, "word2 body2")[0] == 3
    with open_archive(archive.path) as other:
        other.load_vec()
        assert delete(other, [3]) == 1
    assert words(archive, "word2") == []
    assert 3 not in search(archive, "word2 body2")
    assert coverage_of(archive, 1).live == 4
    check_invariants(archive.path)


def test_an_undelete_before_collection_embeds_nothing_again(archive: Archive) -> None:
    fill(archive, 4)
    run(archive)
    delete_softly(archive, [2])
    assert undelete(archive, [2]) == 1
    assert coverage_of(archive, 1).missing == 0
    assert search(archive, "word1 body1")[0] == 2
    embedder = WordHashEmbedder()
    run(archive, embedder)
    assert embedder.texts == []
    check_invariants(archive.path)


def test_an_undelete_after_collection_is_work_and_nothing_else_is(archive: Archive) -> None:
    fill(archive, 4)
    run(archive)
    delete_softly(archive, [2])
    collected = collect_garbage(archive)
    assert (collected.messages, collected.vectors) == (1, 1)
    check_invariants(archive.path)
    undelete(archive, [2])
    assert coverage_of(archive, 1).missing == 1
    embedder = WordHashEmbedder()
    assert run(archive, embedder).coverage.missing == 0
    assert sum("word1" in text for text in embedder.texts) == 1
    assert not any("word2" in text for text in embedder.texts)
    check_invariants(archive.path)


def test_deleting_or_bringing_back_twice_changes_nothing(archive: Archive) -> None:
    fill(archive, 3)
    assert delete_softly(archive, [1, 2, 99]) == 2
    first = archive.rows("SELECT deleted_at FROM messages ORDER BY id")
    archive.db.execute("UPDATE messages SET deleted_at = 5 WHERE id = 1")
    assert delete_softly(archive, [1, 2]) == 0
    assert archive.scalar("SELECT deleted_at FROM messages WHERE id = 1") == 5
    assert archive.rows("SELECT deleted_at FROM messages ORDER BY id")[1:] == first[1:]
    assert undelete(archive, [1, 2, 3]) == 2
    assert undelete(archive, [1, 2, 3]) == 0


def test_nothing_of_a_message_deleted_for_ever_is_left_in_the_file(archive: Archive) -> None:
    fill(archive, 30)
    secret = add(archive, f"About {SECRET}", f"{SECRET} in the body", sender=Person(f"{SECRET}@example.org", "Eve"))
    archive.db.execute("INSERT INTO message_raw VALUES (?, 'zlib', ?)", (secret, SECRET.encode()))
    fill(archive, 30, start=30)
    run(archive)
    assert SECRET.encode() in all_bytes(archive)
    # the twin: marking it leaves its words, and the row as it was before that in a free part of the file
    delete_softly(archive, [secret])
    assert SECRET.encode() in all_bytes(archive)
    assert delete_forever(archive, [secret]) == 1
    assert shrink(archive, scattered_share=0).rewritten
    assert SECRET.encode() not in all_bytes(archive)
    tables = [
        row[0]
        for row in archive.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%message_id%'")
    ]
    for table in tables:
        if not table.startswith("messages_fts") and table != "embed_leases":
            columns = [row[1] for row in archive.rows(f"PRAGMA table_info({table})")]
            if "message_id" in columns:
                assert archive.scalar(f"SELECT count(*) FROM {table} WHERE message_id = ?", (secret,)) == 0, table
    assert archive.scalar("SELECT count(*) FROM vec_orphans") == 0
    check_invariants(archive.path)
    assert words(archive, "word45") == [47]


def test_what_others_share_with_a_message_deleted_for_ever_stays(archive: Archive) -> None:
    first = add(archive, "plan", "one", message_id="a")
    reply = add(archive, "Re: plan", "two", message_id="b", references=("a",))
    delete_forever(archive, [first])
    assert archive.scalar("SELECT count(*) FROM participants") == 1
    assert archive.scalar("SELECT count(*) FROM conversations") == 1
    late = add(archive, "Re: plan", "three", message_id="c", references=("a", "b"))
    conversations = archive.rows("SELECT DISTINCT conversation_id FROM messages WHERE id IN (?, ?)", (reply, late))
    assert len(conversations) == 1
    delete_forever(archive, [reply, late])
    for table in ("participants", "conversations", "thread_ids", "messages"):
        assert archive.scalar(f"SELECT count(*) FROM {table}") == 0, table


def test_a_query_means_the_messages_in_which_every_word_occurs(archive: Archive) -> None:
    both = add(archive, "sale", "shoes and hats", message_id="1")
    add(archive, "sale", "only shoes", message_id="2")
    both_words = compile_condition(All((Words("shoes"), Words("hats"))))
    assert matching_ids(archive, both_words, deleted=False) == [both]
    delete_softly(archive, [both])
    assert matching_ids(archive, both_words, deleted=False) == []
    assert matching_ids(archive, both_words, deleted=True) == [both]


def test_an_interrupted_deletion_goes_on(archive: Archive) -> None:
    ids = fill(archive, 250)
    run(archive)
    stops = iter([False, True])
    done = delete_forever(archive, ids, lambda: next(stops, True))
    assert 0 < done < 250
    check_invariants(archive.path)
    assert delete_forever(archive, ids) == 250 - done
    assert archive.scalar("SELECT count(*) FROM vectors") == 0
    check_invariants(archive.path)
