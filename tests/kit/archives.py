"""Archives made in milliseconds, and questions to put to any archive."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.messages import NewMessage, add_message
from vaultembed.message import ParsedMessage, Person, Recipient

ADA = Person("ada@example.org", "Ada")


def new_message(
    subject: str,
    body: str = "",
    *,
    message_id: str | None = None,
    references: tuple[str, ...] = (),
    is_reply: bool = False,
    sent_at: int | None = 1_000_000_000,
    sender: Person = ADA,
    recipients: tuple[Recipient, ...] = (),
) -> NewMessage:
    parsed = ParsedMessage(
        rfc822_message_id=message_id,
        in_reply_to=references[-1] if references else None,
        references=references,
        subject=subject,
        sent_at=sent_at,
        zone_minutes=0,
        sender=sender,
        recipients=recipients,
        list_id=None,
        labels=(),
        body_text=body,
        attachments=(),
        size_bytes=len(body),
        problems=(),
    )
    content_hash = hashlib.blake2b(repr((subject, body, message_id)).encode(), digest_size=16).digest()
    return NewMessage(parsed, content_hash, None, body[:80], subject.lower(), is_reply)


def add(archive: Archive, subject: str, body: str = "", **more: object) -> int:
    """Add a message in a transaction of its own; returns its id."""
    with archive.transaction():
        return add_message(archive, new_message(subject, body, **more))  # type: ignore[arg-type]


def check_invariants(path: Path) -> None:
    """Recount everything from scratch, independently of the code under test."""
    with open_archive_readonly(path) as archive:
        archive.load_vec()
        assert archive.db.pragma("integrity_check") == "ok"
        assert archive.rows("PRAGMA foreign_key_check") == []
        current = (
            "SELECT m.id FROM messages m JOIN embed_outcomes o ON o.message_id = m.id AND o.generation_id = m.embed_gen"
            " AND o.content_rev = m.content_rev WHERE m.embed_gen IS NOT NULL"
        )
        stamped = archive.rows("SELECT id FROM messages WHERE embed_gen IS NOT NULL")
        assert sorted(archive.rows(current)) == sorted(stamped), "a stamp without a current outcome"
        for (generation,) in archive.rows("SELECT id FROM generations"):
            chunks = {row[0] for row in archive.rows("SELECT id FROM chunks WHERE generation_id = ?", (generation,))}
            coarse = {row[0] for row in archive.rows(f"SELECT rowid FROM vec_{generation}")}
            true = {
                row[0]
                for row in archive.rows(
                    "SELECT v.chunk_id FROM vectors v JOIN chunks c ON c.id = v.chunk_id WHERE c.generation_id = ?",
                    (generation,),
                )
            }
            assert chunks == coarse == true, "chunks, vectors and vec0 rows are not the same set"
            embedded = {
                row[0]
                for row in archive.rows(
                    "SELECT message_id FROM embed_outcomes WHERE generation_id = ? AND outcome = 'embedded'",
                    (generation,),
                )
            }
            with_chunks = {
                row[0]
                for row in archive.rows("SELECT DISTINCT message_id FROM chunks WHERE generation_id = ?", (generation,))
            }
            assert embedded == with_chunks, "embedded messages are not those with chunks"
            watermark = archive.scalar(
                "SELECT watermark_id FROM embed_watermark WHERE generation_id = ?", (generation,)
            )
            state = archive.scalar("SELECT state FROM generations WHERE id = ?", (generation,))
            newest = archive.scalar("SELECT max(id) FROM generations")
            if state in ("building", "active") and generation == newest:
                below = archive.rows(
                    "SELECT id FROM messages WHERE deleted_at IS NULL AND id <= ?"
                    " AND (embed_gen IS NULL OR embed_gen <> ?)",
                    (watermark, generation),
                )
                assert below == [], "work below the watermark"
