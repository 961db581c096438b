"""Writes archives as msgvault's versions left them, with real vectors where the test has a real model."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import apsw
import numpy as np
import sqlite_vec

Shape = Literal["v0", "v1", "v2", "v2-readonly", "v3"]
SHAPES: Final[tuple[Shape, ...]] = ("v0", "v1", "v2", "v2-readonly", "v3")
Embed = Callable[[Sequence[str]], np.ndarray]
"""(n) texts → (n, dimension)."""

ACTIVE: Final = 3
BUILDING: Final = 4
MODEL: Final = "all-minilm"


@dataclass(frozen=True)
class Mail:
    """One message as it is to stand in msgvault.db."""

    id: int
    subject: str | bytes = ""
    body: str | bytes | None = None
    """None: no body row."""
    html: str | None = None
    kind: str = "email"
    raw: bytes | None = None
    sender: tuple[str, str] = ("ada@example.org", "Ada")
    to: tuple[tuple[str, str, str], ...] = (("to", "bob@example.org", "Bob"),)
    """(type, address, name)."""
    labels: tuple[str, ...] = ()
    conversation: int = 0
    """0: one of its own."""
    deleted: Literal["", "duplicate", "at source"] = ""
    embedded: bool = True
    """It has vectors in the active generation."""
    pending: bool = False
    """Its text changed after that (V0, V1: a row in the queue; later: no stamp)."""
    stamp: int | Literal["as embedded"] | None = "as embedded"
    in_building: bool = False
    attachments: tuple[str, ...] = ()
    sent_at: str = "2021-03-04 05:06:07+00:00"

    @property
    def prepared(self) -> str:
        """The text that msgvault embeds."""
        subject, body = (
            x.decode("utf-8", "replace") if isinstance(x, bytes) else x or "" for x in (self.subject, self.body)
        )
        return f"Subject: {subject}\n\n{body.strip()}" if subject else body.strip()


def mime(n: int, subject: str, body: str, sender: str = "ada@example.org") -> bytes:
    return (
        f"From: Ada <{sender}>\r\nTo: Bob <bob@example.org>\r\nSubject: {subject}\r\n"
        f"Date: Thu, 04 Mar 2021 05:06:{n % 60:02} +0000\r\nMessage-ID: <{n}@example.org>\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    ).encode()


def mail(n: int, subject: str, body: str, **more: object) -> Mail:
    """An e-mail with its raw form."""
    return Mail(n, subject, body, raw=mime(n, subject, body), **more)  # type: ignore[arg-type]


EMBEDDED_AT: Final = 1700000050


@dataclass
class Pair:
    folder: Path
    shape: Shape
    mails: dict[int, Mail]
    vectors: dict[int, list[np.ndarray]] = field(default_factory=dict)
    """By message: as they were written, in the active generation."""

    @property
    def archive(self) -> Path:
        return self.folder / "msgvault.db"

    @property
    def embeddings(self) -> Path:
        return self.folder / "vectors.db"

    def copy(self, folder: Path) -> Pair:
        shutil.copytree(self.folder, folder)
        return Pair(folder, self.shape, self.mails, self.vectors)

    def open(self, name: str = "msgvault.db") -> apsw.Connection:
        db = apsw.Connection(str(self.folder / name))
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
        return db

    def write(self, sql: str, *bindings: object, name: str = "msgvault.db") -> None:
        db = self.open(name)
        db.execute(sql, bindings)
        db.close()


def write_pair(
    folder: Path,
    shape: Shape,
    mails: Sequence[Mail],
    embed: Embed,
    *,
    altered: bool = False,
    upgraded: bool = False,
    vectors: bool = True,
    building: bool = False,
    wal: bool = True,
    dimension: int | None = None,
    model: str = MODEL,
    cut: int = 1_200,
) -> Pair:
    """`altered`: msgvault.db is of an older version, and was brought up to date by ALTER TABLE: other order of columns,
    `last_modified` without a default. `upgraded` (v3): after it was embedded, so that every message changed just then.
    `cut`: characters of a chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder, shape, {mail.id: mail for mail in mails})
    db = pair.open()
    if wal:
        db.pragma("journal_mode", "WAL")
    with db:
        _messages_schema(db, shape, altered=altered)
        for one in mails:
            _write_message(db, shape, one, altered=altered)
        if shape in ("v1", "v2", "v2-readonly", "v3"):
            db.execute("CREATE TABLE applied_migrations(name TEXT PRIMARY KEY, applied_at DATETIME)")
            db.execute("INSERT INTO applied_migrations VALUES ('some_other_v1', '2026-05-01 00:00:00')")
        if shape in ("v2", "v3"):
            db.execute("INSERT INTO applied_migrations VALUES ('embed_gen_backfill_active_v1', '2026-06-01 00:00:00')")
        if shape == "v3":
            _record_changes(db, mails, upgraded=upgraded)
    db.close()
    if vectors:
        _write_vectors(pair, shape, mails, embed, building=building, wal=wal, dimension=dimension, model=model, cut=cut)
    return pair


