"""Stores texts wrongly, as another program might have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw

from tests.kit.mail import many, mbox
from tests.kit.processes import vaultembed_json
from vaultembed.archive.database import open_archive_readonly


def misread(text: str, charset: str = "cp1252", real: str = "utf-8") -> str:
    """`text` in its real charset, read in another; bytes that it lacks are read as latin-1."""
    return "".join(
        chr(byte) if byte < 0x80 else bytes([byte]).decode(charset, "ignore") or chr(byte) for byte in text.encode(real)
    )


def store(path: Path, sql: str, *bindings: object) -> None:
    """Over a connection that knows nothing of vaultembed. What is no UTF-8 is bound as bytes: CAST(? AS TEXT)."""
    db = apsw.Connection(str(path))
    try:
        db.execute(sql, bindings)  # type: ignore[arg-type]
        assert db.changes() > 0, sql
    finally:
        db.close()


def from_a_shell(path: Path, sql: str) -> None:
    """By another process."""
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()"
    subprocess.run([sys.executable, "-c", script, str(path), sql], check=True)


SUBJECT, BODY = "Schöne Grüße aus Köln", "Liebe Ömi, wir sind gut in Köln angekommen, und das Café hat geöffnet."
ODD = 21
"""The message that is garbled; there are others below and above it."""
TEXTS = (
    "SELECT id, CAST(subject AS BLOB), CAST(snippet AS BLOB) FROM messages ORDER BY id",
    "SELECT message_id, CAST(body_text AS BLOB) FROM message_bodies ORDER BY 1",
    "SELECT m.id, CAST(p.name AS BLOB), p.address FROM messages m JOIN participants p ON p.id = m.sender_id ORDER BY 1",
    (
        "SELECT r.message_id, r.kind, r.position, CAST(p.name AS BLOB) FROM message_recipients r"
        " JOIN participants p ON p.id = r.participant_id ORDER BY 1, 2, 3"
    ),
    (
        "SELECT x.message_id, l.kind, CAST(l.name AS BLOB) FROM message_labels x JOIN labels l ON l.id = x.label_id"
        " ORDER BY 1, 2, 3"
    ),
    "SELECT message_id, position, CAST(filename AS BLOB) FROM attachments ORDER BY 1, 2",
    "SELECT id, CAST(subject AS BLOB), CAST(thread_key AS BLOB) FROM conversations ORDER BY 1",
)


ATTACHED = (
    b"""From: =?utf-8?Q?J=C3=BCrgen?= <juergen@example.org>
To: =?utf-8?Q?Zo=C3=AB?= <zoe@example.org>
Subject: =?utf-8?Q?Sch=C3=B6ne_Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=
Message-ID: <odd@example.org>
Date: Mon, 3 Feb 2003 10:00:00 +0000
X-Gmail-Labels: Entw=?utf-8?Q?=C3=BC?=rfe
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

"""
    + BODY.encode()
    + b"""
--x
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''B%C3%BCcherliste.pdf

pdf
--x--
"""
)


def import_odd(folder: Path) -> Path:
    """An archive of 31 messages, imported; everything in it is right yet."""
    box = mbox(folder / "box", [*many(ODD - 1), ATTACHED, *many(10, start=ODD)])
    vaultembed_json("import", box, archive=folder / "a.db")
    return folder / "a.db"


def garble_everything(path: Path) -> None:
    """One message with everything of it stored wrongly, each in its own way."""
    store(path, "UPDATE messages SET subject = ?, snippet = ? WHERE id = ?", misread(SUBJECT), misread(BODY), ODD)
    store(
        path, "UPDATE message_bodies SET body_text = CAST(? AS TEXT) WHERE message_id = ?", BODY.encode("cp1252"), ODD
    )
    store(path, "UPDATE participants SET name = ? WHERE address = 'juergen@example.org'", "=?iso-8859-1?Q?J=FCrgen?=")
    store(path, "UPDATE participants SET name = ? WHERE address = 'zoe@example.org'", misread("Zoë", "latin-1"))
    store(path, "UPDATE labels SET name = ? WHERE name LIKE 'Entw%'", misread("Entwürfe"))
    store(
        path, "UPDATE attachments SET filename = ? WHERE message_id = ?", misread("Bücherliste.pdf", "mac-roman"), ODD
    )
    store(
        path,
        "UPDATE conversations SET subject = ?1, thread_key = lower(?1) WHERE subject = ?2",
        misread(misread(SUBJECT)),
        SUBJECT,
    )


def texts(path: Path) -> list[list[tuple[object, ...]]]:
    with open_archive_readonly(path) as archive:
        return [archive.rows(sql) for sql in TEXTS]
