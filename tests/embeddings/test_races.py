"""Edits that race the embedder, at each point between its read and its commit."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.truth import check_surfaced, surfaced
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.backstop import Backstop
from vaultembed.archive.generations.leases import claim, release
from vaultembed.archive.generations.runs import RunCounts
from vaultembed.embeddings.build import Wanted, choose_generation
from vaultembed.embeddings.worker import NO_LIMITS, Filler, new_worker
from vaultembed.failpoints import action_at
from vaultembed.processes import _started_at, this_process

Edit = Callable[[apsw.Connection, int], None]

OUTSIDE = ["build.after_read", "build.after_embedding", "build.before_transaction", "build.after_transaction"]
"""Points at which another writer is let in."""
INSIDE = ["build.in_transaction", "build.before_commit"]
"""Points at which another writer has to wait."""

POINTS = [
    "build.after_embedding",
    "build.before_commit",
    *(pytest.param(point, marks=pytest.mark.slow) for point in (OUTSIDE[0], *OUTSIDE[2:], INSIDE[0])),
]

STAMPED, NEW, LATE, BARE, DELETED = 2, 5, 6, 7, 8
"""Messages: embedded before the build that is raced, new to it, new to it as the last, new without a body, and new but
deleted when it begins."""


def _sql(*statements: str) -> Edit:
    def edit(db: apsw.Connection, message_id: int) -> None:
        for statement in statements:
            db.execute(statement, {"id": message_id} if ":id" in statement else None)

    return edit


def _stamp_by_hand(db: apsw.Connection, message_id: int) -> None:
    """After an edit, as a careless script might. It is refused unless the stamp is true."""
    db.execute("UPDATE messages SET subject = 'elephants' WHERE id = ?", (message_id,))
    with pytest.raises(apsw.ConstraintError, match="current outcome"):
        db.execute("UPDATE messages SET embed_gen = 1 WHERE id = ?", (message_id,))


SUBJECT = "UPDATE messages SET subject = 'elephants' WHERE id = :id"
BODY = "UPDATE message_bodies SET body_text = 'elephants and whales' WHERE message_id = :id"
EDITS: dict[str, Edit] = {
    "subject": _sql(SUBJECT),
    "body": _sql(BODY),
    "body deleted": _sql("DELETE FROM message_bodies WHERE message_id = :id"),
    "body inserted": _sql(
        "INSERT INTO message_bodies VALUES (:id, 'elephants') ON CONFLICT DO UPDATE SET body_text = excluded.body_text"
    ),
    "deleted": _sql("UPDATE messages SET deleted_at = 1 WHERE id = :id"),
    "undeleted": _sql("UPDATE messages SET deleted_at = NULL WHERE id = :id"),
    "deleted, edited and undeleted": _sql(
        "UPDATE messages SET deleted_at = 1 WHERE id = :id",
        BODY,
        "UPDATE messages SET deleted_at = NULL WHERE id = :id",
    ),
    "deleted for ever": _sql("DELETE FROM messages WHERE id = :id"),
    "edited twice": _sql(SUBJECT, BODY),
    "there and back": _sql(
        BODY, "UPDATE message_bodies SET body_text = 'word9 body2 text' WHERE message_id = :id", SUBJECT
    ),
    "stamped by hand": _stamp_by_hand,
    "stamp cleared": _sql("UPDATE messages SET embed_gen = NULL WHERE id = :id"),
    "another inserted below": _sql("INSERT INTO messages(id, subject) VALUES (4, 'restored from an old backup')"),
}


@pytest.fixture
def raced(archive: Archive) -> Archive:
    """Generation 1 covers 1 to 3; 4 is free; 5 to 8 are new."""
    fill(archive, 3)
    run(archive)
    archive.db.execute("INSERT INTO messages(id, subject) VALUES (4, 'a gap')")
    archive.db.execute("DELETE FROM messages WHERE id = 4")
    fill(archive, 2, start=10)
    archive.db.execute("INSERT INTO messages(subject) VALUES ('bare of a body')")
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = ?", (add(archive, "bygone", "days"),))
    assert [row[0] for row in archive.rows("SELECT id FROM messages ORDER BY id")] == [
        1,
        2,
        3,
        NEW,
        LATE,
        BARE,
        DELETED,
    ]
    return archive


@dataclass
class Other:
    """Another process's connection, and what it sees at a moment."""

    path: Path

    def check(self) -> None:
        """No work below the watermark, no stamp, counter or vector that is not true: right now."""
        check_invariants(self.path)
        with open_archive(self.path) as archive:
            archive.load_vec()
            with archive.snapshot():
                found = surfaced(archive, 1)
        assert all(found.values()), "found by a text that is no longer theirs"

    def edit(self, edit: Edit, message_id: int) -> None:
        with open_archive(self.path) as archive:
            edit(archive.db, message_id)


def _all_points_checked(other: Other, seen: list[str]) -> list[tuple[str, Callable[[], None]]]:
    def at(name: str) -> Callable[[], None]:
        def check() -> None:
            seen.append(name)
            other.check()

        return check

    return [(name, at(name)) for name in (*OUTSIDE, *INSIDE)]