def _record_changes(db: apsw.Connection, mails: Sequence[Mail], *, upgraded: bool) -> None:
    """In the ledger, which has the row from its beginning in a new archive; of each message; and by triggers, later."""
    at = "2026-06-01 00:00:00" if upgraded else "2020-01-01 00:00:00"
    db.execute("INSERT INTO applied_migrations VALUES ('messages_content_changed_at_backfill', ?)", (at,))
    for one in mails:
        # before it was embedded, and once more where its text changed or it was deleted
        changed = (
            "2023-12-12 05:06:07" if one.pending else "2022-02-02 02:02:02" if one.deleted else "2021-03-04 05:06:07"
        )
        moment = f"{at}.000" if upgraded else f"{changed}.{one.id % 1000:03}"
        db.execute("UPDATE messages SET content_changed_at = ? WHERE id = ?", (moment, one.id))
    now = "UPDATE messages SET content_changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id ="
    columns = ("message_type", "sent_at", "received_at", "subject", "snippet", "deleted_at", "deleted_from_source_at")
    of_message = " OR ".join(f"old.{column} IS NOT new.{column}" for column in columns)
    of_message = f"old.content_changed_at IS new.content_changed_at AND ({of_message})"
    of_body = "old.body_text IS NOT new.body_text OR old.body_html IS NOT new.body_html"
    for name, event, condition, row in (
        ("messages", "UPDATE ON messages", f"WHEN {of_message}", "new.id"),
        ("bodies_ins", "INSERT ON message_bodies", "", "new.message_id"),
        ("bodies_upd", "UPDATE ON message_bodies", f"WHEN {of_body}", "new.message_id"),
        ("bodies_del", "DELETE ON message_bodies", "", "old.message_id"),
    ):
        db.execute(f"CREATE TRIGGER trg_{name}_content_changed AFTER {event} {condition} BEGIN {now} {row}; END")


def has_stamps(shape: Shape) -> bool:
    return shape in ("v2", "v2-readonly", "v3")


