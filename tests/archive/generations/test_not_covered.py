"""How many messages no serving generation speaks for, and how many are missing in one: exactly, and without a look at
each message."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.archives import new_archive
from tests.kit.plans import executed_on
from vaultembed.archive.database import Archive
from vaultembed.archive.generations.coverage import NotCovered, count_missing, not_covered
from vaultembed.archive.generations.records import Generation, ModelRecord, create_generation
from vaultembed.archive.generations.scopes import EVERYTHING, Scope
from vaultembed.archive.generations.work import retry_failed

COUNT = 40
RECENT = Scope(after=COUNT - 10)
OLD = Scope(before=8)
HALF = Scope(after=COUNT // 2)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Messages sent at 0, 1, 2, …, none of them embedded."""
    with new_archive(tmp_path / "a.db") as opened:
        opened.load_vec()
        fill(opened, range(COUNT))
        yield opened


def fill(archive: Archive, times: range) -> None:
    archive.db.executemany("INSERT INTO messages(subject, sent_at) VALUES (?, ?)", ((f"s{n}", n) for n in times))


def make(archive: Archive, name: str, scope: Scope, then: str) -> Generation:
    """A generation that covers nothing, in whatever state it is to be then."""
    model = ModelRecord(name, name, "c", "bert", 8, "mean", 512, "", "", "MIT", None)
    made = create_generation(archive, model, name, "p1:t256o32", scope)
    archive.db.execute("UPDATE generations SET state = ? WHERE id = ?", (then, made.id))
    return made


def settle(archive: Archive, generation: Generation, message_id: int, outcome: str, *, stamp: bool = True) -> None:
    """Give a message an outcome as of its present text."""
    archive.db.execute(
        "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, reason, at)"
        " SELECT ?1, id, content_rev, 'p1', ?3, CASE ?3 WHEN 'failed' THEN 'why' END, 0 FROM messages WHERE id = ?2"
        " ON CONFLICT DO UPDATE SET content_rev = excluded.content_rev, outcome = excluded.outcome,"
        " reason = excluded.reason",
        (generation.id, message_id, outcome),
    )
    if stamp:
        archive.db.execute("UPDATE messages SET embed_gen = ? WHERE id = ?", (generation.id, message_id))


def current_outcomes(archive: Archive) -> dict[tuple[int, int], str]:
    """By generation and message."""
    revisions = dict(archive.rows("SELECT id, content_rev FROM messages"))
    rows = archive.rows("SELECT generation_id, message_id, content_rev, outcome FROM embed_outcomes")
    return {(generation, message): outcome for generation, message, rev, outcome in rows if revisions[message] == rev}


def scope_members(archive: Archive) -> set[tuple[int, int]]:
    """Generations and messages."""
    return set(archive.rows("SELECT generation_id, message_id FROM scope_members"))


def recount(archive: Archive, filled: Generation, older: Generation) -> NotCovered:
    """Message by message."""
    missing = failed = outside = 0
    said, members = current_outcomes(archive), scope_members(archive)
    for (message_id,) in archive.rows("SELECT id FROM messages WHERE deleted_at IS NULL"):
        of_filled, of_older = (said.get((generation.id, message_id)) for generation in (filled, older))
        if {of_filled, of_older} & {"embedded", "blank"}:
            continue
        if of_filled == "failed":
            failed += 1
        elif filled.scope and (filled.id, message_id) not in members:
            outside += 1
        else:
            missing += 1
    return NotCovered(missing, failed, outside)


def recount_missing(archive: Archive, generations: list[Generation]) -> int:
    """Message by message."""
    said, members = current_outcomes(archive), scope_members(archive)
    return sum(
        any(
            (generation.id, message_id) not in said and (not generation.scope or (generation.id, message_id) in members)
            for generation in generations
        )
        for (message_id,) in archive.rows("SELECT id FROM messages WHERE deleted_at IS NULL")
    )


def disturb(archive: Archive, chance: random.Random, generations: list[Generation]) -> None:
    """Something that may happen to a message, or to several."""
    message_id = chance.randint(1, COUNT)
    what = chance.randrange(10)
    if what < 5:
        outcome = chance.choice(["blank", "blank", "blank", "failed"])
        settle(archive, chance.choice(generations), message_id, outcome, stamp=chance.random() < 0.8)
    elif what == 5:
        archive.db.execute("UPDATE messages SET subject = subject || '!' WHERE id = ?", (message_id,))
    elif what == 6:
        archive.db.execute("UPDATE messages SET deleted_at = ? WHERE id = ?", (chance.choice([None, 1]), message_id))
    elif what == 7:
        # into a scope, or out of it
        archive.db.execute("UPDATE messages SET sent_at = ? WHERE id = ?", (chance.randrange(COUNT), message_id))
    elif what == 8:
        archive.db.execute("DELETE FROM embed_outcomes WHERE message_id = ? AND generation_id = 1", (message_id,))
    else:
        retry_failed(archive, chance.choice(generations).id)


