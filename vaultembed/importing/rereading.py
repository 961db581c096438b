"""Reads messages again that an earlier version has read, from what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.mail.reading import read_raw
from vaultembed.archive.mail.readings import is_outdated, outdated_messages
from vaultembed.archive.mail.rereading import Reread, finish_rereads, read_again, stored_message
from vaultembed.errors import DamageError, StoppedError
from vaultembed.failpoints import failpoint
from vaultembed.importing.parser import Mime
from vaultembed.importing.parsing import Parsers

_BATCH: Final = 400
_MOST_BYTES: Final = 16 * 1024 * 1024


def as_kept(archive: Archive, message_id: int, of_copy: Mime | None = None) -> Mime | None:
    """What is to be read again of a message: as it was sent when it was first imported. Else `of_copy`."""
    try:
        mime = read_raw(archive, message_id)
    except DamageError:
        mime = None
    if mime is None:
        return None if of_copy is None else replace(of_copy, is_kept=False)
    if of_copy is not None:
        return replace(of_copy, mime=mime, is_kept=False)
    here = stored_message(archive, message_id)  # where it has no date, it was delivered then
    return Mime(mime, here.content_hash, here.sent_at, is_kept=False)


def read_kept_again(
    archive: Archive,
    parsers: Parsers,
    source_ids: Sequence[int] | None,
    on_batch: Callable[[Collection[Reread]], None],
    should_stop: Callable[[], bool],
) -> None:
    """Messages of some sources, or of all, that are kept as they were sent: also those whose files are gone. What was
    written stays where this is stopped, and it goes on from there."""
    after = 0
    while not should_stop() and (ids := outdated_messages(archive, source_ids, after, _BATCH)):
        messages: dict[int, Mime] = {}
        size = 0
        for message_id in ids:
            kept = as_kept(archive, message_id)
            after = message_id
            if kept is not None:
                messages[message_id] = kept
                size += kept.size
            if size >= _MOST_BYTES:
                break
        try:
            parsed = parsers.collect(parsers.submit(list(messages.values())))
        except StoppedError:
            return
        failpoint("reread.before_transaction")
        done: dict[int, Reread] = {}
        with archive.transaction():
            for message_id, found in zip(messages, parsed, strict=True):
                if not is_outdated(archive, message_id):
                    continue  # another import was quicker, or it is gone
                done[message_id] = read_again(archive, message_id, found)
                failpoint("reread.in_transaction")
            finish_rereads(archive, done)
        on_batch(done.values())
