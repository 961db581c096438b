"""Pages of messages by date, and counts by group."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from vaultembed.archive.database import open_archive
from vaultembed.archive.mail.grouping import Grouping
from vaultembed.archive.mail.listing import Order
from vaultembed.search.filters import Filters
from vaultembed.service.listing import count_by, list_messages, read_message

DATES = [300, None, 100, 300, None, 200]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.db"
    with new_archive(found) as archive:
        for n, sent_at in enumerate(DATES):
            add(archive, f"subject {n}", "text " * n, message_id=str(n), sent_at=sent_at)
    return found


@pytest.mark.parametrize(("order", "expected"), [("newest", [4, 1, 6, 3, 5, 2]), ("oldest", [3, 6, 1, 4, 2, 5])])
@pytest.mark.parametrize("limit", [1, 2, 4, 10])
def test_pages_by_date_make_the_whole_with_undated_messages_last(
    path: Path, order: Order, expected: list[int], limit: int
) -> None:
    found: list[int] = []
    after = None
    while True:
        page = list_messages(path, order=order, after=after, limit=limit).data
        found += [message.id for message in page.messages]
        after = page.next
        if after is None:
            break
    assert found == expected


def test_a_page_seeks_through_the_index_however_far_down(path: Path) -> None:
    with open_archive(path) as archive:
        plan = archive.rows(
            "EXPLAIN QUERY PLAN SELECT m.sent_at, m.id FROM messages m WHERE m.deleted_at IS NULL"
            " AND m.sent_at IS NOT NULL AND (m.sent_at, m.id) < (?, ?) AND (1)"
            " ORDER BY m.sent_at DESC, m.id DESC LIMIT ?",
            (1, 1, 1),
        )
    assert "SEARCH m USING INDEX messages_by_sent_at" in plan[0][3]
    assert not any("TEMP B-TREE" in row[3] for row in plan)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("sender", [("ada@example.org", 6)]),
        ("domain", [("example.org", 6)]),
        ("year", [("1970", 4)]),
        ("month", [("1970-01", 4)]),
        ("type", [("email", 6)]),
        ("label", []),
    ],
)
def test_counts_by_group(path: Path, by: Grouping, groups: list[tuple[str, int]]) -> None:
    found = count_by(path, by).data
    assert [(group.key, group.messages) for group in found.groups] == groups
    assert found.messages == 6
    assert count_by(path, by, filters=Filters(after="1980")).data.messages == 0


def test_a_part_of_a_text_is_cut_by_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        add(archive, "x", "äöü漢字👍end", message_id="1")
    page = read_message(path, 1, start=3, characters=3).data
    assert (page.text, page.start, page.characters) == ("漢字👍", 3, 9)
    assert read_message(path, 1, start=99).data.text == ""