@pytest.mark.parametrize("of_older", [EVERYTHING, RECENT, HALF], ids=["whole", "recent", "half"])
@pytest.mark.parametrize("of_filled", [EVERYTHING, RECENT, OLD], ids=["whole", "recent", "old"])
def test_whatever_happens_to_messages_the_number_is_exact(archive: Archive, of_older: Scope, of_filled: Scope) -> None:
    chance = random.Random(f"{of_older.tag} {of_filled.tag}")
    given_up = make(archive, "given up", EVERYTHING, "discarded")  # some stamps still name it
    older = make(archive, "older", of_older, "active")
    filled = make(archive, "filled", of_filled, "building")
    for (message_id,) in archive.rows("SELECT message_id FROM messages_in_scope WHERE generation_id = 2"):
        settle(archive, older, message_id, "blank")
    for _ in range(250):
        disturb(archive, chance, [given_up, older, filled])
        assert not_covered(archive, [filled, older]) == recount(archive, filled, older)
        assert count_missing(archive, [filled, older]) == recount_missing(archive, [filled, older])


def test_a_message_that_has_left_the_scope_is_covered_all_the_same(archive: Archive) -> None:
    older = make(archive, "older", RECENT, "active")
    filled = make(archive, "filled", RECENT, "building")
    for message_id in (COUNT, COUNT - 1):
        settle(archive, filled, message_id, "blank")
        archive.db.execute("UPDATE messages SET sent_at = 0 WHERE id = ?", (message_id,))
    assert not_covered(archive, [filled, older]) == NotCovered(missing=8, failed=0, outside=COUNT - 10)


def steps(archive: Archive, serving: list[Generation]) -> int:
    """Instructions of SQLite's machine that the answer takes."""
    taken = 0

    def note() -> bool:
        nonlocal taken
        taken += 1
        return False

    archive.db.set_progress_handler(note, 1)
    try:
        not_covered(archive, serving)
    finally:
        archive.db.set_progress_handler(None)
    return taken


@pytest.mark.parametrize("of_filled", [EVERYTHING, RECENT], ids=["whole", "scoped"])
def test_messages_outside_a_small_scope_are_not_looked_at_one_by_one(archive: Archive, of_filled: Scope) -> None:
    older = make(archive, "older", RECENT, "active")
    filled = make(archive, "filled", of_filled, "building")
    for message_id in range(COUNT - 9, COUNT + 1):
        settle(archive, older, message_id, "blank")
    settle(archive, filled, COUNT, "blank")
    few = steps(archive, [filled, older])
    archive.db.executemany("INSERT INTO messages(sent_at) VALUES (?)", ((0,) for _ in range(400)))
    assert not_covered(archive, [filled, older]).total == COUNT - 10 + 400
    assert steps(archive, [filled, older]) <= few


def test_what_both_have_embedded_is_not_looked_at_one_by_one(archive: Archive) -> None:
    """An everyday rebuild: the older one covers everything, and nothing is without a stamp."""
    older = make(archive, "older", EVERYTHING, "active")
    filled = make(archive, "filled", EVERYTHING, "building")
    for message_id in range(1, COUNT + 1):
        settle(archive, older, message_id, "blank")
        settle(archive, filled, message_id, "blank")
    settle(archive, filled, 1, "failed")
    few = steps(archive, [filled, older])
    fill(archive, range(COUNT, COUNT + 200))
    for message_id in range(COUNT + 1, COUNT + 201):
        settle(archive, older, message_id, "blank")
        if message_id % 2:
            settle(archive, filled, message_id, "blank")
    assert not_covered(archive, [filled, older]) == NotCovered(0, 0, 0)
    assert steps(archive, [filled, older]) <= few


def test_it_begins_with_whichever_is_less(archive: Archive) -> None:
    def looks_at_stamps() -> bool:
        with executed_on(archive.db) as seen:
            not_covered(archive, [filled, older])
        return any("embed_gen IS NULL" in statement.sql for statement in seen)

    older = make(archive, "older", RECENT, "active")
    filled = make(archive, "filled", EVERYTHING, "building")
    for message_id in range(COUNT - 9, COUNT + 1):
        settle(archive, older, message_id, "blank")
    assert not looks_at_stamps()
    for message_id in range(1, 26):
        settle(archive, filled, message_id, "blank")
    assert looks_at_stamps()
