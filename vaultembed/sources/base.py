"""What every kind of source shares: the files found, what could not be read, and how paths are written down."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaultembed.message import RawMessage

SourceKind = Literal["mbox", "maildir", "eml"]

_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that holds mail: a whole mbox, or one message of a Maildir or a folder."""

    path: Path
    relative_path: str
    """Below the imported path, "/"-separated, printable; the file's name where that path is the file itself."""
    kind: SourceKind
    folder: str
    """The mail folder it belongs to, "/"-separated, as a person knows it; "" at the top."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that should be mail and could not be read. A problem to report, never the end of an import."""

    locator: str
    detail: str
    hides_more: bool = False
    """Looking stopped here: what else is in the file or folder is unknown, not absent."""


@dataclass(frozen=True, slots=True)
class NotMail:
    """A file passed over because nothing about it looks like mail; for counting."""

    path: Path


@dataclass(frozen=True, slots=True)
class MboxEntry:
    """What stands at one place of a file, and where reading goes on after it."""

    message: RawMessage | Unreadable
    end_offset: int
    """Bytes from the start of the file; in an mbox, where the next "From " line begins."""


def printable(path: str | os.PathLike[str]) -> str:
    r"""`path` as valid UTF-8 on one line, for keys, locators and messages.

    Undecodable bytes and control characters become `\xNN`. So does the backslash itself: otherwise the
    file named by the byte 0xff and the one named by the four characters `\xff` would share a key.
    """
    text = os.fspath(path)
    return _UNWRITABLE.sub(_escape, text) if _UNWRITABLE.search(text) else text


def describe_os_error(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0]))
