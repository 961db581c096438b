"""Every kind of finding: made with plain SQL, found, repaired, and gone afterwards."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np
import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedded import embedded_archive
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.backup import Stopped
from vaultembed.archive.database import (
    open_archive,
    open_archive_readonly,
    open_for_repair,
    open_unchecked_readonly,
)
from vaultembed.archive.doctor.findings import Finding
from vaultembed.archive.doctor.fixes import fix_findings
from vaultembed.archive.doctor.inspect import inspect_archive
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.schema_files import read_migrations
from vaultembed.archive.trust import differences
from vaultembed.archive.upkeep.pruning import prune_generation
from vaultembed.embeddings.build import Wanted


def look(path: Path) -> list[Finding]:
    with open_unchecked_readonly(path) as archive:
        return inspect_archive(archive)


def fix(path: Path) -> list[str]:
    """As the command does: until there is nothing left to repair."""
    done = []
    for _ in range(3):
        findings = look(path)
        if not any(finding.fix for finding in findings):
            break
        with open_for_repair(path) as archive:
            archive.load_vec_unchecked()
            done += fix_findings(archive, findings)
    return done


def meddle(path: Path, *statements: str, without: tuple[str, ...] = ()) -> None:
    """Write as a program would that knows nothing of vaultembed, with some of the triggers out of the way."""
    db = apsw.Connection(str(path))
    db.pragma("foreign_keys", False)
    for trigger in without:
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        db.execute(statement)
        assert db.changes() or not statement.startswith(("UPDATE", "DELETE", "INSERT")), statement
    db.close()
    if without:
        _make_again(path, without)


def _make_again(path: Path, triggers: tuple[str, ...]) -> None:
    with open_for_repair(path) as archive:
        missing = {one.name: one.sql for one in differences(archive.db, read_migrations())}
        for trigger in triggers:
            archive.db.execute(missing[trigger])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generation 1 retired and pruned, 2 retired, 3 active with a scope: of 31 messages, one blank, one failed."""
    path = tmp_path_factory.mktemp("sound") / "a.db"
    with open_archive(path) as archive:
        fill(archive, 28)
        add(archive, "", "", message_id="blank")
        add(archive, "poison", "mushroom", message_id="bad")
        add(archive, "old", "letter", message_id="old", sent_at=1000)
        for name, wanted in (
            ("first", Wanted(model_named=True)),
            ("second", Wanted(model_named=True)),
            ("third", Wanted(model_named=True, scope=Scope(after=86_400))),
        ):
            run(archive, WordHashEmbedder(name, refused=["mushroom"]), wanted=wanted, max_failed=1)
        prune_generation(archive, 1)
        # as an import would
        refresh_stale(archive)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    db = apsw.Connection(str(sound))
    db.execute("VACUUM INTO ?", (str(tmp_path / "a.db"),))
    db.close()
    return tmp_path / "a.db"


def test_a_sound_archive_has_no_finding(path: Path) -> None:
    assert look(path) == []
    check_invariants(path)


def test_inspecting_changes_nothing(path: Path) -> None:
    meddle(path, "UPDATE live_count SET live = 3", "UPDATE embed_watermark SET watermark_id = 0")
    before = path.read_bytes()
    assert look(path)
    assert path.read_bytes() == before