def _messages_schema(db: apsw.Connection, shape: Shape, *, altered: bool) -> None:
    late = has_stamps(shape)
    more = ""
    if late and not altered:
        more = ", last_modified DATETIME DEFAULT CURRENT_TIMESTAMP, metadata JSON, embed_gen INTEGER"
    if shape == "v3":
        more += ", content_changed_at DATETIME"
    db.execute(
        "CREATE TABLE sources(id INTEGER PRIMARY KEY, source_type TEXT NOT NULL, identifier TEXT NOT NULL,"
        " display_name TEXT, last_sync_at DATETIME, sync_cursor TEXT, UNIQUE(source_type, identifier));"
        "CREATE TABLE participants(id INTEGER PRIMARY KEY, email_address TEXT UNIQUE, phone_number TEXT,"
        " display_name TEXT, domain TEXT, canonical_id TEXT);"
        "CREATE TABLE conversations(id INTEGER PRIMARY KEY, source_id INTEGER, source_conversation_id TEXT,"
        " conversation_type TEXT, title TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, conversation_id INTEGER NOT NULL, source_id INTEGER NOT NULL,"
        " source_message_id TEXT, rfc822_message_id TEXT, message_type TEXT NOT NULL, sent_at DATETIME,"
        " received_at DATETIME, internal_date DATETIME, sender_id INTEGER, is_from_me BOOLEAN DEFAULT 0, subject TEXT,"
        " snippet TEXT, is_read BOOLEAN DEFAULT 1, size_estimate INTEGER, has_attachments BOOLEAN DEFAULT 0,"
        f" deleted_at DATETIME, deleted_from_source_at DATETIME{more}, UNIQUE(source_id, source_message_id));"
        "CREATE TABLE message_bodies(message_id INTEGER PRIMARY KEY, body_text TEXT, body_html TEXT);"
        "CREATE TABLE message_raw(message_id INTEGER PRIMARY KEY, raw_data BLOB NOT NULL, raw_format TEXT NOT NULL,"
        " compression TEXT DEFAULT 'zlib', encryption_version INTEGER DEFAULT 0);"
        "CREATE TABLE message_recipients(id INTEGER PRIMARY KEY, message_id INTEGER, participant_id INTEGER,"
        " recipient_type TEXT, display_name TEXT);"
        "CREATE TABLE labels(id INTEGER PRIMARY KEY, source_id INTEGER, source_label_id TEXT, name TEXT,"
        " label_type TEXT, color TEXT);"
        "CREATE TABLE message_labels(message_id INTEGER, label_id INTEGER, PRIMARY KEY(message_id, label_id));"
        "CREATE TABLE attachments(id INTEGER PRIMARY KEY, message_id INTEGER, filename TEXT, mime_type TEXT,"
        " size INTEGER, content_hash TEXT, storage_path TEXT);"
        "CREATE VIRTUAL TABLE messages_fts USING fts5(subject, body);"
        "INSERT INTO sources(id, source_type, identifier) VALUES (1, 'gmail', 'ada@example.org'),"
        " (2, 'whatsapp', '+49170');"
    )
    if late and altered:
        db.execute(
            "ALTER TABLE messages ADD COLUMN embed_gen INTEGER; ALTER TABLE messages ADD COLUMN last_modified DATETIME;"
            "ALTER TABLE messages ADD COLUMN metadata JSON"
        )


def _person(db: apsw.Connection, address: str, name: str) -> int:
    column = "email_address" if "@" in address else "phone_number"
    found = db.execute(f"SELECT id FROM participants WHERE {column} = ?", (address,)).fetchone()
    if found:
        return int(found[0])
    db.execute(f"INSERT INTO participants({column}, display_name) VALUES (?, ?)", (address, name))
    return db.last_insert_rowid()


def _text(value: str | bytes | None) -> tuple[str, object]:
    """A parameter for text that may be no UTF-8."""
    return ("CAST(? AS TEXT)", value) if isinstance(value, bytes) else ("?", value)


