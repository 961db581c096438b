"""An archive with every kind of row in it, written with plain SQL."""

from __future__ import annotations

import math
import random
import struct
import zlib
from pathlib import Path

from tests.kit.archives import add, new_archive
from vaultembed.archive.database import Archive
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.archive.vector_format import to_bits

DIMENSION = 8


def embedded_archive(path: Path, messages: int, *, generations: int = 2) -> Path:
    """Messages with a vector each, in so many generations; the last is active, those before it retired."""
    with new_archive(path) as archive:
        archive.load_vec()
        for n in range(messages):
            add(archive, f"subject {n}", f"word{n} and some text", message_id=f"{n}@example.org")
        for generation in range(1, generations + 1):
            _embed(archive, generation, "active" if generation == generations else "retired")
    return path


def _embed(archive: Archive, generation: int, state: str) -> None:
    chance = random.Random(generation)
    with archive.transaction():
        archive.db.execute(
            "INSERT INTO models VALUES (?, 'm', ?, 'c', 'bert', ?, 'mean', 512, '', '', 'MIT', NULL, 0)",
            (generation, f"sha{generation}", DIMENSION),
        )
        archive.db.execute(
            "INSERT INTO generations(id, model_id, dimension, space, recipe, state, created_at, retired_at)"
            " VALUES (?1, ?1, ?2, 's', 'p1', ?3, 5, CASE ?3 WHEN 'retired' THEN 6 END)",
            (generation, DIMENSION, state),
        )
        archive.db.execute("INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (?, 0)", (generation,))
        archive.db.execute(vec_table_sql(generation, DIMENSION))
        for (message_id,) in archive.rows("SELECT id FROM messages ORDER BY id"):
            archive.db.execute(
                "INSERT INTO chunks(generation_id, message_id, chunk_index, char_start, char_end, text_hash,"
                " embedded_at) VALUES (?, ?, 0, 0, 5, x'00', 7)",
                (generation, message_id),
            )
            chunk = archive.db.last_insert_rowid()
            vector = _unit(chance)
            archive.db.execute("INSERT INTO vectors VALUES (?, ?, ?)", (chunk, vector, zlib.crc32(vector)))
            archive.db.execute(
                f"INSERT INTO vec_{generation}(rowid, embedding) VALUES (?, vec_bit(?))", (chunk, to_bits(vector))
            )
            archive.db.execute(
                "INSERT INTO embed_outcomes(generation_id, message_id, content_rev, recipe, outcome, at)"
                " SELECT ?, id, content_rev, 'p1', 'embedded', 7 FROM messages WHERE id = ?",
                (generation, message_id),
            )
            archive.db.execute("UPDATE messages SET embed_gen = ? WHERE id = ?", (generation, message_id))
        archive.db.execute("UPDATE embed_watermark SET watermark_id = (SELECT max(id) FROM messages)")


def _unit(chance: random.Random) -> bytes:
    numbers = [chance.gauss(0, 1) for _ in range(DIMENSION)]
    length = math.sqrt(sum(number * number for number in numbers))
    return struct.pack(f"<{DIMENSION}e", *(number / length for number in numbers))


def at_version(path: Path, version: int) -> Path:
    """Take an archive down to an older schema, with no backup."""
    from vaultembed.archive.database import open_older
    from vaultembed.archive.migrations import migrate_down
    from vaultembed.archive.schema_files import read_migrations

    with open_older(path) as archive:
        archive.load_vec()
        migrate_down(archive.db, version, read_migrations())
    return path


def content(archive: Archive) -> dict[str, list[tuple[object, ...]]]:
    """What an archive is about, to compare two."""
    queries = {
        "messages": "SELECT id, subject, content_rev, embed_gen FROM messages ORDER BY id",
        "bodies": "SELECT * FROM message_bodies ORDER BY 1",
        "generations": "SELECT id, state, created_at, retired_at FROM generations ORDER BY id",
        "outcomes": "SELECT * FROM embed_outcomes ORDER BY 1, 2",
        "vectors": "SELECT c.id, c.generation_id, c.message_id, v.embedding, v.checksum"
        " FROM chunks c JOIN vectors v ON v.chunk_id = c.id ORDER BY c.id",
    }
    return {name: archive.rows(query) for name, query in queries.items()}