def race(archive: Archive, point: str, edit: Edit, message_id: int) -> None:
    """A build with one edit at a point, looked at from outside at every point, and then an incremental build."""
    other = Other(archive.path)
    seen: list[str] = []
    done: list[bool] = []
    waiting: list[threading.Thread] = []
    failed: list[BaseException] = []

    def edit_now() -> None:
        try:
            other.edit(edit, message_id)
        except BaseException as error:  # told to the test below
            failed.append(error)

    def once() -> None:
        seen.append(point)
        if not done:
            done.append(True)
            if point in INSIDE:
                db = apsw.Connection(str(archive.path))
                with pytest.raises(apsw.BusyError):
                    edit(db, message_id)
                db.close()
                waiting.append(threading.Thread(target=edit_now))
                waiting[0].start()
            else:
                edit_now()
        other.check()

    with ExitStack() as stack:
        for name, action in _all_points_checked(other, seen):
            stack.enter_context(action_at(name, once if name == point else action))
        run(archive)
    for thread in waiting:
        thread.join()
    assert not failed, failed
    assert done, f"the build never came to {point}"
    assert set(seen) == {*OUTSIDE, *INSIDE}
    other.check()
    assert archive.scalar("SELECT count(*) FROM embed_leases") == 0
    _and_the_next_incremental_build_covers_all(archive)


def _and_the_next_incremental_build_covers_all(archive: Archive) -> None:
    built = run(archive)
    assert built.coverage.missing == built.coverage.failed == 0
    live = {row[0] for row in archive.rows("SELECT id FROM messages WHERE deleted_at IS NULL")}
    assert check_surfaced(archive, 1) == live
    Other(archive.path).check()
    embedder = WordHashEmbedder()
    run(archive, embedder)
    assert embedder.texts == []


CASES = [
    (edit, message_id)
    for edit in EDITS
    for message_id in (STAMPED, NEW, BARE, DELETED)
    if not (edit == "stamp cleared" and message_id != STAMPED)
    and not (edit == "undeleted" and message_id != DELETED)
    and not (edit == "body inserted" and message_id != BARE)
    and not (edit == "another inserted below" and message_id != NEW)
    and not (message_id == BARE and edit != "body inserted")
    and not (message_id == DELETED and edit not in ("undeleted", "deleted for ever", "deleted, edited and undeleted"))
]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("edit", "message_id"), CASES)
def test_an_edit_that_races_the_embedder_is_neither_lost_nor_stamped(
    raced: Archive, point: str, edit: str, message_id: int
) -> None:
    race(raced, point, EDITS[edit], message_id)


@pytest.mark.parametrize("point", OUTSIDE[:3])
def test_a_text_that_was_changed_and_changed_back_is_not_stamped_from_the_old_read(raced: Archive, point: str) -> None:
    """Equal by luck; that it is equal is not what was compared."""
    before = raced.scalar("SELECT content_rev FROM messages WHERE id = ?", (NEW,))
    body = raced.scalar("SELECT body_text FROM message_bodies WHERE message_id = ?", (NEW,))

    def there_and_back(db: apsw.Connection, message_id: int) -> None:
        for text in ("elephants", body):
            db.execute("UPDATE message_bodies SET body_text = ? WHERE message_id = ?", (text, message_id))

    done: list[int] = []

    def action() -> None:
        if not done:
            done.append(1)
            Other(raced.path).edit(there_and_back, NEW)

    written: list[int] = []
    with action_at(point, action):
        run(raced, on_batch=lambda counts: written.append(counts.messages))
    assert written[0] == 2, "the first batch was to leave it out"
    assert raced.scalar("SELECT content_rev FROM embed_outcomes WHERE message_id = ?", (NEW,)) == before + 2
    _and_the_next_incremental_build_covers_all(raced)


@pytest.mark.parametrize("point", OUTSIDE[:3])
def test_a_lease_that_was_taken_away_takes_the_right_to_write_with_it(raced: Archive, point: str) -> None:
    """Also where the thief changes nothing else: what it embeds is not to be embedded twice."""
    taken: list[int] = []

    def take() -> None:
        if not taken:
            with open_archive(raced.path) as archive:
                archive.db.execute("UPDATE embed_leases SET owner = 'somebody else', host = 'elsewhere'")
                taken.append(archive.db.changes())
            Other(raced.path).check()

    written: list[int] = []

    def note_and_give_back(counts: RunCounts) -> None:
        written.append(counts.messages)
        raced.db.execute("DELETE FROM embed_leases WHERE host = 'elsewhere'")

    with action_at(point, take):
        run(raced, on_batch=note_and_give_back)
    assert taken == [1]
    assert written[0] == 0, "it wrote under a lease that was no longer its own"
    _and_the_next_incremental_build_covers_all(raced)


