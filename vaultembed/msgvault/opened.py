"""A msgvault archive, opened: its messages, the vectors that go with them, and what of it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vaultembed.errors import VaultembedError
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase, check_is_archive, open_foreign, open_pair
from vaultembed.msgvault.their_messages import TheirMessage, TheirSource, left_out, list_message_ids, list_sources
from vaultembed.msgvault.their_vectors import TheirVectors
from vaultembed.msgvault.views import AdoptedView, MsgvaultView


@dataclass(frozen=True, slots=True)
class MsgvaultPaths:
    archive: Path
    vectors: Path | None
    """None: there is none beside it."""


@dataclass(frozen=True, slots=True)
class Opened:
    paths: MsgvaultPaths
    database: ForeignDatabase
    vectors: TheirVectors | None
    sources: Mapping[int, TheirSource]
    ids: Sequence[int]
    """Of all messages, in order."""
    is_whole: bool
    """False: some ids may be missing, because pages are damaged."""
    beyond: int
    """Messages with vectors that come after the last of those."""
    is_damaged: bool
    """Parts of messages are missing: what is here is worth more, and is left as it is."""
    left_out: list[str]
    """What is damaged, each with the reason; grows with what is found later."""
    passed_over: list[str]
    """Generations that are not taken over, each with the reason; grows as well."""

    def owner_of(self, message: TheirMessage) -> TheirSource:
        """Also of a message whose source is not there."""
        return self.sources.get(message.source_id) or TheirSource(message.source_id, "unknown", str(message.source_id))

    @property
    def says_little(self) -> bool:
        """Against vectors that are here: what it would be told by is missing."""
        return self.is_damaged or self.vectors is None or not self.vectors.is_pending_known

    def view(self, deleted: int, elsewhere: int | None, generations: Sequence[AdoptedView]) -> MsgvaultView:
        return MsgvaultView(
            path=self.paths.archive,
            vectors=self.paths.vectors,
            shape=self.vectors.shape if self.vectors else None,
            sources=len(self.sources),
            messages=len(self.ids),
            deleted=deleted,
            beyond=self.beyond,
            elsewhere=elsewhere,
            left_out=tuple(self.left_out),
            passed_over=tuple(self.passed_over),
            generations=tuple(generations),
        )


@contextmanager
def open_theirs(paths: MsgvaultPaths) -> Iterator[Opened]:
    """
    Raises:
        VaultembedError: msgvault.db cannot be read, or is no whole archive. What is wrong with vectors.db is reported
            in `left_out`.
    """
    missing: list[str] = []
    with (
        ExitStack() as stack,
        open_pair(paths.archive, _readable_vectors(paths.vectors, missing)) as (database, vectors_database),
    ):
        check_is_archive(database)
        parts = left_out(database)
        missing += parts
        vectors = None
        if vectors_database is not None:
            try:
                vectors = TheirVectors(vectors_database, database)
                stack.callback(vectors.close)
                missing += vectors.left_out
            except ForeignDamageError as error:
                missing.append(f"all vectors: {error.message}")
        sources = list_sources(database)
        ids, is_whole = list_message_ids(database)
        if not is_whole:
            missing.append("messages on damaged pages of msgvault.db")
        passed_over = list(vectors.passed_over) if vectors else []
        beyond = vectors.count_beyond(ids[-1] if ids else 0) if vectors and is_whole else 0
        yield Opened(paths, database, vectors, sources, ids, is_whole, beyond, bool(parts), missing, passed_over)


def _readable_vectors(path: Path | None, left_out: list[str]) -> Path | None:
    """None where it is no database: the messages are imported all the same, and `left_out` is told."""
    if path is None:
        return None
    try:
        with open_foreign(path) as database:
            database.tables()
    except VaultembedError as error:
        left_out.append(f"all vectors: {error.message}")
        return None
    return path


def find_vectors(archive: Path, named: Path | None) -> Path | None:
    """The vectors.db that goes with a msgvault.db: the one named, else the one beside it, if there is one."""
    if named is not None:
        return named
    beside = archive.with_name("vectors.db")
    with suppress(OSError):
        return beside if os.path.lexists(beside) else None
    return None
