"""What an archive says of itself, counted from scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import count_chunks, coverage_of, generation_in_state, list_generations
from vaultembed.archive.vectors.nearest import nearest_messages

CHUNKS = (
    "SELECT generation_id, message_id, chunk_index, char_start, char_end, text_hash FROM chunks"
    " WHERE generation_id = ? ORDER BY message_id, chunk_index"
)
VECTORS = (
    "SELECT v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?"
    " ORDER BY message_id, chunk_index"
)
_CURRENT = (
    "SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev"
    " WHERE o.generation_id = ? AND m.deleted_at IS NULL AND o.outcome = ?"
)


def check_coverage(path: Path) -> None:
    """The counters of every generation that was not pruned are what counting gives."""
    with open_archive_readonly(path) as archive, archive.snapshot():
        for generation in list_generations(archive):
            if generation.pruned_at is not None:
                continue
            covered = coverage_of(archive, generation.id)
            assert covered.live == archive.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NULL")
            counted = [archive.scalar(_CURRENT, (generation.id, kind)) for kind in ("embedded", "blank", "failed")]
            assert [covered.embedded, covered.blank, covered.failed] == counted
            assert covered.in_part <= covered.embedded
            chunks = archive.scalar("SELECT count(*) FROM chunks WHERE generation_id = ?", (generation.id,))
            assert count_chunks(archive, generation.id) == chunks


def check_equal(path: Path, other: Path, generation: int = 1) -> None:
    """The same chunks, with the same vectors but for rounding."""
    with open_archive_readonly(path) as here, open_archive_readonly(other) as there:
        assert here.rows(CHUNKS, (generation,)) == there.rows(CHUNKS, (generation,))
        a, b = _vectors(here, generation), _vectors(there, generation)
        cosines = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.min() > 0.99999


def _vectors(archive: Archive, generation: int) -> np.ndarray:
    rows = archive.rows(VECTORS, (generation,))
    return np.array([np.frombuffer(row[0], "<f2") for row in rows], np.float32)


def states(path: Path) -> dict[int, str]:
    with open_archive_readonly(path) as archive:
        return {generation.id: generation.state for generation in list_generations(archive)}


def nearest(path: Path, text: str, limit: int = 5) -> list[int]:
    """By the active generation, through a connection of its own."""
    with open_archive_readonly(path) as archive, archive.snapshot():
        archive.load_vec()
        generation = generation_in_state(archive, "active")
        assert generation is not None, "no generation is active"
        query = WordHashEmbedder(generation.model.name).embed([text], "query").vectors[0]
        return [found.message_id for found in nearest_messages(archive, generation, query, limit, Filter())]
