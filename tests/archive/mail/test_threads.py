from __future__ import annotations

from itertools import permutations

import pytest

from tests.kit.archives import add
from vaultembed.archive.database import Archive


def conversations(archive: Archive) -> list[set[str]]:
    groups: dict[int, set[str]] = {}
    for conversation, subject in archive.rows("SELECT conversation_id, subject FROM messages"):
        groups.setdefault(conversation, set()).add(subject)
    return sorted(groups.values(), key=sorted)


THREAD = {"root": (), "child": ("root",), "grandchild": ("root", "child"), "other": ()}


@pytest.mark.parametrize("order", list(permutations(THREAD)))
def test_a_thread_comes_together_in_whatever_order_it_arrives(archive: Archive, order: tuple[str, ...]) -> None:
    for name in order:
        add(archive, name, message_id=name, references=THREAD[name])
    assert conversations(archive) == [{"child", "grandchild", "root"}, {"other"}]
    assert archive.scalar("SELECT count(*) FROM conversations") == 2


def test_siblings_join_through_a_parent_that_never_came(archive: Archive) -> None:
    add(archive, "a", message_id="a", references=("ghost",))
    add(archive, "b", message_id="b", references=("ghost",))
    assert conversations(archive) == [{"a", "b"}]


def test_a_message_that_names_two_conversations_joins_them(archive: Archive) -> None:
    add(archive, "a", message_id="a")
    add(archive, "b", message_id="b")
    add(archive, "c", message_id="c", references=("a", "b"))
    assert conversations(archive) == [{"a", "b", "c"}]


def test_a_loop_of_references_is_one_conversation(archive: Archive) -> None:
    add(archive, "a", message_id="a", references=("b",))
    add(archive, "b", message_id="b", references=("a",))
    assert conversations(archive) == [{"a", "b"}]


def test_a_reply_without_references_joins_by_subject_if_it_is_recent(archive: Archive) -> None:
    day = 86_400
    add(archive, "picnic", message_id="a", sent_at=100 * day)
    add(archive, "Re: picnic", "yes!", message_id="b", sent_at=101 * day)
    add(archive, "Re: picnic", "another year", message_id="c", sent_at=400 * day)
    add(archive, "picnic", "no reply", message_id="d", sent_at=101 * day)
    groups = archive.rows("SELECT conversation_id, group_concat(rfc822_message_id, '') FROM messages GROUP BY 1")
    assert sorted(group for _, group in groups) == ["ab", "c", "d"]
