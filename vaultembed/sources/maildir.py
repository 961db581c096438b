"""Maildir: one message a file, its flags at the end of the file's name.

https://cr.yp.to/proto/maildir.html. The name is `unique:2,FLAGS`; where file systems forbid the colon,
programs write "!", ";" or "-" instead, and Cygwin and Samba U+F03A. Changing a flag renames the file, and so
does seeing it first (new → cur).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from vaultembed.message import Flag, RawMessage
from vaultembed.sources.base import SourceFile, Unreadable, describe_os_error, printable
from vaultembed.sources.eml import read_message_bytes
from vaultembed.sources.envelope import open_envelope
from vaultembed.text.mime.identity import content_hash

MESSAGE_DIRS: Final = ("cur", "new")

_INFO = re.compile("(?:[:!;\uf03a]1,.*|[-:!;\uf03a]2,([A-Za-z]*))\\Z")
_FLAGS: Final[dict[str, Flag]] = {
    "S": "seen",
    "R": "answered",
    "F": "flagged",
    "D": "draft",
    "T": "trashed",
    "P": "passed",
}
_DELIVERY_TIME = re.compile(r"(\d{9,10})[._]")


def has_flags(name: str) -> bool:
    """Whether a file's name ends the way only names in a Maildir do."""
    match = _INFO.search(name)
    return match is not None and not match[0].startswith("-")  # "report-2,final" may be anything


def read_maildir_file(file: SourceFile) -> RawMessage | Unreadable:
    """The message in `file`, looked for once more under its other names if it was renamed since it was listed.

    Its key is the name it would have in `cur` without flags, so that neither being seen nor a flag changes it.
    """
    path = file.path
    try:
        try:
            raw = read_message_bytes(path)
        except FileNotFoundError:
            renamed = _find_renamed(path)
            if renamed is None:
                raise
            path = renamed
            raw = read_message_bytes(path)
    except OSError as error:
        return Unreadable(printable(path), describe_os_error(error))
    if isinstance(raw, Unreadable):
        return raw
    mime, delivered_at = open_envelope(raw)
    return RawMessage(
        source_key=maildir_key(file),
        locator=printable(path),
        mime=mime,
        content_hash=content_hash(mime),
        folder=file.folder,
        flags=maildir_flags(path.name),
        delivered_at=_delivery_time(path.name) or delivered_at,
    )


def _base(name: str) -> str:
    return _INFO.sub("", name)


def maildir_key(file: SourceFile) -> str:
    """The `source_key` of a message, from its path alone: the name it would have in `cur` without flags."""
    folder, slash, name = file.relative_path.rpartition("/")
    above, _, last = folder.rpartition("/")
    if last == "new":
        folder = f"{above}/cur" if above else "cur"
    return folder + slash + _base(name)


def maildir_flags(name: str) -> frozenset[Flag]:
    """The flags in a file name."""
    match = _INFO.search(name)
    letters = (match[1] or "") if match else ""
    return frozenset(_FLAGS[letter] for letter in letters if letter in _FLAGS)


def _delivery_time(name: str) -> int | None:
    """Unix seconds from the front of the name, from 1980 on; other numbers there are no time."""
    match = _DELIVERY_TIME.match(name)
    seconds = int(match[1]) if match else 0
    return seconds if 315_532_800 <= seconds < 4_102_444_800 else None


def _find_renamed(path: Path) -> Path | None:
    base = _base(path.name)
    if path.parent.name in MESSAGE_DIRS:
        folders = [path.parent.parent / name for name in MESSAGE_DIRS]
    else:
        folders = [path.parent]
    # Most often the message was just seen: no need to list a folder of half a million for that.
    for guess in (folders[0] / f"{base}:2,S", folders[0] / f"{base}:2,"):
        if guess.exists():
            return guess
    for folder in folders:
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(base) and _base(entry.name) == base:
                    return folder / entry.name
    return None
