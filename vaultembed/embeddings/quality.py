"""Whether a generation finds as well as the one in use, before it takes its place.

Both are asked known items of this archive, for which the right answer needs no judge: a sentence of a message, without
the words that would give it away, is to find the message, and a reply the message that it answers.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import Generation, generation_in_state
from vaultembed.archive.generations.verifying import KnownMessage, covered_by, read_known_messages
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.embeddings.query_vector import embed_query
from vaultembed.embeddings.recipe import recipe_for
from vaultembed.errors import NotReadyError
from vaultembed.models.protocol import Embedder

MESSAGES: Final = 1_000
"""Read, to find questions in them and to tell how rare a word is."""
QUESTIONS: Final = 300
FEWEST: Final = 60
"""Questions. Fewer tell nothing but of a model that finds nothing at all."""
DEPTH: Final = 10
"""Results that are looked at. A right answer at rank r counts 1 / r."""
_RARE: Final = 0.01
"""A word that fewer of the messages have tells which message it is from, whatever the sentence means."""
_WORDS: Final = (6, 40)
"""Of a sentence that makes a question."""
_LONGEST: Final = 600
"""Characters of a reply that are asked."""
_RESAMPLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Quality:
    """Of a generation, beside that of the one in use."""

    in_use: int
    """The generation in use."""
    questions: int
    found: float
    """Mean reciprocal rank of the right answers, 0 to 1."""
    found_in_use: float
    least: float
    """95 % interval of the difference, found - found_in_use: paired bootstrap (Efron and Tibshirani, 1993)."""
    most: float

    @property
    def is_worse(self) -> bool:
        """Significantly."""
        return self.most < 0


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    asked_by: int
    """The message that it is made of."""
    answer: int


def compare_with_active(
    archive: Archive,
    generation: Generation,
    embedder: Embedder,
    open_model: Callable[[Generation], Embedder],
    on_question: Callable[[int], None] = lambda _: None,
) -> Quality | str | None:
    """As `compare`. A text says why it could not be; None where no other is in use.

    Raises:
        ModelError: the embedder does not work.
    """
    active = generation_in_state(archive, "active")
    if active is None or active.id == generation.id:
        return None
    try:
        opened = open_model(active)
    except NotReadyError as error:
        return error.message
    with closing(opened) as other:
        return compare(archive, generation, embedder, active, other, on_question)


def compare(
    archive: Archive,
    generation: Generation,
    embedder: Embedder,
    other: Generation,
    other_embedder: Embedder,
    on_question: Callable[[int], None] = lambda _: None,
) -> Quality | str:
    """Ask both, of the messages that both have embedded. A text says that there are too few questions. In a snapshot of
    the caller's. Needs `load_vec`.

    Raises:
        ModelError: one of the models does not work.
    """
    pick = random.Random(generation.id)  # noqa: S311
    questions = _questions(read_known_messages(archive, generation.id, other.id, MESSAGES, pick), pick)
    if len(questions) < FEWEST:
        return f"both have embedded too little that could be asked ({len(questions)} questions, not {FEWEST})"
    ranks = []
    for number, question in enumerate(questions, 1):
        ranks.append(
            (
                _reciprocal_rank(archive, generation, other, embedder, question),
                _reciprocal_rank(archive, other, generation, other_embedder, question),
            )
        )
        on_question(number)
    found = np.array(ranks)
    difference = found[:, 0] - found[:, 1]
    resampled = np.random.default_rng(0).choice(difference, (_RESAMPLES, len(difference))).mean(axis=1)
    least, most = np.quantile(resampled, [0.025, 0.975]).tolist()
    mean, other_mean = found.mean(axis=0).tolist()
    return Quality(other.id, len(questions), mean, other_mean, least, most)


def _questions(messages: Sequence[KnownMessage], pick: random.Random) -> list[_Question]:
    """Half of them replies, as far as there are any."""
    texts = {found.id: _without_subject(found.text) for found in messages}
    counts = Counter(word for text in texts.values() for word in set(_words(text)))
    least = max(2, round(_RARE * len(messages)))
    replies, sentences = [], []
    for found in messages:
        text = texts[found.id]
        if found.answers is not None and text:
            replies.append(_Question(text[:_LONGEST], found.id, found.answers))
        said = [[word for word in _words(sentence) if counts[word] >= least] for sentence in _sentences(text)]
        fitting = [words for words in said if _WORDS[0] <= len(words) <= _WORDS[1]]
        if fitting:
            sentences.append(_Question(" ".join(pick.choice(fitting)), found.id, found.id))
    half = min(QUESTIONS // 2, len(replies))
    return replies[:half] + sentences[: QUESTIONS - half]


def _without_subject(text: str) -> str:
    """Of a reply it is that of the message it answers."""
    return text.partition("\n\n")[2] if text.startswith("Subject: ") else text


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?。！？])\s+|\n\s*\n", text)


def _reciprocal_rank(
    archive: Archive, generation: Generation, other: Generation, embedder: Embedder, question: _Question
) -> float:
    vector = embed_query(embedder, question.text, recipe_for(embedder.facts.context_length).max_tokens)
    found = nearest_messages(archive, generation, vector, DEPTH + 1, covered_by(other.id))
    itself = question.asked_by if question.asked_by != question.answer else None
    ids = [neighbour.message_id for neighbour in found if neighbour.message_id != itself][:DEPTH]
    return 1 / (1 + ids.index(question.answer)) if question.answer in ids else 0.0
