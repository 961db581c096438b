"""Ranks messages by words, by meaning, or by both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.mail.lexical import newest, rank_by_words
from vaultembed.search.query import Query

if TYPE_CHECKING:  # text search does without numpy
    from vaultembed.archive.vectors.coarse_in_memory import KeptBits
    from vaultembed.archive.vectors.nearest import Neighbour
    from vaultembed.search.answering import Answerer

Mode = Literal["hybrid", "vector", "text"]

DEPTH: Final = 200
"""How far down each ranking takes part in the fusion."""
RRF_K: Final = 60
"""Reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one ranking said of a message."""

    rank: int
    """From 1."""
    score: float
    """bm25, or cosine similarity. Not comparable with another ranking's, nor with another generation's."""
    generation: int | None = None
    """Whose vectors were ranked; None for words."""
    model: str | None = None
    """That made them."""


@dataclass(frozen=True, slots=True)
class Span:
    """Code points into the embeddable text."""

    chunk_id: int
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A message, and the evidence for it."""

    message_id: int
    score: float
    text: Signal | None
    vector: Signal | None
    span: Span | None
    """The chunk nearest to the query."""


def by_words(archive: Archive, query: Query, limit: int) -> list[Hit]:
    """Best first by bm25. Newest first where the query is only filters."""
    if query.text:
        match = query.match_distinctive(archive) or query.match_any()
        return _ranked(archive, match, query, limit)
    found = newest(archive, limit, query.only)
    return [Hit(message_id, 0.0, None, None, None) for message_id in found]


def by_distinctive_words(archive: Archive, query: Query, limit: int) -> list[Hit]:
    """Best first by bm25, where the query has words that tell messages apart: what has only the others is no evidence
    to be fused with that of another ranking."""
    return _ranked(archive, query.match_distinctive(archive), query, limit)


def _ranked(archive: Archive, match: str | None, query: Query, limit: int) -> list[Hit]:
    if match is None:
        return []
    ranked = rank_by_words(archive, match, limit, query.only)
    return [
        Hit(message_id, score, Signal(rank, score), None, None) for rank, (message_id, score) in enumerate(ranked, 1)
    ]


def by_meaning(
    archive: Archive,
    query: Query,
    answerer: Answerer,
    limit: int,
    *,
    on_damage: Callable[[str], None] = lambda _: None,
    kept_bits: KeptBits | None = None,
    without: int | None = None,
) -> list[Hit]:
    """Best first by cosine similarity of the best chunk.

    `on_damage` is told when the coarse index cannot be used. `kept_bits`: the coarse indexes, where they are kept in
    memory. `without`: the id of a message to be left out.
    """
    from vaultembed.archive.vectors.nearest import nearest_messages

    generation = answerer.generation

    def hit(rank: int, found: Neighbour) -> Hit:
        span = Span(found.chunk_id, found.char_start, found.char_end)
        return Hit(
            found.message_id, found.score, None, Signal(rank, found.score, generation.id, generation.model_label), span
        )

    if kept_bits is None:
        archive.load_vec()
    most = limit if without is None else limit + 1
    nearest = nearest_messages(
        archive,
        generation,
        answerer.vector,
        most,
        query.only,
        rest=answerer.rest,
        on_damage=on_damage,
        kept=kept_bits,
    )
    others = [found for found in nearest if found.message_id != without][:limit]
    return [hit(rank, found) for rank, found in enumerate(others, 1)]


def by_answerers(
    archive: Archive,
    query: Query,
    answerers: Sequence[Answerer],
    limit: int,
    *,
    on_damage: Callable[[int, str], None],
    kept_bits: KeptBits | None = None,
    without: int | None = None,
) -> list[Hit]:
    """The rankings of all generations that answer, one after the other: no message is in two of them. `fuse` makes one
    ranking of them. `on_damage` is told of which generation, too; `kept_bits`, `without`: as `by_meaning`."""
    hits: list[Hit] = []
    for answerer in answerers:
        damaged = partial(on_damage, answerer.generation.id)
        hits += by_meaning(archive, query, answerer, limit, on_damage=damaged, kept_bits=kept_bits, without=without)
    return hits


def fuse(by_text: list[Hit], by_vector: list[Hit], limit: int, shares: Mapping[int, float] | None = None) -> list[Hit]:
    """One ranking of several, by ranks alone: scores of different kinds, or of different spaces, say nothing to each
    other.

    `shares`: of the messages, what each generation answers for; 1 where it is not named. Rank r among them counts as
    r / share: the best of the first hundred messages embedded is not the best of all.
    """
    text = {hit.message_id: hit for hit in by_text}
    vector = {hit.message_id: hit for hit in by_vector}
    fused = []
    for message_id in text.keys() | vector.keys():
        of_text = text[message_id].text if message_id in text else None
        of_vector, span = (vector[message_id].vector, vector[message_id].span) if message_id in vector else (None, None)
        score = 0.0
        if of_text:
            score += 1 / (RRF_K + of_text.rank)
        if of_vector:
            share = (shares or {}).get(of_vector.generation or 0, 1.0)
            score += 1 / (RRF_K + of_vector.rank / share)
        fused.append(Hit(message_id, score, of_text, of_vector, span))
    fused.sort(key=lambda hit: (-hit.score, hit.message_id))
    return fused[:limit]
