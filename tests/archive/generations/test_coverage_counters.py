"""The counters are exact after whatever is done to the archive: a recount from scratch says so after each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.archives import add, new_message
from tests.kit.scale import scaled
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.scopes import EVERYTHING, Scope, write_scope
from vaultembed.archive.generations.work import sweep
from vaultembed.archive.mail.deletion import delete_softly, undelete
from vaultembed.archive.mail.messages import replace_message
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.archive.upkeep.pruning import collect_garbage

DIMENSION = 8
SCOPES = {1: EVERYTHING, 2: Scope(after=100, types=("email",)), 3: Scope(before=200, sources=(1,))}
# by another route than the view and the triggers
IN_SCOPE = {
    1: "1",
    2: "m.sent_at >= 100 AND m.message_type = 'email'",
    3: "m.sent_at < 200 AND m.id IN (SELECT message_id FROM message_sources WHERE source_id = 1)",
}

ids = st.integers(1, 6)
generations = st.sampled_from([1, 2, 3])
times = st.sampled_from([None, 50, 100, 150, 200, 250])
sources = st.sampled_from([1, 2])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), times),
        st.tuples(st.just("insert"), st.integers(1, 40), times),
        st.tuples(st.just("edit"), ids),
        st.tuples(st.just("edit body"), ids),
        st.tuples(st.just("delete body"), ids),
        st.tuples(st.just("delete"), ids),
        st.tuples(st.just("undelete"), ids),
        st.tuples(st.just("delete forever"), ids),
        st.tuples(st.just("delete rows"), ids),
        st.tuples(st.just("outcome"), generations, ids, st.sampled_from(["embedded", "blank", "failed"])),
        st.tuples(st.just("stale outcome"), generations, ids),
        st.tuples(st.just("change outcome"), generations, ids, st.sampled_from(["blank", "failed"])),
        st.tuples(st.just("outdate outcome"), generations, ids),
        st.tuples(st.just("forget outcome"), generations, ids),
        st.tuples(st.just("delete chunks"), generations, ids),
        st.tuples(st.just("delete vectors"), generations, ids),
        st.tuples(st.just("import again"), ids, times),
        st.tuples(st.just("delete and move"), ids, times),
        st.tuples(st.just("move"), ids, times),
        st.tuples(st.just("retype"), ids, st.sampled_from(["email", "chat"])),
        st.tuples(st.just("stand"), sources, ids, st.integers(1, 3)),
        st.tuples(st.just("restand"), sources, ids, st.integers(1, 3)),
        st.tuples(st.just("leave"), sources, st.integers(1, 3)),
        st.tuples(st.just("throw away"), sources, st.integers(1, 3), st.sampled_from(["", "trash", "spam"])),
        st.tuples(st.just("go"), sources, st.integers(1, 3), st.sampled_from([None, 7, 8])),
        st.tuples(st.just("delete source"), sources),
        st.tuples(st.just("bump"), ids),
        st.tuples(st.just("collect")),
    ),
    max_size=25,
)


@contextmanager
def three_generations() -> Iterator[Archive]:
    """1 active, 2 retired, 3 building; all but the first have a scope."""
    with TemporaryDirectory() as folder, open_archive(Path(folder) / "a.db") as archive:
        archive.load_vec()
        archive.db.pragma("synchronous", 0)
        archive.db.execute("INSERT INTO sources VALUES (1, 'mbox', '/one', 0, NULL), (2, 'mbox', '/two', 0, NULL)")
        archive.db.execute(
            "INSERT INTO models VALUES (1, 'm', 's', 'c', 'bert', ?, 'mean', 512, '', '', 'MIT', NULL, 0)", (DIMENSION,)
        )
        for generation, state in ((1, "active"), (2, "retired"), (3, "building")):
            scope = SCOPES[generation]
            archive.db.execute(
                "INSERT INTO generations(id, model_id, dimension, space, recipe, state, created_at, scope, scope_after,"
                " scope_before) VALUES (?, 1, ?, 's', 'p1', ?, 0, ?, ?, ?)",
                (generation, DIMENSION, state, scope.tag, scope.after, scope.before),
            )
            archive.db.execute("INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (?, 0)", (generation,))
            write_scope(archive, generation, scope)
            archive.db.execute(vec_table_sql(generation, DIMENSION))
        yield archive


def outcome(archive: Archive, generation: int, message: int, what: str, behind: int = 0) -> None:
    """As a build writes it; `behind`: of a text that has changed since."""
    rev = archive.scalar("SELECT content_rev FROM messages WHERE id = ?", (message,))
    if rev is None or rev <= behind:
        return
    with archive.transaction():
        key = (generation, message)
        archive.db.execute("DELETE FROM chunks WHERE generation_id = ? AND message_id = ?", key)
        for index in range(2 if what == "embedded" else 0):
            archive.db.execute("INSERT INTO chunks VALUES (NULL, ?, ?, ?, 0, 5, x'00', 0)", (*key, index))
            chunk = archive.db.last_insert_rowid()
            archive.db.execute("INSERT INTO vectors VALUES (?, zeroblob(?), 0)", (chunk, 2 * DIMENSION))
            archive.db.execute(f"INSERT INTO vec_{generation}(rowid, embedding) VALUES (?, vec_bit(x'00'))", (chunk,))
        archive.db.execute(
            "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, reason, at)"
            " VALUES (?, ?, ?, 'p1', ?, ?, 0) ON CONFLICT DO UPDATE SET content_rev = excluded.content_rev,"
            " outcome = excluded.outcome, reason = excluded.reason",
            (*key, rev - behind, what, "why" if what == "failed" else None),
        )
        if not behind:
            archive.db.execute("UPDATE messages SET embed_gen = ? WHERE id = ? AND deleted_at IS NULL", key)
        if generation == 3:
            sweep(archive, 3)


def do(archive: Archive, operation: tuple[object, ...]) -> None:
    sql = archive.db.execute
    match operation:
        case ("add", sent_at):
            newest = archive.scalar("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
            add(archive, f"subject {newest}", "body", message_id=str(newest), sent_at=sent_at)
        case ("insert", message, sent_at):
            sql(
                "INSERT INTO messages(id, sent_at, subject) VALUES (?, ?, 's') ON CONFLICT DO NOTHING",
                (message, sent_at),
            )
        case ("edit", message):
            sql("UPDATE messages SET subject = subject || 'x' WHERE id = ?", (message,))
        case ("edit body", message):
            sql("UPDATE message_bodies SET body_text = body_text || 'x' WHERE message_id = ?", (message,))
        case ("delete body", message):
            sql("DELETE FROM message_bodies WHERE message_id = ?", (message,))
        case ("delete", message):
            delete_softly(archive, [message])
        case ("undelete", message):
            undelete(archive, [message])
        case ("delete forever", message):
            delete_forever(archive, [message])
        case ("delete rows", message):
            sql("DELETE FROM messages WHERE id = ?", (message,))
        case ("outcome", generation, message, what):
            outcome(archive, generation, message, what)
        case ("stale outcome", generation, message):
            sql("UPDATE messages SET content_rev = content_rev + 1 WHERE id = ?", (message,))  # it never becomes older
            outcome(archive, generation, message, "embedded", behind=1)
        case ("change outcome", generation, message, what):
            sql(
                "UPDATE embed_outcomes SET outcome = ?1, reason = CASE ?1 WHEN 'failed' THEN 'why' END"
                " WHERE generation_id = ?2 AND message_id = ?3",
                (what, generation, message),
            )
        case ("outdate outcome", generation, message):
            sql(
                "UPDATE embed_outcomes SET content_rev = content_rev - 1 WHERE generation_id = ? AND message_id = ?",
                (generation, message),
            )
        case ("forget outcome", generation, message):
            sql("DELETE FROM embed_outcomes WHERE generation_id = ? AND message_id = ?", (generation, message))
        case ("delete chunks", generation, message):
            sql("DELETE FROM chunks WHERE generation_id = ? AND message_id = ?", (generation, message))
        case ("delete vectors", generation, message):
            sql(
                "DELETE FROM vectors WHERE chunk_id ="
                " (SELECT id FROM chunks WHERE generation_id = ? AND message_id = ?)",
                (generation, message),
            )
        case ("import again", message, sent_at):
            row = archive.row("SELECT subject, rfc822_message_id FROM messages WHERE id = ?", (message,))
            if row is not None:
                with archive.transaction():
                    replace_message(
                        archive, message, new_message(row[0], "body", message_id=str(message), sent_at=sent_at)
                    )
        case ("delete and move", message, sent_at):
            sql(
                "UPDATE messages SET sent_at = ?, deleted_at = CASE WHEN deleted_at IS NULL THEN 1 END WHERE id = ?",
                (sent_at, message),
            )
        case ("move", message, sent_at):
            sql("UPDATE messages SET sent_at = ? WHERE id = ?", (sent_at, message))
        case ("retype", message, kind):
            sql("UPDATE messages SET message_type = ? WHERE id = ?", (kind, message))
        case ("stand", source, message, key):
            sql(
                "INSERT INTO message_sources SELECT s.id, ?, m.id, '', '', '', NULL, '[]', ?"
                " FROM sources s, messages m WHERE s.id = ? AND m.id = ?"
                " ON CONFLICT DO UPDATE SET message_id = excluded.message_id, set_aside = excluded.set_aside",
                (str(key), ("", "trash", "spam")[(message + int(key)) % 3], source, message),
            )
        case ("restand", source, message, key):
            sql(
                "UPDATE OR IGNORE message_sources SET source_id = 3 - source_id WHERE source_id = ? AND message_id = ?"
                " AND source_key = ? AND EXISTS (SELECT 1 FROM sources WHERE id = 3 - source_id)",
                (source, message, str(key)),
            )
        case ("leave", source, key):
            sql("DELETE FROM message_sources WHERE source_id = ? AND source_key = ?", (source, str(key)))
        case ("throw away", source, key, kind):
            sql(
                "UPDATE message_sources SET set_aside = ? WHERE source_id = ? AND source_key = ?",
                (kind, source, str(key)),
            )
        case ("go", source, key, at):
            sql("UPDATE message_sources SET gone_at = ? WHERE source_id = ? AND source_key = ?", (at, source, str(key)))
        case ("delete source", source):
            # of one that a generation is limited to, the limit would go as well
            if source != 1:
                sql("DELETE FROM sources WHERE id = ?", (source,))
        case ("bump", message):
            sql("UPDATE messages SET content_rev = content_rev + 1 WHERE id = ?", (message,))
        case ("collect",):
            collect_garbage(archive)
        case other:
            raise AssertionError(other)


def recount(archive: Archive) -> None:
    for message, is_aside in archive.rows("SELECT id, set_aside FROM messages"):
        places = archive.rows("SELECT gone_at, set_aside FROM message_sources WHERE message_id = ?", (message,))
        last = {at for at, _ in places if at is None} or {max((at for at, _ in places), default=None)}
        assert is_aside == (places != [] and all(kind for at, kind in places if at in last)), message
    live = archive.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NULL")
    assert archive.scalar("SELECT live FROM live_count") == live
    for generation, condition in IN_SCOPE.items():
        if generation > 1:
            members = archive.rows(
                "SELECT message_id FROM scope_members WHERE generation_id = ? ORDER BY 1", (generation,)
            )
            assert members == archive.rows(f"SELECT m.id FROM messages m WHERE {condition} ORDER BY 1")
        expected = archive.rows(
            "SELECT count(*), count(*) FILTER (WHERE o.outcome = 'embedded'),"
            " count(*) FILTER (WHERE o.outcome = 'blank'),"
            " count(*) FILTER (WHERE o.outcome = 'failed'), (SELECT count(*) FROM chunks WHERE generation_id = ?1)"
            " FROM messages m LEFT JOIN embed_outcomes o ON o.generation_id = ?1 AND o.message_id = m.id"
            f" AND o.content_rev = m.content_rev WHERE m.deleted_at IS NULL AND {condition}",
            (generation,),
        )
        counted = archive.rows(
            "SELECT live, embedded, blank, failed, chunks FROM embed_coverage WHERE generation_id = ?", (generation,)
        )
        assert counted == expected, f"generation {generation}"
        orphans = archive.rows(
            f"SELECT rowid FROM vec_{generation} WHERE rowid NOT IN (SELECT id FROM chunks) ORDER BY rowid"
        )
        assert orphans == archive.rows(
            "SELECT chunk_id FROM vec_orphans WHERE generation_id = ? ORDER BY 1", (generation,)
        )
    # whatever a build is to take out must be listed; a name too many costs it one look
    assert not archive.rows(
        "SELECT id FROM messages WHERE deleted_at IS NOT NULL"
        " AND id NOT IN (SELECT message_id FROM deleted_with_remains)"
        " AND (id IN (SELECT message_id FROM chunks) OR id IN (SELECT message_id FROM embed_outcomes))"
    )
    # the building generation is swept after each outcome, as a build does: no work may be left below its watermark
    assert not archive.rows(
        f"SELECT m.id FROM messages m WHERE m.deleted_at IS NULL AND m.embed_gen IS NOT 3 AND {IN_SCOPE[3]}"
        " AND m.id <= (SELECT watermark_id FROM embed_watermark WHERE generation_id = 3)"
    )
    assert not archive.rows(
        "SELECT m.id FROM messages m LEFT JOIN embed_outcomes o ON o.generation_id = m.embed_gen"
        " AND o.message_id = m.id AND o.content_rev = m.content_rev"
        " WHERE m.embed_gen IS NOT NULL AND o.message_id IS NULL"
    )


@settings(max_examples=scaled(60), deadline=None)
@given(operations)
def test_counters_are_what_a_recount_gives(steps: list[tuple[object, ...]]) -> None:
    with three_generations() as archive:
        for message in range(1, 4):
            do(archive, ("add", 50 * message))
            do(archive, ("stand", 1, message, message))
            do(archive, ("outcome", 3, message, "embedded"))
        recount(archive)
        for step in steps:
            do(archive, step)
            recount(archive)


def test_a_recount_notices_a_counter_that_is_wrong() -> None:
    with three_generations() as archive:
        do(archive, ("add", 150))
        recount(archive)
        for counter in ("live", "embedded", "blank", "failed", "chunks"):
            archive.db.execute(f"UPDATE embed_coverage SET {counter} = {counter} + 1 WHERE generation_id = 2")
            with pytest.raises(AssertionError):
                recount(archive)
            archive.db.execute(f"UPDATE embed_coverage SET {counter} = {counter} - 1 WHERE generation_id = 2")
