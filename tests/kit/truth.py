"""What must be true of the vectors of an archive, asked of its texts and not of its bookkeeping."""

from __future__ import annotations

import numpy as np

from tests.kit.embedder import DIMENSION, WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import generation_with_id
from vaultembed.archive.generations.work import read_work
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.text.embeddable.prepare import prepare_text


def surfaced(archive: Archive, generation_id: int) -> dict[int, bool]:
    """Every message that search by meaning can find in a generation, and whether the chunk it is found by has the
    vector of the text that the message has now. Made with word-hash embedders only."""
    generation = generation_with_id(archive, generation_id)
    embedder = WordHashEmbedder(generation.model.name)
    query = np.full(DIMENSION, DIMENSION**-0.5, np.float32)
    found = nearest_messages(archive, generation, query, 10_000, Filter())
    truth = {}
    for neighbour in found:
        works = read_work(archive, [neighbour.message_id])
        if not works:
            truth[neighbour.message_id] = False
            continue
        text = prepare_text(works[0].subject, works[0].body_text)[neighbour.char_start : neighbour.char_end]
        stored = archive.scalar("SELECT embedding FROM vectors WHERE chunk_id = ?", (neighbour.chunk_id,))
        expected = embedder.embed([text]).vectors[0]
        truth[neighbour.message_id] = float(np.frombuffer(stored, "<f2").astype(np.float32) @ expected) > 0.999
    return truth


def check_surfaced(archive: Archive, generation_id: int) -> set[int]:
    """The messages that search can find; all of them by the text they have now."""
    with archive.snapshot():
        truth = surfaced(archive, generation_id)
    assert all(truth.values()), f"found by a text that is no longer theirs: {[m for m, ok in truth.items() if not ok]}"
    return set(truth)
