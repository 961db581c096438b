"""Archives made in milliseconds, and questions to put to any archive."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.mail.messages import add_message, index_parsed
from vaultembed.message import ParsedMessage, Person, Recipient

ADA = Person("ada@example.org", "Ada")


@functools.cache
def _empty(_schema: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with open_archive(path):
            pass
        return path.read_bytes()


@contextmanager
def new_archive(path: Path) -> Iterator[Archive]:
    """What `open_archive` makes where there is no file, but copied: its migrations take 36 ms."""
    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_empty(os.environ.get("VAULTEMBED_SCHEMA")))
    path.chmod(0o600)
    with open_archive(path) as archive:
        yield archive


def new_message(
    subject: str,
    body: str = "",
    *,
    message_id: str | None = None,
    references: tuple[str, ...] = (),
    sent_at: int | None = 1_000_000_000,
    sender: Person = ADA,
    recipients: tuple[Recipient, ...] = (),
) -> ParsedMessage:
    return ParsedMessage(
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
        content_hash=hashlib.blake2b(repr((subject, body, message_id)).encode(), digest_size=16).digest(),
    )


def add_parsed(archive: Archive, new: ParsedMessage) -> int:
    """Add a message as an import does, in the caller's transaction."""
    message_id = add_message(archive, new)
    index_parsed(archive, {message_id: new})
    return message_id


def add(archive: Archive, subject: str, body: str = "", **more: object) -> int:
    """Add a message in a transaction of its own; returns its id."""
    with archive.transaction():
        return add_parsed(archive, new_message(subject, body, **more))  # type: ignore[arg-type]


def check_invariants(path: Path) -> None:
    """Recount everything from scratch, independently of the code under test, `doctor` included."""
    # one state of it: others may be writing
    with open_archive_readonly(path) as archive, archive.snapshot():
        archive.load_vec()
        assert archive.db.pragma("integrity_check") == "ok"
        assert archive.rows("PRAGMA foreign_key_check") == []
        live = {row[0] for row in archive.rows("SELECT id FROM messages WHERE deleted_at IS NULL")}
        assert archive.rows("SELECT live FROM live_count") == [(len(live),)], "the counter of live messages"
        current = (
            "SELECT m.id FROM messages m JOIN embed_outcomes o ON o.message_id = m.id AND o.generation_id = m.embed_gen"
            " AND o.content_rev = m.content_rev WHERE m.embed_gen IS NOT NULL"
        )
        stamped = archive.rows("SELECT id FROM messages WHERE embed_gen IS NOT NULL")
        assert sorted(archive.rows(current)) == sorted(stamped), "a stamp without a current outcome"
        states = [row[0] for row in archive.rows("SELECT state FROM generations")]
        assert states.count("active") <= 1
        assert states.count("building") <= 1
        for generation, pruned_at in archive.rows("SELECT id, pruned_at FROM generations"):
            if pruned_at is None:
                _check_whole(archive, generation, live)
            else:
                _check_pruned(archive, generation)
        known = {f"vec_{row[0]}" for row in archive.rows("SELECT id FROM generations")}
        tables = {row[0] for row in archive.rows("SELECT name FROM sqlite_schema WHERE sql LIKE '%USING vec0%'")}
        assert tables <= known, "a vec0 table without a generation"
        _check_watermark(archive, live)
        _check_leases(archive)
        _check_text_index(archive)


def _ids(archive: Archive, sql: str, *bindings: object) -> set[int]:
    return {row[0] for row in archive.rows(sql, bindings)}


