"""Stores texts wrongly, as another program might have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw


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