STAMP_TRIGGERS = ("stamp_needs_outcome",)
LIES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "the counter of live messages": ("counters", lambda p: meddle(p, "UPDATE live_count SET live = 3")),
    "no counter of live messages": ("counters", lambda p: meddle(p, "DELETE FROM live_count")),
    "a counter of embedded messages": (
        "counters",
        lambda p: meddle(p, "UPDATE embed_coverage SET embedded = embedded + 1 WHERE generation_id = 3"),
    ),
    "a counter of chunks": ("counters", lambda p: meddle(p, "UPDATE embed_coverage SET chunks = 0")),
    "no counters": ("counters", lambda p: meddle(p, "DELETE FROM embed_coverage WHERE generation_id = 2")),
    "a message in trash that stands elsewhere": (
        "set_aside",
        lambda p: meddle(p, "UPDATE messages SET set_aside = 1 WHERE id = 5"),
    ),
    "a message in trash alone that counts as mail": (
        "set_aside",
        lambda p: meddle(
            p,
            "INSERT INTO sources VALUES (9, 'mbox', '/box', 0, NULL)",
            "INSERT INTO message_sources VALUES (9, 'k', 5, 'l', 'Trash', '', NULL, '[]', 'trash')",
            without=("set_aside_by_new_place",),
        ),
    ),
    "a stamp without an outcome": (
        "stamps",
        lambda p: meddle(
            p,
            "DELETE FROM embed_outcomes WHERE generation_id = 3 AND message_id = 29",
            without=("lost_outcome_clears_stamp",),
        ),
    ),
    "a stamp for an older text": (
        "stamps",
        lambda p: meddle(
            p,
            "UPDATE messages SET content_rev = content_rev + 1 WHERE id = 4",
            without=("revision_clears_stamp",),
        ),
    ),
    "a stamp of a pruned generation": (
        "stamps",
        lambda p: meddle(p, "UPDATE messages SET embed_gen = 1 WHERE id = 4", without=STAMP_TRIGGERS),
    ),
    "a stamp of a generation that never was": (
        "stamps_unknown",
        lambda p: meddle(p, "UPDATE messages SET embed_gen = 77 WHERE id = 4", without=STAMP_TRIGGERS),
    ),
    "embedded without chunks": (
        "embedded_without_chunks",
        lambda p: meddle(
            p,
            "UPDATE embed_outcomes SET outcome = 'embedded' WHERE generation_id = 3 AND message_id = 29",
            without=("embedded_needs_vectors_update",),
        ),
    ),
    "chunks of a message that is blank": (
        "chunks_without_outcome",
        lambda p: meddle(p, "UPDATE embed_outcomes SET outcome = 'blank' WHERE generation_id = 3 AND message_id = 5"),
    ),
    "chunks without an outcome": (
        "chunks_without_outcome",
        lambda p: meddle(p, "DELETE FROM embed_outcomes WHERE generation_id = 3 AND message_id = 5"),
    ),
    "a chunk without its vector": (
        "chunks_without_vector",
        lambda p: meddle(
            p,
            "DELETE FROM vectors WHERE chunk_id = (SELECT id FROM chunks WHERE generation_id = 3 AND message_id = 5)",
            without=("vector_deleted",),
        ),
    ),
    "a vector without its chunk": (
        "stray_rows",
        lambda p: meddle(
            p, f"INSERT INTO vectors VALUES (9999, x'00', {zlib.crc32(bytes(1))})", without=("vector_has_dimension",)
        ),
    ),
    "a text of a message that never was": (
        "stray_rows",
        lambda p: meddle(p, "INSERT INTO message_texts VALUES (999, 'p1', 'x')"),
    ),
    "outcomes of a generation that never was": (
        "stray_rows",
        lambda p: meddle(
            p,
            "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
            " VALUES (99, 1, 1, 'p1', 'blank', 0)",
        ),
    ),
    "an altered vector": (
        "vector_altered",
        lambda p: rewrite_vector(p, lambda v: bytes([v[0] ^ 255, *v[1:]]), keep=True),
    ),
    "a vector that is not finite": ("vector_malformed", lambda p: rewrite_vector(p, lambda v: b"\x00\x7e" + v[2:])),
    "a vector that is not normalised": (
        "vector_malformed",
        lambda p: rewrite_vector(p, lambda v: (np.frombuffer(v, "<f2") * 2).astype("<f2").tobytes()),
    ),
    "a vector of another dimension": (
        "vector_malformed",
        lambda p: meddle(
            p,
            f"UPDATE vectors SET embedding = zeroblob(8), checksum = {zlib.crc32(bytes(8))} WHERE chunk_id = 70",
            without=("vector_keeps_dimension",),
        ),
    ),
    "work below the watermark": (
        "watermark",
        lambda p: meddle(p, "UPDATE messages SET embed_gen = NULL WHERE id = 5", without=("work_appeared",)),
    ),
    "a member of a scope too many": ("scope", lambda p: meddle(p, "INSERT INTO scope_members VALUES (3, 31)")),
    "a member of a scope too few": (
        "scope",
        lambda p: meddle(p, "DELETE FROM scope_members WHERE message_id = 4"),
    ),
    "a trigger dropped": ("schema", lambda p: meddle(p, "DROP TRIGGER work_appeared")),
    "an index dropped": ("schema", lambda p: meddle(p, "DROP INDEX chunks_by_text")),
    "a view altered": (
        "schema",
        lambda p: meddle(p, "DROP VIEW stale_vectors", "CREATE VIEW stale_vectors AS SELECT 1"),
    ),
    "two active generations": (
        "states",
        lambda p: meddle(
            p,
            "DROP INDEX generations_one_active",
            "UPDATE generations SET state = 'active', retired_at = NULL WHERE id = 2",
            without=("generation_is_not_replaced_by_update",),
        ),
    ),
    "a message missing from the text index": (
        "text_missing",
        lambda p: in_archive(p, "DELETE FROM messages_fts WHERE rowid = 3"),
    ),
    "a text index that was emptied": (
        "text_index",
        lambda p: in_archive(p, "UPDATE messages_fts SET subject = '', body = '', people = '', files = ''"),
    ),
    "a text index emptied of some of its words": (
        "text_index",
        lambda p: in_archive(
            p, "DELETE FROM messages_fts WHERE rowid > 9", "INSERT INTO messages_fts(rowid, body) VALUES (10, ' ')"
        ),
    ),
    "a text index of which only the list is left": (
        "text_index",
        lambda p: meddle(
            p,
            "DELETE FROM messages_fts_data WHERE id > 10",
            "DELETE FROM messages_fts_idx",
            "UPDATE messages_fts_data SET block = x'0000000000' WHERE id = 10",
        ),
    ),
    "a text index without its settings": ("text_index", lambda p: meddle(p, "DELETE FROM messages_fts_config")),
    "a text index that cannot rank": (
        "text_index",
        lambda p: meddle(p, "UPDATE messages_fts_data SET block = x'00' WHERE id = 1"),
    ),
    "a text index that ranks by other lengths": (
        "text_index",
        lambda p: meddle(p, "UPDATE messages_fts_data SET block = x'1f7f7f7f7f' WHERE id = 1"),
    ),
    "no numbers left for messages": (
        "ids",
        lambda p: meddle(p, "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'messages'"),
    ),
    "no numbers left for chunks": (
        "ids",
        lambda p: meddle(p, "UPDATE sqlite_sequence SET seq = seq + 9e18 WHERE name = 'chunks'"),
    ),
    "a coarse index of more dimensions than sqlite-vec knows": (
        "coarse_index",
        lambda p: meddle(
            p,
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, 'bit[64]', 'bit[65536]') WHERE name = 'vec_3'",
        ),
    ),
    "a chunk missing from the coarse index": (
        "coarse_index",
        lambda p: in_archive(p, "DELETE FROM vec_3 WHERE rowid = 70"),
    ),
    "a row of the coarse index that is nobody's": (
        "coarse_index",
        lambda p: in_archive(p, "INSERT INTO vec_3(rowid, embedding) VALUES (9999, vec_bit(zeroblob(8)))"),
    ),
    "a row of the coarse index with other bits": (
        "coarse_index",
        lambda p: in_archive(
            p,
            "DELETE FROM vec_3 WHERE rowid = 70",
            "INSERT INTO vec_3(rowid, embedding) VALUES (70, vec_bit(zeroblob(8)))",
        ),
    ),
    "no coarse index": ("coarse_index", lambda p: in_archive(p, "DROP TABLE vec_2")),
    "a coarse index without one of its tables": (
        "coarse_index",
        lambda p: meddle(p, "DROP TABLE vec_3_vector_chunks00"),
    ),
    "a coarse index of which only parts are left": (
        "coarse_index",
        lambda p: meddle(
            p,
            "PRAGMA writable_schema = ON",
            "DELETE FROM sqlite_schema WHERE name = 'vec_3'",
            "PRAGMA writable_schema = OFF",
        ),
    ),
    "a coarse index whose blobs are cut off": (
        "coarse_index",
        lambda p: meddle(p, "UPDATE vec_3_chunks SET validity = x'00'"),
    ),
    "a coarse index with rows it does not list": (
        "coarse_index",
        lambda p: meddle(p, "UPDATE vec_3_rowids SET chunk_offset = 1000 WHERE rowid = 70"),
    ),
    "rows that name what never was": (
        "references",
        lambda p: meddle(
            p,
            "UPDATE messages SET sender_id = 99 WHERE id = 4",
            "INSERT INTO message_raw VALUES (999, 'zlib', x'')",
            "INSERT INTO thread_ids VALUES (999, 'one', 99)",
            "INSERT INTO message_references VALUES (5, 0, 999)",
        ),
    ),
    "a chunk noted as gone that is there": (
        "orphans_alive",
        lambda p: meddle(p, "INSERT INTO vec_orphans VALUES (3, 70)"),
    ),
}
LEFTOVERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "rows of chunks that are gone": (
        "orphans",
        lambda p: meddle(p, "PRAGMA foreign_keys = ON", "DELETE FROM messages WHERE id = 7"),
    ),
    "a message that was deleted": ("deleted", lambda p: meddle(p, "UPDATE messages SET deleted_at = 1 WHERE id = 7")),
    "a lease of a dead worker": (
        "leases",
        lambda p: meddle(
            p,
            "INSERT INTO embed_leases(generation_id, first_id, last_id, owner, host, boot_id, pid, pid_started_at,"
            " heartbeat_at, expires_at) VALUES (3, 1, 9, 'me', 'nowhere', '', 1, '', 1, 2)",
        ),
    ),
    "a text to be indexed": (
        "text_stale",
        lambda p: meddle(p, "UPDATE messages SET subject = 'other' WHERE id = 7"),
    ),
    "a text index entry of a message that is gone": (
        "text_gone",
        lambda p: in_archive(p, "INSERT INTO messages_fts(rowid, subject) VALUES (999, 'x')"),
    ),
    "a pruning that was interrupted": (
        "pruning",
        lambda p: meddle(p, "UPDATE generations SET pruned_at = 9 WHERE id = 2"),
    ),
    "a coarse index that no generation owns": (
        "coarse_index_unknown",
        lambda p: in_archive(p, "CREATE VIRTUAL TABLE vec_99 USING vec0(embedding bit[64])"),
    ),
    "a part of a coarse index that would be in the way of generation 4": (
        "coarse_index_unknown",
        lambda p: meddle(p, 'CREATE TABLE "vec_4_info" (key text primary key, value any)'),
    ),
}


