"""Ranks messages by the words they hold (FTS5 bm25), or by date where no words were asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.tokenizer import tokenizer_of
from vaultembed.archive.filters import Filter
from vaultembed.archive.mail.fulltext import match_expression

_WEIGHTS: Final = "2.0, 1.0, 1.0, 1.0"  # subject, body, people, files
_ONCE_OR_OFTEN: Final = "1e9, 1e9, 1e9, 1e9"
"""A word counts as often as bm25 can tell, however seldom it stands in however long a message."""

WORDS_OF_INDEX: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.fulltext_terms USING fts5vocab('main', 'messages_fts', 'row')"
)
_MOST_OF_A_WORD: Final = 2.2
"""Times its idf: what bm25 gives for a word, however often a message has it (k1 + 1, of FTS5's k1)."""
_LEAST_IDF: Final = 1e-6
"""Of what more than half of the messages have: FTS5's."""
_PICKING: Final = 0.25
"""Of the weight of the heaviest word: what weighs less picks no message. It would be most of the work."""
_LEAST_WEIGHT: Final = 1.0
"""As that of a word that a quarter of the messages have: of a lighter query, a message that has it all is no find."""

_HIDDEN: Final = 100
_WITHIN: Final = (
    "SELECT EXISTS (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? AND +rowid IN (SELECT id FROM temp.horizon))"
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What to look for by words, and how much it is worth."""

    match: str | None
    """FTS5 expression for any of the words that pick messages; None where no message has any of them."""
    weight: float
    """Of all the words: the sum of their idf."""
    unknown: tuple[str, ...]
    """Words that no message has."""

    def share(self, bm25: float) -> float:
        """Of the most that a message can have, 0 to 1. Compares between queries, and between archives."""
        return min(bm25 / (_MOST_OF_A_WORD * max(self.weight, _LEAST_WEIGHT)), 1.0)


def weigh(archive: Archive, phrases: Mapping[str, str]) -> Weighed:
    """`phrases`: FTS5 expressions, and what each was written as.

    Counted in this archive, so it needs no list of stop words for every language: "who" and "my" weigh next to nothing
    in "who took my two-wheeler". What no message has weighs nothing: the others are to be found all the same.
    """
    if not phrases:
        return Weighed(None, 0.0, ())
    words_of = tokenizer_of(archive)
    archive.execute(WORDS_OF_INDEX)
    total = int(archive.scalar("SELECT count(*) FROM main.messages"))  # the index knows of no horizon, nor of deletions
    unknown: list[str] = []
    idf: dict[str, float] = {}
    for phrase, written in phrases.items():
        count = _count(archive, phrase, words_of(phrase))
        if not count or (archive.is_limited and not archive.scalar(_WITHIN, (phrase,))):
            unknown.append(written)
        else:
            idf[phrase] = max(math.log((max(total - count, 0) + 0.5) / (count + 0.5)), _LEAST_IDF)
    least = _PICKING * max(idf.values(), default=0.0)
    picking = [phrase for phrase, weight in idf.items() if weight >= least]
    return Weighed(match_expression([], picking), sum(idf.values()), tuple(unknown))


def _count(archive: Archive, phrase: str, tokens: Sequence[str]) -> int:
    """Messages that have it, as bm25 counts them."""
    if len(tokens) == 1 and not phrase.endswith("*"):
        return int(archive.scalar("SELECT doc FROM temp.fulltext_terms WHERE term = ?", (tokens[0],)) or 0)
    return int(archive.scalar("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH ?", (phrase,)))


@dataclass(frozen=True, slots=True)
class Match:
    message_id: int
    bm25: float
    """Higher is better."""
    present: float
    """What `bm25` would be if the message were about nothing but those words of the query that it has."""


def rank_by_words(archive: Archive, match: str, limit: int, only: Filter, also: Sequence[int] = ()) -> list[Match]:
    """The best `limit`, best first. `match` is an FTS5 expression.

    `also`: ids of messages that pass the filter. Those that match are in the result too, wherever they stand.
    """
    rows: list[tuple[int, float, float]] = []
    ids = json.dumps(list(also))
    # Without a filter the best of the index are the result but for a few that are deleted or stale: of thousands that
    # match, only so many are looked up.
    for most in (limit + len(also) + _HIDDEN, -1) if only.is_empty and limit >= 0 else (-1,):
        rows = archive.rows(
            f"SELECT m.id, f.score, f.present FROM (SELECT rowid AS id, -bm25(messages_fts, {_WEIGHTS}) AS score,"
            f" -bm25(messages_fts, {_ONCE_OR_OFTEN}) AS present FROM messages_fts WHERE messages_fts MATCH ?"
            " ORDER BY rowid IN (SELECT value FROM json_each(?)) DESC, score DESC, rowid LIMIT ?) f"
            " JOIN messages m ON m.id = f.id"
            f" WHERE {only.live} AND m.id NOT IN (SELECT message_id FROM fulltext_stale) AND ({only.sql})"
            " ORDER BY f.id IN (SELECT value FROM json_each(?)) DESC, f.score DESC, m.id LIMIT ?",
            (match, ids, most, *only.bindings, ids, limit + len(also)),
        )
        if len({row[0] for row in rows}.difference(also)) >= limit:
            break
    return [Match(*row) for row in sorted(rows, key=lambda row: (-row[1], row[0]))]


def newest(archive: Archive, limit: int, only: Filter) -> list[int]:
    """Ids of live messages that pass a filter, newest first."""
    return [
        int(row[0])
        for row in archive.rows(
            f"SELECT m.id FROM messages m WHERE {only.live} AND ({only.sql})"
            " ORDER BY m.sent_at DESC NULLS LAST, m.id DESC LIMIT ?",
            (*only.bindings, limit),
        )
    ]


def is_any_set_aside(archive: Archive) -> bool:
    return archive.scalar("SELECT 1 FROM messages WHERE set_aside <> 0 AND deleted_at IS NULL LIMIT 1") is not None


def count_set_aside(archive: Archive, match: str | None, only: Filter, *, deleted: bool = False) -> int:
    """How many a filter hides that are in trash or spam: those that pass the rest of it and hold the words, if there
    are any to match."""
    if not only.hides_set_aside:
        return 0
    state = "NOT NULL" if deleted else "NULL"
    found = (
        ""
        if match is None
        else " AND m.id IN (SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?)"
        " AND m.id NOT IN (SELECT message_id FROM fulltext_stale)"
    )
    return int(
        archive.scalar(
            # CROSS JOIN: begins with what is set aside, and where nothing is, the filter and the words cost nothing
            f"SELECT count(*) FROM (SELECT id FROM messages WHERE set_aside <> 0 AND deleted_at IS {state}) aside"
            f" CROSS JOIN messages m ON m.id = aside.id WHERE ({only.sql}){found}",
            (*only.bindings, *(() if match is None else (match,))),
        )
    )
