"""Deletes messages for ever, and leaves nothing of them in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.mail.deletion import remove_messages, remove_unused
from vaultembed.archive.upkeep.pruning import remove_orphans
from vaultembed.archive.upkeep.shrinking import empty_log
from vaultembed.failpoints import failpoint

_BATCH: Final = 100
_MERGED_PAGES: Final = 500
"""Of the text index, written in one transaction."""


def delete_forever(
    archive: Archive,
    message_ids: Sequence[int],
    should_stop: Callable[[], bool] = lambda: False,
    on_messages: Callable[[int], None] = lambda _: None,
    on_log_held: Callable[[], None] = lambda: None,
) -> int:
    """Remove messages with all that is theirs; returns how many. Needs `load_vec`.

    What they leave free in the file is overwritten with zeros. `on_messages` is told how many are done. `on_log_held`
    is called where a reader keeps that from being so: the file as it was, and the log beside it, hold them still.
    """
    removed = 0
    archive.db.pragma("secure_delete", True)
    try:
        for start in range(0, len(message_ids), _BATCH):
            if should_stop():
                break
            with archive.transaction():
                removed += remove_messages(archive, message_ids[start : start + _BATCH])
                failpoint("delete.step")
                remove_orphans(archive)
                failpoint("delete.step")
            failpoint("delete.step")
            on_messages(removed)
        # also where nothing is left to remove: an earlier deletion may have ended before this
        erase_traces(archive, should_stop)
        # else the log beside the archive would go on holding what was removed
        if not empty_log(archive):
            on_log_held()
    finally:
        archive.db.pragma("secure_delete", False)
    return removed


def erase_traces(archive: Archive, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Of messages that were removed, now or earlier: names that nobody bears any more, and words in the text index,
    which is merged into one part, some pages at a time: until then they stay in it, although no search finds anything
    by them."""
    remove_unused(archive)
    failpoint("delete.step")
    pages = -_MERGED_PAGES  # negative: take everything into the merge
    while not should_stop():
        before = archive.db.total_changes()
        with archive.transaction():
            archive.execute("INSERT INTO messages_fts(messages_fts, rank) VALUES ('merge', ?)", (pages,))
            failpoint("delete.step")
        if archive.db.total_changes() - before < 2:  # as FTS5 says that there was nothing left to merge
            break
        pages = _MERGED_PAGES