def _check_whole(archive: Archive, generation: int, live: set[int]) -> None:
    chunks = _ids(archive, "SELECT id FROM chunks WHERE generation_id = ?", generation)
    coarse = _ids(archive, f"SELECT rowid FROM vec_{generation}")
    orphans = _ids(archive, "SELECT chunk_id FROM vec_orphans WHERE generation_id = ?", generation)
    true = _ids(
        archive,
        "SELECT v.chunk_id FROM vectors v JOIN chunks c ON c.id = v.chunk_id WHERE c.generation_id = ?",
        generation,
    )
    assert not orphans & chunks, "a chunk is there and noted as gone"
    assert chunks == coarse - orphans == true, "chunks, vectors and vec0 rows are not the same set"
    bits = "SELECT c.id, v.embedding, x.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id"
    for chunk, vector, signs in archive.rows(f"{bits} JOIN vec_{generation} x ON x.rowid = c.id"):
        positive = np.packbits(np.frombuffer(vector, "<f2") > 0, bitorder="little").tobytes()
        assert positive == signs, f"the coarse index has other signs for chunk {chunk}"
    for chunk, vector, checksum in archive.rows("SELECT chunk_id, embedding, checksum FROM vectors"):
        assert zlib.crc32(vector) == checksum, f"the vector of chunk {chunk} was altered"
    embedded = _ids(
        archive,
        "SELECT message_id FROM embed_outcomes WHERE generation_id = ? AND outcome = 'embedded'",
        generation,
    )
    with_chunks = _ids(archive, "SELECT message_id FROM chunks WHERE generation_id = ?", generation)
    assert embedded == with_chunks, "embedded messages are not those with chunks"
    members = _members(archive, generation)
    if members is not None:
        stored = _ids(archive, "SELECT message_id FROM scope_members WHERE generation_id = ?", generation)
        assert stored == members, "the members of a scope are not those that it describes"
    covered = live if members is None else live & members
    counts = {"embedded": 0, "blank": 0, "failed": 0}
    for message, outcome, revision, present in archive.rows(
        "SELECT o.message_id, o.outcome, o.content_rev, m.content_rev FROM embed_outcomes o"
        " JOIN messages m ON m.id = o.message_id WHERE o.generation_id = ?",
        (generation,),
    ):
        counts[outcome] += message in covered and revision == present
    stored_counts = archive.rows(
        "SELECT is_scoped, live, embedded, blank, failed, chunks FROM embed_coverage WHERE generation_id = ?",
        (generation,),
    )
    recounted = (int(members is not None), len(covered), *counts.values(), len(chunks))
    assert stored_counts == [recounted], f"the counters of generation {generation}"
    assert sum(counts.values()) <= len(covered)


def _members(archive: Archive, generation: int) -> set[int] | None:
    """Ids of the messages in the scope of a generation; None where it has none."""
    scope, after, before = archive.rows(
        "SELECT scope, scope_after, scope_before FROM generations WHERE id = ?", (generation,)
    )[0]
    if not scope:
        return None
    sources = _ids(archive, "SELECT source_id FROM generation_sources WHERE generation_id = ?", generation)
    types = {
        row[0]
        for row in archive.rows("SELECT message_type FROM generation_types WHERE generation_id = ?", (generation,))
    }
    places: dict[int, set[int]] = {}
    for message, source in archive.rows("SELECT message_id, source_id FROM message_sources"):
        places.setdefault(message, set()).add(source)
    return {
        message
        for message, sent_at, message_type in archive.rows("SELECT id, sent_at, message_type FROM messages")
        if (after is None or (sent_at is not None and sent_at >= after))
        and (before is None or (sent_at is not None and sent_at < before))
        and (not types or message_type in types)
        and (not sources or places.get(message, set()) & sources)
    }


def _check_pruned(archive: Archive, generation: int) -> None:
    state = archive.scalar("SELECT state FROM generations WHERE id = ?", (generation,))
    assert state in ("retired", "discarded"), "a generation in use was pruned"
    if archive.scalar("SELECT 1 FROM embed_watermark WHERE generation_id = ?", (generation,)):
        return  # interrupted: its watermark goes last
    for table in ("chunks", "embed_outcomes", "embed_coverage", "scope_members", "embed_leases", "vec_orphans"):
        assert archive.rows(f"SELECT 1 FROM {table} WHERE generation_id = ? LIMIT 1", (generation,)) == [], table
    assert archive.rows("SELECT 1 FROM sqlite_schema WHERE name = ?", (f"vec_{generation}",)) == []


def _check_watermark(archive: Archive, live: set[int]) -> None:
    filled = archive.scalar("SELECT id FROM generations WHERE state = 'building'") or archive.scalar(
        "SELECT id FROM generations WHERE state = 'active'"
    )
    if filled is None:
        return
    watermark = archive.scalar("SELECT watermark_id FROM embed_watermark WHERE generation_id = ?", (filled,)) or 0
    members = _members(archive, filled)
    work = _ids(archive, "SELECT id FROM messages WHERE embed_gen IS NOT ?", filled)
    below = {i for i in work & (live if members is None else live & members) if i <= watermark}
    assert below == set(), "work below the watermark"


def _check_leases(archive: Archive) -> None:
    rows = archive.rows(
        "SELECT generation_id, first_id, last_id FROM embed_leases WHERE owner IS NOT NULL ORDER BY 1, 2"
    )
    for one, other in itertools.pairwise(rows):
        assert one[0] != other[0] or one[2] < other[1], "two workers hold the same message"


def _check_text_index(archive: Archive) -> None:
    indexed = _ids(archive, "SELECT rowid FROM messages_fts")
    waiting = _ids(archive, "SELECT message_id FROM fulltext_stale")
    messages = _ids(archive, "SELECT id FROM messages")
    assert messages <= indexed | waiting, "a message that no search by words can find"
    assert indexed <= messages | waiting, "an entry of a message that is gone, and nobody knows of it"