def _write_message(db: apsw.Connection, shape: Shape, one: Mail, *, altered: bool) -> None:
    source = 1 if one.kind in ("email", "calendar_event") else 2
    conversation = one.conversation or 10_000 + one.id
    db.execute(
        "INSERT INTO conversations VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (conversation, source, f"thread-{conversation}", "email", "Holiday plans" if source == 2 else None),
    )
    subject, value = _text(one.subject)
    db.execute(
        "INSERT INTO messages(id, conversation_id, source_id, source_message_id, rfc822_message_id, message_type,"
        f" sent_at, sender_id, subject, size_estimate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, {subject}, ?)",
        (
            one.id,
            conversation,
            source,
            f"s{one.id}",
            f"<{one.id}@example.org>" if one.kind == "email" else None,
            one.kind,
            one.sent_at,
            _person(db, *one.sender),
            value,
            100,
        ),
    )
    if one.body is not None or one.html is not None:
        body, value = _text(one.body)
        db.execute(f"INSERT INTO message_bodies VALUES (?, {body}, ?)", (one.id, value, one.html))
    if one.raw is not None:
        db.execute(
            "INSERT INTO message_raw(message_id, raw_data, raw_format) VALUES (?, ?, 'mime')",
            (one.id, zlib.compress(one.raw)),
        )
    for kind, address, name in (("from", *one.sender), *one.to):
        db.execute(
            "INSERT INTO message_recipients(message_id, participant_id, recipient_type, display_name)"
            " VALUES (?, ?, ?, ?)",
            (one.id, _person(db, address, name), kind, name),
        )
    for name in one.labels:
        db.execute(
            "INSERT INTO labels(source_id, name) SELECT 1, ?1 WHERE NOT EXISTS (SELECT 1 FROM labels WHERE name = ?1)",
            (name,),
        )
        db.execute("INSERT INTO message_labels SELECT ?, id FROM labels WHERE name = ?", (one.id, name))
    for name in one.attachments:
        digest = hashlib.sha256(name.encode()).hexdigest()
        db.execute(
            "INSERT INTO attachments(message_id, filename, mime_type, size, content_hash)"
            " VALUES (?, ?, 'image/png', 5, ?)",
            (one.id, name, digest),
        )
    if one.deleted:
        column = "deleted_at" if one.deleted == "duplicate" else "deleted_from_source_at"
        db.execute(f"UPDATE messages SET {column} = '2022-02-02 02:02:02' WHERE id = ?", (one.id,))
    if shape in ("v2", "v3"):
        stamp: int | None
        if one.stamp == "as embedded":
            stamp = ACTIVE if one.embedded and not one.pending else None
            stamp = BUILDING if one.in_building else stamp
        else:
            stamp = one.stamp
        db.execute("UPDATE messages SET embed_gen = ? WHERE id = ?", (stamp, one.id))
    if has_stamps(shape) and not (altered and one.body is None):
        db.execute("UPDATE messages SET last_modified = '2026-06-06 06:06:06' WHERE id = ?", (one.id,))


