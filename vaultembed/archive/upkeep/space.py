"""What the archive takes on the disk: measured in this archive, to say what is still to come."""

from __future__ import annotations

from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import Generation, coverage_of
from vaultembed.archive.upkeep.shrinking import file_bytes, unused_bytes

BYTES_PER_CHUNK: Final = 300
"""Rows and indexes of a chunk besides its vector, measured on real mail."""
_CHARACTERS_PER_CHUNK: Final = 700
_SAMPLE: Final = 1_000


def bytes_per_message_byte(archive: Archive) -> float | None:
    """How much of the file there is for a byte of the mail as it was sent; None where there is no mail yet."""
    mail = archive.scalar("SELECT sum(size_bytes) FROM messages")
    if not mail:
        return None
    return (file_bytes(archive) - unused_bytes(archive)) / int(mail)


def bytes_to_embed(archive: Archive, generation: Generation) -> int:
    """About what the messages that a generation misses will add to the file.

    From what its embedded messages took; where there are none, from the length of the messages' text.
    """
    coverage = coverage_of(archive, generation.id)
    row = 2 * generation.dimension + generation.dimension // 8 + BYTES_PER_CHUNK
    if coverage.embedded:
        chunks = archive.scalar("SELECT chunks FROM embed_coverage WHERE generation_id = ?", (generation.id,))
        text = archive.scalar(
            "SELECT avg(length(CAST(text AS BLOB))) FROM (SELECT text FROM message_texts LIMIT ?)", (_SAMPLE,)
        )
        return round(coverage.missing * (row * int(chunks) / coverage.embedded + float(text or 0)))
    text = archive.scalar(
        "SELECT avg(length(CAST(body_text AS BLOB))) FROM (SELECT body_text FROM message_bodies LIMIT ?)", (_SAMPLE,)
    )
    characters = float(text or 0)
    return round(coverage.missing * (characters + row * (1 + characters / _CHARACTERS_PER_CHUNK)))
