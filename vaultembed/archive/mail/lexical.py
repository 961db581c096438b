"""Ranks messages by the words they hold (FTS5 bm25), or by date where no words were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.filters import Filter

_WEIGHTS: Final = "2.0, 1.0, 1.0, 1.0"  # subject, body, people, files


COMMON: Final = 0.2
"""A word that stands in more than this share of the messages does not make one of them a result."""
_NEVER_COMMON: Final = 10
"""Messages that a word may stand in, however few there are."""

_HIDDEN: Final = 100
_TOKENIZER: Final = ("porter", ["unicode61", "remove_diacritics", "2"])  # of messages_fts


def telling_words(archive: Archive, words: Sequence[str]) -> list[str]:
    """`words` without those that many messages have, or none.

    Counted in this archive, so it needs no list of stop words for every language. Otherwise "who took my two-wheeler"
    would rank by words what merely has "who" and "my" in it, and push the right message down.
    """
    import apsw
    import apsw.fts5

    tokenize = archive.db.fts5_tokenizer(*_TOKENIZER)
    archive.db.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.fulltext_terms USING fts5vocab('main', 'messages_fts', 'row')"
    )
    most = max(COMMON * int(archive.scalar("SELECT count(*) FROM messages")), _NEVER_COMMON)
    telling = []
    for word in words:
        tokens = tokenize(word.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False)
        counts = [
            archive.scalar("SELECT doc FROM temp.fulltext_terms WHERE term = ?", (token[0],)) or 0 for token in tokens
        ]
        if 0 < min(counts, default=0) <= most:
            telling.append(word)
    return telling


def rank_by_words(archive: Archive, match: str, limit: int, only: Filter) -> list[tuple[int, float]]:
    """(message id, bm25 score; higher is better), best first. `match` is an FTS5 expression."""
    rows: list[tuple[int, float]] = []
    # Without a filter the best of the index are the result but for a few that are deleted or stale: of thousands that
    # match, only so many are looked up.
    for most in (limit + _HIDDEN, -1) if only.is_empty and limit >= 0 else (-1,):
        rows = archive.rows(
            f"SELECT m.id, f.score FROM (SELECT rowid AS id, -bm25(messages_fts, {_WEIGHTS}) AS score FROM messages_fts"
            " WHERE messages_fts MATCH ? ORDER BY score DESC, rowid LIMIT ?) f JOIN messages m ON m.id = f.id"
            f" WHERE m.deleted_at IS NULL AND m.id NOT IN (SELECT message_id FROM fulltext_stale) AND ({only.sql})"
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
            f"SELECT m.id FROM messages m WHERE m.deleted_at IS NULL AND ({only.sql})"
            " ORDER BY m.sent_at DESC NULLS LAST, m.id DESC LIMIT ?",
            (*only.bindings, limit),
        )
    ]
