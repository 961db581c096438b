"""Where messages come from: each kind of source is a stream of raw messages, read in bounded memory."""

from __future__ import annotations

from vaultembed.message import FileState, RawMessage
from vaultembed.sources.base import MboxEntry, NotMail, SourceFile, Unreadable
from vaultembed.sources.detect import discover
from vaultembed.sources.eml import read_eml_file
from vaultembed.sources.maildir import read_maildir_file
from vaultembed.sources.mbox import file_state, growth, read_mbox

__all__ = [
    "FileState",
    "MboxEntry",
    "NotMail",
    "SourceFile",
    "Unreadable",
    "discover",
    "file_state",
    "growth",
    "read_mbox",
    "read_one",
]


def read_one(file: SourceFile) -> RawMessage | Unreadable:
    """The message in a file that holds one: of a Maildir, or by itself."""
    match file.kind:
        case "maildir":
            return read_maildir_file(file)
        case "eml":
            return read_eml_file(file)
        case "mbox":
            raise ValueError(f"{file.path} holds many messages")
