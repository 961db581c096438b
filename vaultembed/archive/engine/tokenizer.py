"""How the text index of SQLite takes a text apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vaultembed.archive.engine.connection import Archive

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKENIZER: Final = ("porter", ["unicode61", "remove_diacritics", "2", "categories", "L* N* Co M*"])  # of messages_fts


def tokenizer_of(archive: Archive) -> Callable[[str], list[str]]:
    """What gives the words of a query as the text index has them."""
    import apsw.fts5  # which most commands do without

    tokenize = archive.db.fts5_tokenizer(*_TOKENIZER)

    def words_of(text: str) -> list[str]:
        tokens = tokenize(text.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False)
        return [str(token[0]) for token in tokens]

    return words_of