def _write_vectors(
    pair: Pair,
    shape: Shape,
    mails: Sequence[Mail],
    embed: Embed,
    *,
    building: bool,
    wal: bool,
    dimension: int | None,
    model: str,
    cut: int,
) -> None:
    db = pair.open("vectors.db")
    if wal:
        db.pragma("journal_mode", "WAL")
    width = dimension or embed(["probe"]).shape[1]
    key = "message_id" if shape == "v0" else "embedding_id"
    with db:
        db.execute(
            "CREATE TABLE index_generations(id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL,"
            " dimension INTEGER NOT NULL, fingerprint TEXT NOT NULL, started_at INTEGER, seeded_at INTEGER,"
            " completed_at INTEGER, activated_at INTEGER, state TEXT NOT NULL, message_count INTEGER)"
        )
        fingerprint = f"{model}:{width}" + ("" if shape == "v0" else f":p1-111111:c{cut}:e1")
        rows: list[tuple[int, str]] = [
            (1, "retired"),
            (ACTIVE, "active"),
            *([(BUILDING, "building")] if building else []),
        ]
        for generation, state in rows:
            db.execute(
                "INSERT INTO index_generations VALUES (?, ?, ?, ?, 1700000000, 1, 2, 1700000100, ?, 12345)",
                (generation, model, width, fingerprint, state),
            )
        columns = {
            "v0": "generation_id INTEGER, message_id INTEGER, embedded_at INTEGER, source_char_len INTEGER,"
            " truncated BOOLEAN, PRIMARY KEY(generation_id, message_id)",
        }.get(
            shape,
            "embedding_id INTEGER PRIMARY KEY AUTOINCREMENT, generation_id INTEGER, message_id INTEGER,"
            " chunk_index INTEGER, embedded_at INTEGER, source_char_len INTEGER, chunk_char_start INTEGER,"
            " chunk_char_end INTEGER,"
            + (" source_basis INTEGER DEFAULT 0," if shape == "v3" else "")
            + " truncated BOOLEAN,"
            " UNIQUE(generation_id, message_id, chunk_index)",
        )
        db.execute(f"CREATE TABLE embeddings({columns})")
        db.execute(
            f"CREATE VIRTUAL TABLE vectors_vec_d{width} USING vec0(generation_id INTEGER PARTITION KEY,"
            f" {key} INTEGER PRIMARY KEY, embedding FLOAT[{width}])"
        )
        if shape in ("v0", "v1", "v2-readonly"):
            db.execute(
                "CREATE TABLE pending_embeddings(generation_id INTEGER, message_id INTEGER, enqueued_at INTEGER,"
                " claimed_at INTEGER, claim_token TEXT, PRIMARY KEY(generation_id, message_id))"
            )
        if has_stamps(shape):
            db.execute("CREATE TABLE embed_watermark(generation_id INTEGER PRIMARY KEY, watermark_id INTEGER)")
            db.execute("INSERT INTO embed_watermark VALUES (?, 999)", (ACTIVE,))
        if shape == "v3":
            db.execute(
                "CREATE TABLE person_embeddings(id INTEGER PRIMARY KEY); CREATE TABLE embedding_documents(id INTEGER)"
            )
        for generation, chosen in (
            (ACTIVE, [m for m in mails if m.embedded and m.prepared]),
            *([(BUILDING, [m for m in mails if m.in_building and m.prepared])] if building else []),
        ):
            _embed_all(db, pair, shape, generation, chosen, embed, width, cut, key)
        for one in mails:
            if one.pending and shape in ("v0", "v1", "v2-readonly"):
                db.execute("INSERT INTO pending_embeddings VALUES (?, ?, 5, NULL, NULL)", (ACTIVE, one.id))
    db.close()


def _embed_all(
    db: apsw.Connection,
    pair: Pair,
    shape: Shape,
    generation: int,
    mails: Sequence[Mail],
    embed: Embed,
    width: int,
    cut: int,
    key: str,
) -> None:
    spans: list[tuple[Mail, int, int, int]] = []
    for one in mails:
        text = one.prepared
        # V0 has one vector a message: of a long text, of its beginning
        starts = [0] if shape == "v0" else range(0, len(text), cut)
        spans += [(one, index, start, min(len(text), start + cut)) for index, start in enumerate(starts)]
    made = embed([one.prepared[start:end] for one, _, start, end in spans]) if spans else np.zeros((0, width))
    for (one, index, start, end), vector in zip(spans, made, strict=True):
        stored = (vector * (1.0 + one.id % 7)).astype("<f4")  # L2: not necessarily of length 1
        if generation == ACTIVE:
            pair.vectors.setdefault(one.id, []).append(stored)
        length = len(one.prepared)
        if shape == "v0":
            db.execute(
                "INSERT INTO embeddings VALUES (?, ?, ?, ?, ?)", (generation, one.id, EMBEDDED_AT, end, end < length)
            )
            number = one.id
        else:
            db.execute(
                "INSERT INTO embeddings(generation_id, message_id, chunk_index, embedded_at, source_char_len,"
                " chunk_char_start, chunk_char_end, truncated) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (generation, one.id, index, EMBEDDED_AT, end - start, start, end),
            )
            number = db.last_insert_rowid()
        db.execute(
            f"INSERT INTO vectors_vec_d{width}(generation_id, {key}, embedding) VALUES (?, ?, ?)",
            (generation, number, stored.tobytes()),
        )
