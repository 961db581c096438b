from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.archives import add, add_parsed, new_archive, new_message
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import fulltext
from vaultembed.archive.mail.lexical import rank_by_words, weigh
from vaultembed.errors import UsageError
from vaultembed.message import Person, Recipient
from vaultembed.search.query import parse_query
from vaultembed.search.ranking import by_words


def found(archive: Archive, query: str) -> list[int]:
    parsed = parse_query(query)
    return [hit.message_id for hit in by_words(archive, parsed, weigh(archive, parsed.phrases), 10)]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("the cafés of Tromsø", "cafe"),
        ("the cafes of town", "café"),
        ("明日の会議は東京で行います", "東京"),
        ("회의는 서울에서 합니다", "서울"),
        ("Встреча в Москве", "москве"),
        ("ｆｕｌｌｗｉｄｔｈ", "fullwidth"),
        ("she was running late", "run"),
        ("write to a.b-c@example.org", "a.b-c@example.org"),
        ("use C++ here", "C++"),
    ],
)
def test_words_are_found_as_people_type_them(archive: Archive, text: str, query: str) -> None:
    message_id = add(archive, "s", text)
    add(archive, "s", "nothing of the sort", message_id="other")
    assert found(archive, query) == [message_id]


def test_what_the_index_is_given_changes_with_a_migration_alone() -> None:
    """Archives hold entries that this function made. Who changes it writes a migration whose way up says `INSERT INTO
    fulltext_stale SELECT id FROM messages`, so that the next writer makes them again, and then this digest."""
    known = filter(
        lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn", map(chr, range(0x20, 0x2FFFF))
    )  # to every Python
    digest = blake2b(fulltext("".join(c for c in known if not "\ud800" <= c <= "\udfff")).encode(), digest_size=8)
    assert digest.hexdigest() == "2daad2b72114a786"


def test_a_word_of_cjk_is_a_phrase_not_its_characters(archive: Archive) -> None:
    add(archive, "s", "京都と東北", message_id="apart")
    assert found(archive, "東京") == []


def test_phrases_must_occur_and_words_may(archive: Archive) -> None:
    exact = add(archive, "s", "the blue boat sails", message_id="1")
    add(archive, "s", "a boat, blue", message_id="2")
    assert found(archive, '"blue boat"') == [exact]
    assert found(archive, '"blue boat" harbour') == [exact]
    assert set(found(archive, "blue harbour")) == {exact, exact + 1}


def test_filters_narrow_and_combine(archive: Archive) -> None:
    bob = Person("bob@example.net", "Bob Stone")
    one = add(archive, "boat", "x", message_id="1", sender=bob, sent_at=1_000_000_000)  # 2001-09-09
    two = add(
        archive, "boat", "y", message_id="2", recipients=(Recipient("cc", bob),), sent_at=1_100_000_000
    )  # 2004-11
    assert found(archive, "from:stone") == [one]
    assert found(archive, "from:bob@example.net boat") == [one]
    assert found(archive, "to:bob") == [two]
    assert found(archive, "after:2002 boat") == [two]
    assert found(archive, "before:2001-09-10") == [one]
    assert found(archive, "before:2001-09-09") == []
    assert found(archive, "subject:boat") == [two, one]  # newest first where nothing ranks
    assert found(archive, 'from:"Bob Stone" after:2002') == []
    assert found(archive, "from:100%") == []
    assert found(archive, "has:attachment") == []


@pytest.mark.parametrize("query", ["before:someday", "after:2020-13", "after:2021-02-30", "has:wings", "subject:!!"])
def test_a_filter_that_makes_no_sense_is_a_usage_error(query: str) -> None:
    with pytest.raises(UsageError):
        parse_query(query)


@pytest.fixture(scope="module")
def one_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with new_archive(tmp_path_factory.mktemp("fulltext") / "a.db") as opened:
        add(opened, "s", 'some words 東京 " * ( ) : ^ - + AND OR NOT NEAR')
        yield opened


@given(query=st.text(max_size=60))
def test_no_query_is_a_syntax_error(one_archive: Archive, query: str) -> None:
    try:
        parsed = parse_query(query)
    except UsageError:
        return
    by_words(one_archive, parsed, weigh(one_archive, parsed.phrases), 5)


@pytest.mark.parametrize("gone", [0, 3, 150, 195])
def test_deleted_and_stale_messages_take_no_place_among_the_best(archive: Archive, gone: int) -> None:
    with archive.transaction():
        for n in range(200):
            add_parsed(archive, new_message("roof " * (200 - n), f"and other words {n}", message_id=str(n)))
        best = [match.message_id for match in rank_by_words(archive, "roof", 200, Filter())]
        archive.db.execute(
            "UPDATE messages SET deleted_at = 1 WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(best[: gone // 2]),),
        )
        archive.db.execute(
            "INSERT INTO fulltext_stale(message_id) SELECT value FROM json_each(?)",
            (json.dumps(best[gone // 2 : gone]),),
        )
        assert [match.message_id for match in rank_by_words(archive, "roof", 10, Filter())] == best[gone:][:10]


def test_deleted_messages_are_not_found(archive: Archive) -> None:
    message_id = add(archive, "boat")
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (message_id,))
    assert found(archive, "boat") == []
    assert rank_by_words(archive, '"boat"', 10, parse_query("x").only) == []
