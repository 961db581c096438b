"""The counts that come from indexes are those that looking at every message gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from tests.kit.plans import executed_on
from vaultembed.archive.database import Archive
from vaultembed.archive.mail.labels import add_labels
from vaultembed.archive.mail.statistics import count_archive, count_labels, count_sources, count_types

SOURCES = 3


def fill(archive: Archive, chance: random.Random) -> None:
    """Messages of several types and conversations, some deleted; a message may stand in a source twice, or in none."""
    archive.db.executemany(
        "INSERT INTO sources(id, kind, identifier, added_at) VALUES (?, 'mbox', ?, 1)",
        [(source, f"/box{source}") for source in range(1, SOURCES + 1)],
    )
    for n in range(40):
        subject = f"Re: subject {chance.randint(0, 12)}"
        sent_at = chance.choice([None, chance.randint(1, 10**9)])
        message = add(archive, subject, f"word{n}", message_id=str(n), sent_at=sent_at)
        with archive.transaction():
            for place in range(chance.randint(0, 4)):
                archive.db.execute(
                    "INSERT INTO message_sources VALUES (?, ?, ?, 'here', '', '', ?, '[]', '')",
                    (chance.randint(1, SOURCES), f"{n}.{place}", message, chance.choice([None, 1])),
                )
            for kind in ("label", "folder"):
                add_labels(archive, message, kind, chance.sample(["one", "two", "three"], chance.randint(0, 2)))
            archive.db.execute(
                "UPDATE messages SET message_type = ?, deleted_at = ?, conversation_id = nullif(conversation_id, ?)"
                " WHERE id = ?",
                (chance.choice(["email", "email", "sms", "chat"]), chance.choice([None, None, 1]), 3, message),
            )


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_looking_at_every_message(tmp_path: Path, seed: int) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, random.Random(seed))
        counts = count_archive(archive)
        found = (
            counts.messages,
            counts.deleted,
            counts.conversations,
            counts.first_sent_at,
            counts.last_sent_at,
        )
        naive = "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at),"
        naive += " count(DISTINCT conversation_id) FILTER (WHERE deleted_at IS NULL), min(sent_at), max(sent_at)"
        assert [found] == archive.rows(naive + " FROM messages NOT INDEXED")
        assert [(s.identifier, s.messages, s.gone) for s in count_sources(archive)] == archive.rows(
            "SELECT s.identifier, count(DISTINCT x.message_id) FILTER (WHERE m.deleted_at IS NULL),"
            " count(DISTINCT x.message_id) FILTER (WHERE m.deleted_at IS NULL AND x.gone_at IS NOT NULL)"
            " FROM sources s LEFT JOIN message_sources x ON x.source_id = s.id"
            " LEFT JOIN messages m ON m.id = x.message_id GROUP BY s.id ORDER BY s.id"
        )
        assert [(t.type, t.messages) for t in count_types(archive)] == archive.rows(
            "SELECT message_type, count(*) FROM messages WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        assert [(found.kind, found.name, found.messages) for found in count_labels(archive, 4)] == archive.rows(
            "SELECT kind, name, count(*) FROM messages m JOIN message_labels ON message_id = m.id"
            " JOIN labels l ON l.id = label_id WHERE deleted_at IS NULL GROUP BY l.id ORDER BY 3 DESC, 1, 2 LIMIT 4"
        )


def test_an_empty_archive_has_no_types_and_no_sources(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        assert (count_types(archive), count_sources(archive), count_archive(archive).messages) == ([], [], 0)


def test_the_messages_themselves_are_read_for_their_types_alone(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, random.Random(0))
        with executed_on(archive.db) as seen:
            count_archive(archive)
            count_sources(archive)
            count_types(archive)
            count_labels(archive, 9)
        walked = [
            statement.sql
            for statement in seen
            for step in statement.steps
            if step == "SCAN messages" or ("messages USING" in step and "COVERING" not in step)
        ]
        by_rows = [sql for sql in walked if "deleted_at IS NOT NULL" not in sql]  # of deleted ones, there are few
        assert len(by_rows) == 1
        assert "message_type" in by_rows[0]
