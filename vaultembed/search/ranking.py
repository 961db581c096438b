"""Ranks messages by words, by meaning, or by both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.mail.lexical import Weighed, newest, rank_by_words
from vaultembed.search.query import Query

if TYPE_CHECKING:  # text search does without numpy
    from vaultembed.archive.vectors.coarse_in_memory import KeptBits
    from vaultembed.archive.vectors.nearest import Neighbour
    from vaultembed.search.answering import Answerer

Mode = Literal["hybrid", "vector", "text"]

DEPTH: Final = 100
"""How far down each ranking gives candidates to search by both."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one ranking said of a message."""

    rank: int | None
    """From 1, within the generation; None where the other ranking found the message, and this one was asked of it."""
    score: float
    """Share of the query's weight in words, or cosine similarity. The latter compares only within one model."""
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
    """From 0, where nothing speaks for the message, to 1. By meaning, 0 is as near as unrelated messages are."""
    text: Signal | None
    vector: Signal | None
    span: Span | None
    """The chunk nearest to the query."""


def by_words(archive: Archive, query: Query, words: Weighed, limit: int, also: Sequence[int] = ()) -> list[Hit]:
    """The best `limit` by bm25, best first; newest first where the query is conditions alone. `also`: messages found
    otherwise; they are in it if they match."""
    if not query.text:
        return [Hit(message_id, 0.0, None, None, None) for message_id in newest(archive, limit, query.only)]
    if words.match is None:
        return []
    hits = []
    for rank, match in enumerate(rank_by_words(archive, words.match, limit, query.only, also), 1):
        # by bm25 alone, one word in a long message is next to nothing, though nobody else may have it
        evidence = Signal(rank if rank <= limit else None, words.share((match.bm25 + match.present) / 2))
        hits.append(Hit(match.message_id, words.share(match.bm25), evidence, None, None))
    return hits


def by_meaning(
    archive: Archive,
    query: Query,
    answerers: Sequence[Answerer],
    limit: int,
    *,
    on_damage: Callable[[int, str], None] = lambda *_: None,
    kept_bits: KeptBits | None = None,
    without: int | None = None,
) -> list[Hit]:
    """Best first by the best chunk. No message is answered for by two generations.

    `on_damage` is told when the coarse index of a generation cannot be used. `kept_bits`: the coarse indexes, where
    they are kept in memory. `without`: the id of a message to be left out.
    """
    from vaultembed.archive.vectors.nearest import nearest_messages

    if kept_bits is None:
        archive.load_vec()
    hits = []
    for answerer in answerers:
        nearest = nearest_messages(
            archive,
            answerer.generation,
            answerer.vector,
            limit if without is None else limit + 1,
            query.only,
            rest=answerer.rest,
            on_damage=partial(on_damage, answerer.generation.id),
            kept=kept_bits,
        )
        others = [found for found in nearest if found.message_id != without][:limit]
        hits += [_near(answerer, found, rank) for rank, found in enumerate(others, 1)]
    return _best(hits, limit)


def by_both(
    archive: Archive,
    query: Query,
    words: Weighed,
    answerers: Sequence[Answerer],
    limit: int,
    *,
    on_damage: Callable[[int, str], None] = lambda *_: None,
    kept_bits: KeptBits | None = None,
) -> list[Hit]:
    """Best first by words and by meaning, half each. What one of them finds the other is asked of: a message that is
    nowhere near the query is not to be taken for one of which nothing is known."""
    from vaultembed.archive.vectors.nearest import similarities

    depth = max(DEPTH, limit)
    near = {
        hit.message_id: hit
        for hit in by_meaning(archive, query, answerers, depth, on_damage=on_damage, kept_bits=kept_bits)
    }
    text = {hit.message_id: hit for hit in by_words(archive, query, words, depth, also=list(near))}
    for answerer in answerers:
        unseen = [message_id for message_id in text if message_id not in near]
        for found in similarities(archive, answerer.generation, answerer.vector, unseen):
            near[found.message_id] = replace(_near(answerer, found, None), span=None)
    hits = []
    for message_id in text.keys() | near.keys():
        words_of, nearness = text.get(message_id, _NOTHING).text, near.get(message_id, _NOTHING)
        score = ((words_of.score if words_of else 0.0) + nearness.score) / 2
        hits.append(Hit(message_id, score, words_of, nearness.vector, nearness.span))
    return _best(hits, limit)


_NOTHING: Final = Hit(0, 0.0, None, None, None)


def _near(answerer: Answerer, found: Neighbour, rank: int | None) -> Hit:
    generation, unrelated = answerer.generation, answerer.unrelated
    # a model that gives 0.7 to whatever it compares says no more with 0.8 than another does with 0.3
    score = (found.score - unrelated) / (1 - unrelated)
    signal = Signal(rank, found.score, generation.id, generation.model_label)
    return Hit(found.message_id, score, None, signal, Span(found.chunk_id, found.char_start, found.char_end))


def _best(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.message_id))[:limit]