def test_a_build_that_mail_is_edited_under_all_the_time_ends_and_says_that_there_is_more_to_do(raced: Archive) -> None:
    """Each time that the build comes anywhere, everything it is about changes."""
    other = Other(raced.path)
    left = list(range(20))
    lock = threading.Lock()

    def change() -> None:
        with lock:
            if not left:
                return
            number = left.pop()
        with open_archive(raced.path) as archive:
            for message_id in (STAMPED, NEW, LATE):
                archive.db.execute("UPDATE messages SET subject = ? WHERE id = ?", (f"turn {number}", message_id))
        other.check()

    with action_at(OUTSIDE[0], change), action_at(OUTSIDE[1], change), action_at(OUTSIDE[2], change):
        assert run(raced).interrupted
        while left:
            run(raced)
    _and_the_next_incremental_build_covers_all(raced)


# The twin ------------------------------------------------------------------------------------------------------------


class NaiveArchive:
    """Scan and fill with the time of the last change, in seconds, as the token of compare-and-set."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.db = apsw.Connection(":memory:")
        self.db.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, text TEXT, changed_at INTEGER, embedded TEXT)")

    def write(self, text: str) -> None:
        self.db.execute(
            "INSERT INTO messages VALUES (1, ?1, ?2, NULL) ON CONFLICT DO UPDATE SET text = ?1, changed_at = ?2,"
            " embedded = NULL",
            (text, self.now),
        )

    def build(self, between: Callable[[], None]) -> None:
        found = self.db.execute("SELECT id, text, changed_at FROM messages WHERE embedded IS NULL").fetchall()
        between()
        for message_id, text, changed_at in found:
            self.db.execute(
                "UPDATE messages SET embedded = ? WHERE id = ? AND changed_at = ?", (text, message_id, changed_at)
            )

    def is_true(self) -> bool:
        return bool(self.db.execute("SELECT embedded IS NULL OR embedded = text FROM messages").fetchone()[0])


def test_twin_with_a_timestamp_of_seconds_a_stale_text_is_stamped() -> None:
    naive = NaiveArchive(now=1_000)
    naive.write("zebras")
    naive.build(between=lambda: naive.write("elephants"))
    assert not naive.is_true(), "the twin no longer fails: it proves nothing"
    naive.build(between=lambda: None)
    assert not naive.is_true(), "and it is not found again"

    def a_second_later() -> None:
        naive.now += 1
        naive.write("whales")

    naive.write("zebras")
    naive.build(between=a_second_later)
    assert naive.is_true(), "only a race within the second is lost: that is why it is not noticed"


def test_twin_without_the_comparison_a_stale_text_is_stamped_by_our_own_build(raced: Archive) -> None:
    """The same race over the real build, with the one comparison taken out: `content_rev` that does not move."""

    def unnoticed(db: apsw.Connection, message_id: int) -> None:
        trigger = "content_changed_body_update"
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (trigger,)).fetchall()[0]
        db.execute(f"DROP TRIGGER {trigger}")
        EDITS["body"](db, message_id)
        db.execute(str(sql))

    with pytest.raises(AssertionError, match="no longer theirs"):
        race(raced, "build.after_embedding", unnoticed, NEW)


@pytest.mark.parametrize("message_id", [STAMPED, NEW])
def test_twin_with_a_remembered_watermark_an_edit_during_the_batch_is_lost(raced: Archive, message_id: int) -> None:
    """The watermark as the end of what was scanned, instead of what has no more work below it. Of a new message, whose
    stamp is NULL already, as well."""
    other, edited = Other(raced.path), list[int]()

    def edit() -> None:
        if not edited:
            edited.append(message_id)
            other.edit(EDITS["body"], message_id)

    def set_as_remembered() -> None:
        raced.db.execute("UPDATE embed_watermark SET watermark_id = (SELECT max(id) FROM messages)")

    with action_at("build.after_embedding", edit), action_at("build.before_commit", set_as_remembered):
        run(raced)
    with pytest.raises(AssertionError, match="work below the watermark"):
        other.check()


@pytest.mark.parametrize("leaves", ["dies", "stops"])
def test_what_another_worker_held_is_taken_over_when_it_leaves_right_after_a_pass(
    archive: Archive, leaves: str
) -> None:
    """All was held during the pass, and nobody holds anything at the look after it."""
    for n in range(3):
        add(archive, f"subject {n}", "a text", message_id=f"held-{n}")
    embedder = WordHashEmbedder()
    job = choose_generation(archive, embedder, None, Wanted())
    with subprocess.Popen(["sleep", "60"]) as process:
        started_at = _started_at(process.pid) or ""
        other = replace(new_worker(None), process=replace(this_process(), pid=process.pid, started_at=started_at))
        assert claim(archive, job.generation.id, other, after=0) is not None

        class Leaving(Backstop):
            """Its end is between a pass and the look after it."""

            def finish(self) -> None:
                process.kill()
                process.wait()
                if leaves == "stops":
                    release(archive, other)

        backstop = Leaving(archive, job.generation.id)
        counts = Filler(archive, job, embedder, limits=NO_LIMITS, backstop=backstop, should_stop=lambda: False).run()
    assert counts.embedded == 3
