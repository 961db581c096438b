"""Damaged msgvault archives: refused with a reason, or imported in part, with what was left out. Never a traceback,
never an end of the process, and nothing that was here is lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import ACTIVE, SHAPES, Pair, Shape
from tests.kit.runner import Runners
from tests.kit.scale import scaled
from tests.msgvault.cast import CAST, CHAT, LONG, NEW, PLAIN, embedded
from vaultembed.archive.database import open_archive_readonly
from vaultembed.errors import UsageError, VaultembedError
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.result import Result

pytestmark = pytest.mark.slow

Cast = Callable[..., Pair]
DAMAGED_TABLES = {
    "message_bodies": "bodies of messages",
    "message_raw": "messages as they were sent",
    "participants": "people",
    "message_recipients": "recipients",
    "labels": "labels",
    "message_labels": "labels",
    "attachments": "attachments of chats",
}
WORTH = tuple(
    f"SELECT * FROM {table} ORDER BY 1, 2"
    for table in (
        "message_bodies",
        "message_raw",
        "message_recipients",
        "message_labels",
        "attachments",
        "messages",
        "embed_outcomes",
    )
)


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    found = Runners(tmp_path_factory.mktemp("runners"))
    yield found
    found.close()


@pytest.fixture
def copy(cast_of: Cast, tmp_path: Path) -> Callable[[Shape], Pair]:
    """Of the cast, to be damaged; in one file each, so that a truncated one has no log that makes it whole. Of a model
    that is not here, so that none is loaded to compare."""
    return lambda shape: cast_of(shape, wal=False, model="nomic-embed-text").copy(tmp_path / f"copy-{shape}")


def imported(archive: Path, pair: Pair) -> Result[Imported]:
    done = import_mail(archive, [pair.folder])
    check_invariants(archive)
    return done


def left_out(done: Result[Imported]) -> str:
    return " | ".join(done.data.msgvault[0].left_out)


@pytest.mark.parametrize("table", ["messages", "sources", "conversations"])
def test_without_its_main_tables_it_is_refused(copy: Callable[[Shape], Pair], archive: Path, table: str) -> None:
    pair = copy("v2")
    pair.write(f"DROP TABLE {table}")
    done = import_mail(archive, [pair.folder])
    assert done.exit_code == 1
    assert f"no whole msgvault archive: {table} missing" in done.notes[0]


ENDLESS: Final = (
    "ALTER TABLE {0} RENAME TO evil; CREATE VIEW {0} AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
    " SELECT evil.* FROM evil, c"
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("instead", ["DROP TABLE {0}", ENDLESS])
@pytest.mark.parametrize("table", DAMAGED_TABLES)
def test_without_another_table_the_rest_is_imported(
    copy: Callable[[Shape], Pair], archive: Path, table: str, instead: str
) -> None:
    pair = copy("v2")
    pair.write(instead.format(table))
    done = imported(archive, pair)
    assert done.exit_code == 1, "something that was asked for was not done"
    without_text = sum(one.raw is None for one in CAST) if table == "message_bodies" else 0
    assert done.data.counts.added == len(CAST) - without_text
    assert f"{DAMAGED_TABLES[table]} (its table {table} is missing)" in left_out(done)


def test_what_was_here_is_not_lost_to_a_later_damage(copy: Callable[[Shape], Pair], archive: Path) -> None:
    pair = copy("v2")
    imported(archive, pair)
    with open_archive_readonly(archive) as opened:
        before = [opened.rows(query) for query in WORTH]
    for table in DAMAGED_TABLES:
        pair.write(f"DROP TABLE {table}")
        done = imported(archive, pair)
        assert (done.data.counts.added, done.exit_code) == (0, 1)
        with open_archive_readonly(archive) as opened:
            assert [opened.rows(query) for query in WORTH] == before, table


@pytest.mark.parametrize("table", ["embeddings", "index_generations", f"vectors_vec_d{384}"])
@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_table_of_vectors_the_messages_are_imported(
    copy: Callable[[Shape], Pair], archive: Path, table: str, shape: Shape
) -> None:
    pair = copy(shape)
    pair.write(f"DROP TABLE {table}", name="vectors.db")
    done = imported(archive, pair)
    assert done.exit_code == 1
    assert done.data.counts.added == len(CAST)
    assert table in left_out(done)
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM generations") == 0


@pytest.mark.parametrize("shape", ["v0", "v1"])
def test_without_the_queue_no_vector_can_be_trusted(copy: Callable[[Shape], Pair], archive: Path, shape: Shape) -> None:
    pair = copy(shape)
    pair.write("DROP TABLE pending_embeddings", name="vectors.db")
    done = imported(archive, pair)
    assert done.exit_code == 1
    assert "pending_embeddings is missing" in left_out(done)
    assert done.data.msgvault[0].generations[0].again["not certain"] == len(embedded(shape)) + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_that_are_none(copy: Callable[[Shape], Pair], archive: Path, shape: Shape) -> None:
    pair = copy(shape)
    db = pair.open("vectors.db")
    key = "message_id" if shape == "v0" else "embedding_id"
    rows = db.execute(f"SELECT {key}, message_id FROM embeddings WHERE generation_id = ?", (ACTIVE,)).fetchall()
    ids = {message: number for number, message in rows}
    zero, infinite = bytes(4 * 384), (b"\0\0\x80\x7f" * 384)
    for number, vector in ((ids[PLAIN[0]], zero), (ids[PLAIN[1]], infinite)):
        db.execute(f"UPDATE vectors_vec_d384 SET embedding = ? WHERE {key} = ?", (vector, number))
    db.execute(f"DELETE FROM vectors_vec_d384 WHERE {key} = ?", (ids[PLAIN[2]],))
    db.close()
    done = imported(archive, pair)
    again = done.data.msgvault[0].generations[0].again
    assert again["vectors unusable"] == 2
    assert again["vectors missing"] >= 1
    assert done.data.msgvault[0].generations[0].embedded == len(embedded(shape)) - 3


@pytest.mark.parametrize("dimension", ["'many'", "100", "-8", "0", "99999999", "NULL"])
def test_a_dimension_that_is_none(copy: Callable[[Shape], Pair], archive: Path, dimension: str) -> None:
    pair = copy("v2")
    pair.write("PRAGMA writable_schema = ON", name="vectors.db")
    if dimension == "NULL":
        pair.write(
            "CREATE TABLE g AS SELECT * FROM index_generations; DROP TABLE index_generations;"
            " ALTER TABLE g RENAME TO index_generations",
            name="vectors.db",
        )
    pair.write(f"UPDATE index_generations SET dimension = {dimension}", name="vectors.db")
    done = imported(archive, pair)
    assert done.exit_code == 1
    assert "its dimension is" in left_out(done) or "is missing" in left_out(done)
    assert done.data.counts.added == len(CAST)


def test_a_generation_of_another_dimension_than_its_vectors(copy: Callable[[Shape], Pair], archive: Path) -> None:
    pair = copy("v2")
    db = pair.open("vectors.db")
    db.execute("DROP TABLE vectors_vec_d384")
    db.execute(
        "CREATE VIRTUAL TABLE vectors_vec_d384 USING vec0(generation_id INTEGER PARTITION KEY,"
        " embedding_id INTEGER PRIMARY KEY, embedding FLOAT[8])"
    )
    for (number,) in db.execute("SELECT embedding_id FROM embeddings").fetchall():
        db.execute(
            "INSERT INTO vectors_vec_d384(generation_id, embedding_id, embedding) VALUES (?, ?, ?)",
            (ACTIVE, number, b"\0\0\x80\x3f" * 8),
        )
    db.close()
    done = imported(archive, pair)
    assert done.data.msgvault[0].generations[0].again["vectors unusable"] == len(embedded("v2"))
    assert done.data.msgvault[0].generations[0].embedded == 0


def test_columns_with_other_types_of_values(copy: Callable[[Shape], Pair], archive: Path) -> None:
    pair = copy("v3")
    for sql in (
        f"UPDATE messages SET sent_at = x'00ff', subject = 5 WHERE id = {CHAT}",
        f"UPDATE messages SET sent_at = 'yesterday', deleted_at = NULL, sender_id = 'nobody' WHERE id = {LONG}",
        f"UPDATE messages SET conversation_id = 'none', embed_gen = 'three' WHERE id = {NEW}",
        f"UPDATE messages SET embed_gen = 3.5, message_type = x'ff' WHERE id = {PLAIN[3]}",
        f"UPDATE message_bodies SET body_text = x'c3280041' WHERE message_id = {CHAT}",
        f"UPDATE message_raw SET raw_data = 'no blob' WHERE message_id = {PLAIN[4]}",
        f"UPDATE message_raw SET raw_data = x'789c00' WHERE message_id = {PLAIN[5]}",
        f"UPDATE message_raw SET compression = 'zstd' WHERE message_id = {PLAIN[6]}",
        f"UPDATE message_raw SET encryption_version = 2 WHERE message_id = {PLAIN[7]}",
        "UPDATE participants SET display_name = x'ff00fe', email_address = NULL WHERE id = 2",
        "UPDATE attachments SET size = 'big', content_hash = 7, filename = x'ff'",
        "UPDATE sources SET source_type = x'fffe' WHERE id = 2",
    ):
        pair.write(sql)
    for sql in (
        "UPDATE embeddings SET chunk_index = 'first' WHERE embedding_id = 1",
        "UPDATE embeddings SET chunk_char_start = 'here', chunk_char_end = x'00' WHERE embedding_id = 2",
        "UPDATE embeddings SET source_char_len = 'long', embedded_at = 'then' WHERE embedding_id = 3",
        "UPDATE index_generations SET started_at = 'once', fingerprint = x'ff00' WHERE id = 3",
    ):
        pair.write(sql, name="vectors.db")
    done = imported(archive, pair)
    assert done.data.counts.added == len(CAST)
    assert done.data.counts.problems >= 5
    with open_archive_readonly(archive) as opened:
        kinds = dict(opened.rows("SELECT kind, count(*) FROM problems GROUP BY kind"))
    assert kinds["unreadable-raw"] == 4
    assert imported(archive, pair).data.counts.unchanged == len(CAST)


def test_an_empty_file_and_one_that_is_none(tmp_path: Path, archive: Path, copy: Callable[[Shape], Pair]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "msgvault.db").write_bytes(b"")
    done = import_mail(archive, [empty])
    assert done.exit_code == 1
    pair = copy("v2")
    pair.embeddings.write_bytes(b"not a database" * 100)
    done = imported(archive, pair)
    assert "is no SQLite database" in left_out(done)
    assert done.data.counts.added == len(CAST)


def test_vectors_named_that_go_with_nothing(tmp_path: Path, archive: Path, cast_of: Cast) -> None:
    pair = cast_of("v2")
    (tmp_path / "mail.eml").write_bytes(CAST[0].raw or b"")
    with pytest.raises(UsageError, match="none of the paths is one"):
        import_mail(archive, [tmp_path / "mail.eml"], vectors=pair.embeddings)
    with pytest.raises(UsageError, match="does not exist"):
        import_mail(archive, [pair.folder], vectors=tmp_path / "none.db")
    with pytest.raises(UsageError, match="is not a msgvault archive"):
        plan_import(archive, [tmp_path / "mail.eml"])
    with pytest.raises(VaultembedError):
        plan_import(archive, [tmp_path])
    assert not archive.exists()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["msgvault.db", "vectors.db"])
def test_truncated(copy: Callable[[Shape], Pair], runners: Runners, tmp_path: Path, shape: Shape, name: str) -> None:
    pair = copy(shape)
    whole = (pair.folder / name).read_bytes()
    for number, share in enumerate((0.0, 0.001, 0.1, 0.35, 0.6, 0.9, 0.99)):
        (pair.folder / name).write_bytes(whole[: int(len(whole) * share)])
        survives(runners, pair, tmp_path / f"{number}.db")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["msgvault.db", "vectors.db"])
def test_with_flipped_bytes(
    copy: Callable[[Shape], Pair], runners: Runners, tmp_path: Path, shape: Shape, name: str
) -> None:
    pair = copy(shape)
    whole = (pair.folder / name).read_bytes()
    chance = random.Random(f"{shape} {name}")
    for number in range(scaled(12)):
        damaged = bytearray(whole)
        page = chance.randrange(len(whole) // 4096) * 4096
        for _ in range(chance.choice((1, 20, 400))):
            damaged[page + chance.randrange(4096)] = chance.randrange(256)
        (pair.folder / name).write_bytes(damaged)
        survives(runners, pair, tmp_path / f"{number}.db")


def survives(runners: Runners, pair: Pair, archive: Path) -> None:
    run = runners.start("import", archive, "--source", pair.folder)
    code = run.wait()
    told = run.errors.read_text()
    assert code in (0, 1, 2, 74), told
    assert "Traceback" not in told
    assert "ValidationError" not in told
    if archive.exists() and archive.stat().st_size:
        check_invariants(archive)
    for path in archive.parent.glob(f"{archive.name}*"):
        path.unlink()


def test_a_copy_elsewhere_is_the_same_archive(cast_of: Cast, tmp_path: Path, archive: Path) -> None:
    pair = cast_of("v2")
    imported(archive, pair)
    moved = pair.copy(tmp_path / "moved")
    done = imported(archive, moved)
    assert (done.data.counts.added, done.data.counts.duplicate) == (0, len(CAST) - 2 + 2)
    assert done.data.msgvault[0].generations[0].generation == 1, "it was adopted before"
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM generations") == 1
    shutil.rmtree(moved.folder)