def in_archive(path: Path, *statements: str) -> None:
    with open_archive(path) as archive:
        archive.load_vec()
        for statement in statements:
            archive.db.execute(statement)


def rewrite_vector(path: Path, change: Callable[[bytes], bytes], *, keep: bool = False) -> None:
    """Of chunk 70; `keep`: its checksum."""
    with open_archive(path) as archive:
        vector = archive.scalar("SELECT embedding FROM vectors WHERE chunk_id = 70")
        changed = change(vector)
        archive.db.execute("UPDATE vectors SET embedding = ? WHERE chunk_id = 70", (changed,))
        if not keep:
            archive.db.execute("UPDATE vectors SET checksum = ? WHERE chunk_id = 70", (zlib.crc32(changed),))


def test_a_second_name_of_the_file_is_told(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other name.db").hardlink_to(path)
    [found] = look(path)
    assert (found.kind, found.severity, found.count, found.fix) == ("names", "wrong", 2, None)
    assert "hard links" in found.what
    (tmp_path / "other name.db").unlink()
    assert look(path) == []


def test_a_text_index_that_finds_nothing_is_made_again(tmp_path: Path) -> None:
    path = embedded_archive(tmp_path / "a.db", 2_000)  # its words stand in several pages
    with open_archive(path) as archive:
        refresh_stale(archive)
        archive.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
    assert look(path) == []
    meddle(path, "DELETE FROM messages_fts_idx")
    assert [finding.kind for finding in look(path)] == ["text_index"]
    fix(path)
    assert look(path) == []
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'word777'") == [(778,)]


@pytest.mark.parametrize("what", [*LIES, *LEFTOVERS])
def test_what_is_wrong_is_found_repaired_and_gone(path: Path, what: str) -> None:
    kind, make = {**LIES, **LEFTOVERS}[what]
    messages = count_messages(path)
    make(path)
    messages -= "gone" in what and messages - count_messages(path)  # deleting was the damage
    found = [finding for finding in look(path) if finding.kind == kind]
    assert found, look(path)
    for finding in found:
        assert finding.count
        assert finding.fix
        assert (finding.severity == "leftover") == (what in LEFTOVERS)
    done = fix(path)
    assert done
    assert not any(sentence.startswith("Not repaired") for sentence in done), done
    assert look(path) == [], done
    check_invariants(path)
    assert count_messages(path) == messages
    with open_archive(path) as archive:
        run(archive, WordHashEmbedder("third", refused=["mushroom"]), max_failed=1, wanted=Wanted())
    assert look(path) == []
    check_invariants(path)


def count_messages(path: Path) -> int:
    with open_archive_readonly(path) as archive:
        return int(archive.scalar("SELECT count(*) FROM messages"))


def test_a_message_whose_vector_was_bad_is_missing_and_then_embedded_again(path: Path) -> None:
    rewrite_vector(path, lambda v: bytes([v[0] ^ 255, *v[1:]]), keep=True)
    with open_archive_readonly(path) as archive:
        (message,) = archive.rows("SELECT message_id FROM chunks WHERE id = 70")[0]
    fix(path)
    with open_archive(path) as archive:
        assert archive.rows("SELECT id FROM messages WHERE embed_gen IS NOT 3 AND sent_at > 86400") == [(message,)]
        embedder = WordHashEmbedder("third", refused=["mushroom"])
        run(archive, embedder, max_failed=1, wanted=Wanted())
        probes = 2  # of the model, before any work
        assert len(embedder.texts) == probes + 1
    check_invariants(path)


def test_an_index_that_is_damaged_is_made_again(path: Path) -> None:
    meddle(
        path,
        "PRAGMA writable_schema = ON",
        # of all rows that are to be in it, none is
        "UPDATE sqlite_schema SET sql = sql || ' AND subject <> subject' WHERE name = 'messages_deleted'",
    )
    meddle(path, "UPDATE messages SET deleted_at = 1 WHERE id = 3")
    with open_unchecked_readonly(path) as archive:
        right = next(one.sql for one in differences(archive.db, read_migrations()) if one.name == "messages_deleted")
    db = apsw.Connection(str(path))
    db.pragma("writable_schema", True)
    db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'messages_deleted'", (right,))
    db.close()
    found = look(path)
    assert [(f.kind, f.severity, f.fix) for f in found if f.severity == "damage"] == [
        ("index", "damage", "REINDEX messages_deleted")
    ]
    assert "Made the index messages_deleted again from its table" in fix(path)
    assert look(path) == []
    check_invariants(path)


def test_a_damaged_text_index_is_made_again(path: Path) -> None:
    meddle(path, "UPDATE messages_fts_data SET block = zeroblob(40) WHERE id > 10")
    assert "text_index" in {f.kind for f in look(path)}
    fix(path)
    assert look(path) == []
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'word7'") == [(8,)]


def test_mail_that_is_damaged_is_named_and_left_alone(path: Path) -> None:
    meddle(
        path,
        "UPDATE message_bodies SET body_text = CAST(x'80ff' AS TEXT) WHERE message_id = 4",
        "INSERT INTO message_raw VALUES (5, 'zlib', x'0011')",
        "INSERT INTO message_sources VALUES (9, 'k', 5, 'l', 'f', '', NULL, '[]', '')",
    )
    found = {f.kind: f for f in look(path) if f.severity == "damage"}
    assert set(found) == {"text", "raw", "references"}
    assert found["text"].examples == ("message 4",)
    assert found["raw"].examples == ("message 5",)
    assert found.pop("references").fix is not None
    for finding in found.values():
        assert finding.fix is None
        assert finding.way_out is not None
        wanted = "vaultembed repair-encoding" if finding.kind == "text" else "vaultembed restore"
        assert wanted in finding.way_out
    assert count_messages(path) == 31


def test_that_no_generation_is_active_any_more_is_told(path: Path) -> None:
    meddle(path, "UPDATE generations SET state = 'retired', retired_at = 1 WHERE id = 3")
    (finding,) = look(path)
    assert (finding.kind, finding.severity) == ("none_active", "leftover")


def test_an_inspection_can_be_stopped_anywhere(path: Path) -> None:
    steps: list[str] = []
    with open_archive_readonly(path) as archive:
        inspect_archive(archive, on_step=lambda what, _done, _total: steps.append(what))
        for last in range(1, len(steps), 5):
            seen: list[str] = []
            with pytest.raises(Stopped):
                inspect_archive(archive, lambda what, _d, _t: seen.append(what), lambda: len(seen) >= last)  # noqa: B023
        assert inspect_archive(archive) == []


def test_a_vector_packed_by_hand_counts_as_one(path: Path) -> None:
    """The twin of the malformed ones: a right vector from elsewhere is no finding."""
    vector = struct.pack("<64e", 1.0, *([0.0] * 63))
    with open_archive(path) as archive:
        archive.load_vec()
        archive.db.execute(
            "UPDATE vectors SET embedding = ?, checksum = ? WHERE chunk_id = 70", (vector, zlib.crc32(vector))
        )
        archive.db.execute("DELETE FROM vec_3 WHERE rowid = 70")
        archive.db.execute("INSERT INTO vec_3(rowid, embedding) VALUES (70, vec_bit(?))", (b"\x01" + bytes(7),))
    assert look(path) == []
