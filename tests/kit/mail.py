"""Small mailboxes made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def mail(
    subject: str,
    body: str,
    *,
    message_id: str | None = None,
    headers: Sequence[str] = (),
    date: str = "Mon, 03 Feb 2003 10:00:00 +0100",
    sender: str = "Ada <ada@example.org>",
) -> bytes:
    identifier = message_id or f"{abs(hash((subject, body)))}@example.org"
    lines = [f"From: {sender}", "To: bob@example.org", f"Date: {date}", f"Subject: {subject}"]
    lines += [f"Message-ID: <{identifier}>", *headers, "", body, ""]
    return "\n".join(lines).encode()


def mbox(path: Path, messages: Sequence[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(b"From ada@example.org Mon Feb  3 10:00:00 2003\n" + m + b"\n" for m in messages))
    return path


def maildir(path: Path, messages: dict[str, bytes], folder: str = "cur") -> Path:
    """File names are given whole, flags included."""
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True, exist_ok=True)
    for name, content in messages.items():
        (path / folder / name).write_bytes(content)
    return path


def many(count: int, start: int = 0) -> list[bytes]:
    return [
        mail(f"subject {n}", f"word{n} and some text about thing{n % 5}\n", message_id=f"{n}@example.org")
        for n in range(start, start + count)
    ]
