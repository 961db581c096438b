"""Where messages come from: each kind of source is a stream of raw messages, read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from vaultembed.sources.base import FileState, MboxEntry, NotMail, SourceFile, Unreadable
from vaultembed.sources.detect import discover
from vaultembed.sources.eml import read_eml_file
from vaultembed.sources.maildir import read_maildir_file
from vaultembed.sources.mbox import continues, file_state, read_mbox, unchanged

__all__ = [
    "FileState",
    "MboxEntry",
    "NotMail",
    "SourceFile",
    "Unreadable",
    "continues",
    "discover",
    "file_state",
    "read_file",
    "read_mbox",
    "unchanged",
]


def read_file(file: SourceFile, start: int = 0) -> Iterator[MboxEntry]:
    """The messages of any file that `discover` found. `start`: see `read_mbox`; a file of one message has only 0."""
    if file.kind == "mbox":
        yield from read_mbox(file, start)
    elif start == 0:
        message = read_maildir_file(file) if file.kind == "maildir" else read_eml_file(file)
        yield MboxEntry(message, 0 if isinstance(message, Unreadable) else len(message.mime))
