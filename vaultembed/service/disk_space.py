"""Says how much space a command still needs when the disk is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.records import generation_to_fill
from vaultembed.archive.upkeep.space import bytes_per_message_byte, bytes_to_embed
from vaultembed.errors import DiskFullError, VaultembedError

_LOG_BYTES: Final = 16_000_000
"""What is written stands in the write-ahead log first, which is emptied at 8 MB and after each batch."""
_SPARE: Final = 1.25
_FILE_PER_MAIL: Final = 2.5
"""Bytes of the archive for a byte of mail: plain text, its index, and the message as it was sent, compressed."""
_BATCH_BYTES: Final = 4_000_000


@contextmanager
def space_needed_hint(needed: Callable[[], int | None]) -> Iterator[None]:
    """Inside, a full disk is reported with what the rest of the command needs.

    `needed` is asked only then, after the archive has been closed: so this goes around `open_archive`.
    """
    try:
        yield
    except DiskFullError as error:
        try:
            about = needed()
        except (VaultembedError, OSError):
            about = None  # a hint must not stand in the way of the error
        raise DiskFullError(error.path, error.free_bytes, about) from error


def needed_by_build(archive_path: Path) -> int | None:
    """Space that `embeddings build` needs for the messages still missing; None where there is no telling yet."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generation = generation_to_fill(archive)
        return None if generation is None else with_room(bytes_to_embed(archive, generation))


def needed_by_import(archive_path: Path, bytes_left: int) -> int:
    """Space that an import needs for `bytes_left` of its sources, going by what mail takes in this archive."""
    ratio = None
    try:
        with open_archive_readonly(archive_path) as archive, archive.snapshot():
            ratio = bytes_per_message_byte(archive)
    except VaultembedError:
        pass  # not even created
    return with_room(round(bytes_left * (ratio or _FILE_PER_MAIL)))


def with_room(data: int) -> int:
    """Space for so much more in the file: the write-ahead log stands beside it for a while."""
    return round(data * _SPARE) + min(_LOG_BYTES, data + _BATCH_BYTES)
