"""The text index: one function makes the tokens, for messages and for queries alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.text.folding import folded

# Scripts written without spaces between words: each character is a token, and a word of a query a phrase of them.
_UNSPACED: Final = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
_UNSEEN: Final = re.compile("[\u200b\u200c]")  # between words, or the parts of one: folded, they would be gone
_MARKS: Final = ("Mn", "Mc", "Me", "Co")  # what the index takes as parts of a word besides letters and digits


def fulltext(text: str) -> str:
    """`text` as FTS5 is given it: folded as fields are, for it knows accents of Latin letters alone; CJK characters set
    apart."""
    if text.isascii():
        return text
    return _UNSPACED.sub(r" \g<0> ", folded(_UNSEEN.sub(" ", text)))


def phrase(words: str) -> str | None:
    """`words` as an FTS5 phrase in quotes; None where nothing in it can be searched for."""
    letters = (c if c.isalnum() or unicodedata.category(c) in _MARKS else " " for c in fulltext(words))
    spaced = " ".join("".join(letters).split())
    return f'"{spaced}"' if any(c.isalnum() for c in spaced) else None


def match_expression(every: Sequence[str], any_of: Sequence[str]) -> str | None:
    """FTS5's for every one of some phrases and any of others; None where there are none."""
    return " AND ".join([*every, *([f"({' OR '.join(any_of)})"] if any_of else [])]) or None


@dataclass(frozen=True, slots=True)
class IndexedTexts:
    """What of a message is found by its words."""

    subject: str
    body: str
    people: Iterable[tuple[str, str]]
    """Names and addresses."""
    files: Iterable[str]

    def folded(self) -> tuple[str, str, str, str]:
        """Subject, body, people and files as FTS5 is given them."""
        people = " ".join(f"{name} {address}" for name, address in sorted(set(self.people)))
        return fulltext(self.subject), fulltext(self.body), fulltext(people), fulltext(" ".join(self.files))


def index_messages(archive: Archive, message_ids: Iterable[int]) -> None:
    """(Re-)index messages as they now stand, in the caller's transaction. Of one that is gone the entry goes."""
    index_texts(archive, ((message_id, texts_to_index(archive, message_id)) for message_id in message_ids))


def index_texts(archive: Archive, texts: Iterable[tuple[int, IndexedTexts | None]]) -> None:
    """As `index_messages`, with what is in hand; in the order of their ids, and last in a transaction: FTS5 writes out
    what it holds before any statement that SQLite may have to undo by itself (one with a trigger), and has one more
    piece to merge then. A piece for each message was a fifth of the writing of an import."""
    for message_id, of_message in texts:
        archive.execute("DELETE FROM messages_fts WHERE rowid = ?", (message_id,))
        archive.execute("DELETE FROM fulltext_stale WHERE message_id = ?", (message_id,))
        if of_message is not None:
            archive.execute(
                "INSERT INTO messages_fts(rowid, subject, body, people, files) VALUES (?, ?, ?, ?, ?)",
                (message_id, *of_message.folded()),
            )


def texts_to_index(archive: Archive, message_id: int) -> IndexedTexts | None:
    """None of a message that is gone."""
    found = archive.row(
        # as bytes: what another writer left may be no UTF-8, and one bad message must not stop the others
        "SELECT CAST(m.subject AS BLOB), CAST(coalesce(b.body_text, '') AS BLOB), CAST(coalesce(c.subject, '') AS BLOB)"
        " FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id"
        " LEFT JOIN conversations c ON c.id = m.conversation_id AND c.is_chat WHERE m.id = ?",
        (message_id,),
    )
    if found is None:
        return None
    people = archive.rows(
        "SELECT CAST(p.name AS BLOB), CAST(p.address AS BLOB) FROM participants p WHERE p.id IN ("
        " SELECT sender_id FROM messages WHERE id = ?1"
        " UNION SELECT participant_id FROM message_recipients WHERE message_id = ?1)",
        (message_id,),
    )
    files = archive.rows(
        "SELECT CAST(filename AS BLOB) FROM attachments WHERE message_id = ? AND filename <> '' ORDER BY position",
        (message_id,),
    )
    return IndexedTexts(
        # the name of a chat is to its messages what a subject is to mail
        f"{_lenient(found[0])}\n{_lenient(found[2])}".strip(),
        _lenient(found[1]),
        [(_lenient(name), _lenient(address)) for name, address in people],
        [_lenient(name) for (name,) in files],
    )


def _lenient(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def refresh_stale(archive: Archive, should_stop: Callable[[], bool] = lambda: False, batch: int = 500) -> int:
    """Index what was changed behind the archive layer, or deleted there; returns how many messages."""
    done = 0
    while not should_stop() and (stale := archive.rows("SELECT message_id FROM fulltext_stale LIMIT ?", (batch,))):
        with archive.transaction():
            index_messages(archive, [row[0] for row in stale])
        done += len(stale)
    return done


def count_stale(archive: Archive) -> int:
    """Messages that text search leaves out until the next writable open."""
    present = "EXISTS (SELECT 1 FROM messages m WHERE m.id = message_id)"
    return int(archive.scalar(f"SELECT count(*) FROM fulltext_stale WHERE {present}"))
