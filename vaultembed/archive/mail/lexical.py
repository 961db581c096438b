"""Ranks messages by the words they hold (FTS5 bm25), or by date where no words were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.tokenizer import tokenizer_of
from vaultembed.archive.filters import Filter

_WEIGHTS: Final = "2.0, 1.0, 1.0, 1.0"  # subject, body, people, files


WORDS_OF_INDEX: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.fulltext_terms USING fts5vocab('main', 'messages_fts', 'row')"
)
COMMON: Final = 0.2
"""A word that stands in more than this share of the messages does not make one of them a result."""
_NEVER_COMMON: Final = 10
"""Messages that a word may stand in, however few there are."""

_HIDDEN: Final = 100
_WITHIN: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ?"
    " AND +rowid IN (SELECT id FROM temp.horizon) LIMIT ? + 1)"
)
"""Of a token, in how many messages within the horizon it stands."""


def distinctive_words(archive: Archive, words: Sequence[str]) -> list[str]:
    """`words` without those that many messages have, or none.

    Counted in this archive, so it needs no list of stop words for every language. Otherwise "who took my two-wheeler"
    would rank by words what merely has "who" and "my" in it, and push the right message down.
    """
    words_of = tokenizer_of(archive)
    archive.execute(WORDS_OF_INDEX)
    most = max(COMMON * int(archive.scalar("SELECT count(*) FROM messages")), _NEVER_COMMON)
    distinctive = []
    for word in words:
        counts = [
            archive.scalar(_WITHIN, (f'"{token}"', int(most)))
            if archive.is_limited
            else archive.scalar("SELECT doc FROM temp.fulltext_terms WHERE term = ?", (token,)) or 0
            for token in words_of(word)
        ]
        if 0 < min(counts, default=0) <= most:
            distinctive.append(word)
    return distinctive


def rank_by_words(archive: Archive, match: str, limit: int, only: Filter) -> list[tuple[int, float]]:
    """(message id, bm25 score; higher is better), best first. `match` is an FTS5 expression."""
    rows: list[tuple[int, float]] = []
    # Without a filter the best of the index are the result but for a few that are deleted or stale: of thousands that
    # match, only so many are looked up.
    for most in (limit + _HIDDEN, -1) if only.is_empty and limit >= 0 else (-1,):
        rows = archive.rows(
            f"SELECT m.id, f.score FROM (SELECT rowid AS id, -bm25(messages_fts, {_WEIGHTS}) AS score FROM messages_fts"
            " WHERE messages_fts MATCH ? ORDER BY score DESC, rowid LIMIT ?) f JOIN messages m ON m.id = f.id"
            f" WHERE {only.live} AND m.id NOT IN (SELECT message_id FROM fulltext_stale) AND ({only.sql})"
            " ORDER BY f.score DESC, m.id LIMIT ?",
            (match, most, *only.bindings, limit),
        )
        if len(rows) == limit:
            break
    return [(int(row[0]), float(row[1])) for row in rows]


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
