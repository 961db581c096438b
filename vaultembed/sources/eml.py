"""A file that holds one message: .eml, .msg in RFC 5322 form, MH folders, files of any name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from vaultembed.message import MESSAGE_LIMIT, Flag, RawMessage
from vaultembed.sources.base import SourceFile, Unreadable, describe_os_error, printable
from vaultembed.sources.closed import closed_format, unpacked
from vaultembed.sources.envelope import open_envelope
from vaultembed.sources.sniff import HEAD_SIZE, without_utf_16
from vaultembed.text.mime.identity import content_hash

_REMOVED: Final = re.compile(r"[,#]\d+")
"""How MH names what rmm has removed, until somebody cleans up."""


def read_eml_file(file: SourceFile) -> RawMessage | Unreadable:
    """The message in `file`. A byte order mark or a From_ line in front is cut off."""
    locator = printable(file.path)
    try:
        raw = read_message_bytes(file.path)
    except OSError as error:
        return Unreadable(locator, describe_os_error(error))
    if isinstance(raw, Unreadable):
        return raw
    mime, delivered_at = open_envelope(raw)
    return RawMessage(
        source_key=file.relative_path,
        locator=locator,
        mime=mime,
        content_hash=content_hash(mime),
        folder=file.folder,
        flags=file_flags(file.path.name),
        delivered_at=delivered_at,
    )


def file_flags(name: str) -> frozenset[Flag]:
    """The flags in a file name."""
    return frozenset({"trashed"}) if _REMOVED.fullmatch(name) else frozenset()


def read_message_bytes(path: Path) -> bytes | Unreadable:
    """The bytes of a one-message file, unpacked, or why they cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MESSAGE_LIMIT:
            return Unreadable(
                printable(path),
                f"a message of {size / 1e6:.0f} MB is too large to read; take attachments out of it first",
            )
        raw = stream.read(size + 1)  # of a size that is not known, the whole buffer is set aside first
    try:
        raw = unpacked(raw)
    except ValueError as error:
        return Unreadable(printable(path), str(error))
    told = closed_format(path, raw[:HEAD_SIZE], is_message=True) if raw else "the file is empty"
    return Unreadable(printable(path), told) if told else without_utf_16(raw)
