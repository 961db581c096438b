"""Reads a generation whole, to see whether it is sound."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import ADOPTED_RECIPE
from vaultembed.text.embeddable.chunking import text_hash

_HAS: Final = (
    "EXISTS (SELECT 1 FROM embed_outcomes e WHERE e.generation_id = {1} AND e.message_id = {0}.id"
    " AND e.content_rev = {0}.content_rev AND e.outcome = 'embedded')"
)


@dataclass(frozen=True, slots=True)
class StoredVector:
    chunk_id: int
    embedding: bytes
    checksum: int


def vectors_of_generation(archive: Archive, generation_id: int) -> Iterator[StoredVector]:
    """Every vector, in the order of ids; streams."""
    for row in archive.stream(
        "SELECT v.chunk_id, v.embedding, v.checksum FROM vectors v CROSS JOIN chunks c ON c.id = v.chunk_id"
        " WHERE c.generation_id = ? ORDER BY v.chunk_id",
        (generation_id,),
    ):
        yield StoredVector(*row)


def read_sample(
    archive: Archive, generation_id: int, count: int, pick: random.Random, *, adopted_below: int | None = None
) -> list[tuple[str, bytes]]:
    """Text and stored vector of so many different chunks picked at random, or of as many as there are: of messages
    whose outcome is current and whose stored text is the one that was embedded.

    Of those made here; or, with `adopted_below`, of adopted ones of at most so many characters."""
    sample: list[tuple[str, bytes]] = []
    # spare ones: of some, the message was edited or deleted since
    for chunk in _pick_chunks(archive, generation_id, 16 * count, pick):
        row = archive.row(
            "SELECT c.char_start, c.char_end, t.text, v.embedding, c.text_hash FROM chunks c"
            " CROSS JOIN messages m ON m.id = c.message_id AND m.deleted_at IS NULL"
            " CROSS JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = c.message_id"
            f"      AND o.content_rev = m.content_rev AND (o.recipe GLOB '{ADOPTED_RECIPE}*') = ?"
            " CROSS JOIN message_texts t ON t.message_id = c.message_id"
            "      AND t.preparation = substr(o.recipe, 1, instr(o.recipe || ':', ':') - 1)"
            " CROSS JOIN vectors v ON v.chunk_id = c.id"
            " WHERE c.id = ?",
            (adopted_below is not None, chunk),
        )
        if row is not None:
            start, end, whole, embedding, digest = row
            text = whole[start:end]
            # the text of an adopted one may have been told for another generation, of another text
            if adopted_below is None or (len(text) <= adopted_below and text_hash(text) == digest):
                sample.append((text, embedding))
        if len(sample) == count:
            break
    return sample


def _pick_chunks(archive: Archive, generation_id: int, most: int, pick: random.Random) -> list[int]:
    """At random so many chunks of a generation, or all, in random order; not all of them are held at a time. By their
    place: by id, nearly every pick would fall into a gap that other generations left between them, and give the one
    chunk behind it."""
    stored = int(archive.scalar("SELECT count(*) FROM chunks WHERE generation_id = ?", (generation_id,)))
    rows = archive.stream(
        "SELECT id FROM chunks WHERE generation_id = ? ORDER BY message_id, chunk_index", (generation_id,)
    )
    places = set(pick.sample(range(stored), min(most, stored)))
    picked = [row[0] for place, row in enumerate(rows) if place in places]
    pick.shuffle(picked)
    return picked


def count_unsound(archive: Archive, generation_id: int) -> int:
    """Messages embedded without chunks, or with chunks and no embedded outcome; chunks without a vector, or without a
    row in the coarse index. Needs `load_vec`."""
    embedded = "SELECT 1 FROM embed_outcomes o WHERE o.generation_id = ?1 AND o.outcome = 'embedded'"
    chunks = "SELECT 1 FROM chunks c WHERE c.generation_id = ?1"
    # vec0's table of ids is an ordinary one: joining the virtual table itself would take a scan a chunk
    queries = (
        f"{embedded} AND NOT EXISTS ({chunks} AND c.message_id = o.message_id)",
        f"{chunks} AND NOT EXISTS ({embedded} AND o.message_id = c.message_id)",
        f"{chunks} AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk_id = c.id)",
        f"{chunks} AND NOT EXISTS (SELECT 1 FROM vec_{generation_id}_rowids r WHERE r.rowid = c.id)",
    )
    return sum(int(archive.scalar(f"SELECT count(*) FROM ({query})", (generation_id,))) for query in queries)


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message that two generations have embedded."""

    id: int
    text: str
    """Embeddable."""
    answers: int | None
    """The message that it answers, if they have embedded that too."""


def read_known_messages(
    archive: Archive, generation_id: int, other_id: int, count: int, pick: random.Random
) -> list[KnownMessage]:
    """So many different messages picked at random, or as many as there are; the text as the first generation has it."""

    def in_both(alias: str) -> str:
        return f"{_HAS.format(alias, '?2')} AND {_HAS.format(alias, '?3')}"

    messages: dict[int, KnownMessage] = {}
    for chunk in _pick_chunks(archive, generation_id, 4 * count, pick):
        row = archive.row(
            "SELECT m.id, t.text, (SELECT a.id FROM messages a WHERE a.rfc822_message_id = m.in_reply_to"
            f" AND a.id <> m.id AND a.deleted_at IS NULL AND {in_both('a')} LIMIT 1)"
            " FROM chunks c CROSS JOIN messages m ON m.id = c.message_id AND m.deleted_at IS NULL"
            " CROSS JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = m.id"
            "      AND o.content_rev = m.content_rev"
            " CROSS JOIN message_texts t ON t.message_id = m.id"
            "      AND t.preparation = substr(o.recipe, 1, instr(o.recipe || ':', ':') - 1)"
            f" WHERE c.id = ?1 AND {_HAS.format('m', '?3')}",
            (chunk, generation_id, other_id),
        )
        if row is not None:
            messages.setdefault(row[0], KnownMessage(*row))
        if len(messages) == count:
            break
    return list(messages.values())


def covered_by(generation_id: int) -> Filter:
    """Messages that a generation has embedded as they are."""
    return Filter(_HAS.format("m", "?"), (generation_id,))
