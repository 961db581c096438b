"""`import --dry-run`: what an import from msgvault would do. Reads all that it would read, and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.generations.work import read_work
from vaultembed.archive.mail.messages import NewMessage, content_rev_of, find_by_hash, has_text
from vaultembed.archive.mail.places import Known, find_source, known_messages
from vaultembed.errors import UsageError
from vaultembed.importing.paths import ImportProgress
from vaultembed.msgvault.adoption import Standing, find_by_origin, standing
from vaultembed.msgvault.batches import Tally, batches, origin_of
from vaultembed.msgvault.binding import is_given_up
from vaultembed.msgvault.entries import Taken, take
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase, check_is_archive, open_pair
from vaultembed.msgvault.moving_in import MsgvaultPaths, given_up, owner_of, readable_vectors
from vaultembed.msgvault.their_messages import (
    TEXT,
    TheirMessage,
    TheirSource,
    left_out,
    list_message_ids,
    list_sources,
)
from vaultembed.msgvault.their_vectors import TheirChunk, TheirVectors, Why
from vaultembed.msgvault.views import AdoptedView, MsgvaultView, adopted_view
from vaultembed.service.importing import find_archives
from vaultembed.service.result import Result
from vaultembed.sources.base import printable
from vaultembed.text.embeddable.prepare import prepare_text


@dataclass(frozen=True, slots=True)
class PlannedCounts:
    """Messages of a msgvault archive, as an import would find them."""

    new: int = 0
    changed: int = 0
    """Read before, and not as they were then."""
    unchanged: int = 0
    duplicate: int = 0
    """Here already, from elsewhere."""
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    counts: PlannedCounts
    msgvault: MsgvaultView


@dataclass(frozen=True, slots=True)
class ImportPlan:
    archive: Path
    plans: tuple[Planned, ...]
    seconds: float
    interrupted: bool


def plan_import(
    archive_path: Path,
    paths: Sequence[Path],
    *,
    vectors: Path | None = None,
    on_progress: Callable[[ImportProgress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[ImportPlan]:
    """
    Raises:
        UsageError: a path is no msgvault archive: what an import of mail would do, only the import can tell.
        VaultembedError: a msgvault archive cannot be read.
    """
    started = time.monotonic()
    archives = find_archives(paths, vectors)
    for path in paths:
        if path not in archives:
            raise UsageError(
                f"{path} is not a msgvault archive; --dry-run is for those",
                "Mail can be imported without harm: what is here already is skipped, and nothing is deleted.",
            )
    plans = []
    with _present(archive_path) as archive:
        for pair in archives.values():
            plans.append(_Planner(archive, pair, on_progress, should_stop).run())
            if should_stop():
                break
    is_damaged = any(plan.msgvault.left_out for plan in plans)
    interrupted = should_stop()
    notes = ["Nothing was imported."]
    data = ImportPlan(archive_path, tuple(plans), time.monotonic() - started, interrupted)
    return Result("import", data, tuple(notes), 130 if interrupted else 1 if is_damaged else 0)


@contextmanager
def _present(path: Path) -> Iterator[Archive | None]:
    """The archive, if there is one yet."""
    if not path.exists() or not path.stat().st_size:
        yield None
        return
    with open_archive_readonly(path) as archive, archive.snapshot():
        yield archive


@dataclass(frozen=True, slots=True)
class _Spot:
    """What a message of msgvault is here."""

    key: Hashable
    """Its id; its hash, where it is not here yet."""
    pair: tuple[int, int] | None
    """Its id, and the content_rev that it has with the text from there; None: it would be written."""
    taken: Taken | None


class _Planner:
    def __init__(
        self,
        archive: Archive | None,
        paths: MsgvaultPaths,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._paths = paths
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._counts = {"new": 0, "changed": 0, "unchanged": 0, "duplicate": 0, "unreadable": 0}
        self._hashes: set[bytes] = set()
        self._deleted = 0

    def run(self) -> Planned:
        started = time.monotonic()
        missing: list[str] = []
        passed_over: list[str] = []
        vectors_path = readable_vectors(self._paths.vectors, missing)
        with open_pair(self._paths.archive, vectors_path) as (database, opened):
            check_is_archive(database)
            parts = left_out(database)
            missing += parts
            is_damaged = bool(parts)
            vectors = None
            if opened is not None:
                try:
                    vectors = TheirVectors(opened, database)
                    missing += vectors.left_out
                    passed_over += vectors.passed_over
                except ForeignDamageError as error:
                    missing.append(f"all vectors: {error.message}")
            sources = list_sources(database)
            ids, is_whole = list_message_ids(database)
            if not is_whole:
                missing.append("messages on damaged pages of msgvault.db")
            adoptions = self._adoptions(vectors, passed_over)
            done = 0
            for messages, unreadable in batches(database, ids):
                self._look(database, vectors, sources, messages, adoptions, is_damaged=is_damaged)
                self._counts["unreadable"] += len(unreadable)
                done += len(messages) + len(unreadable)
                self._on_progress(ImportProgress(self._paths.archive, done, done, len(ids), time.monotonic() - started))
                if self._should_stop():
                    break
        views: list[AdoptedView] = []
        for number, (here, tally) in adoptions.items():
            theirs = next(g for g in vectors.generations if g.id == number) if vectors else None
            if theirs is not None:
                views.append(adopted_view(theirs, here, tally))
        view = MsgvaultView(
            path=self._paths.archive,
            vectors=self._paths.vectors,
            shape=vectors.shape if vectors else None,
            sources=len(sources),
            messages=len(ids),
            deleted=self._deleted,
            left_out=tuple(missing),
            passed_over=tuple(passed_over),
            generations=tuple(views),
        )
        return Planned(PlannedCounts(**self._counts), view)

    def _adoptions(
        self, vectors: TheirVectors | None, passed_over: list[str]
    ) -> dict[int, tuple[Generation | None, Tally]]:
        """By msgvault's id of the generation."""
        found = {}
        for theirs in vectors.generations if vectors else ():
            here = find_by_origin(self._archive, origin_of(vectors, theirs)) if self._archive and vectors else None
            if here is not None and is_given_up(here):
                passed_over.append(given_up(theirs))
            else:
                found[theirs.id] = (here, Tally())
        return found

    def _look(
        self,
        database: ForeignDatabase,
        vectors: TheirVectors | None,
        sources: Mapping[int, TheirSource],
        messages: Sequence[TheirMessage],
        adoptions: Mapping[int, tuple[Generation | None, Tally]],
        *,
        is_damaged: bool,
    ) -> None:
        known = self._known(messages, sources)
        spots: dict[int, _Spot] = {}
        for message in messages:
            self._deleted += message.deleted_at is not None
            spot = self._spot(
                database, message, owner_of(message, sources), known.get(message.id), is_damaged=is_damaged
            )
            if spot is not None:
                spots[message.id] = spot
        for theirs in vectors.generations if vectors else ():
            if vectors is None or theirs.id not in adoptions:
                continue
            generation, tally = adoptions[theirs.id]
            for message_id, verdict in vectors.read(theirs, messages).items():
                if message_id in spots:
                    self._tell(generation, tally, spots[message_id], verdict)

    def _spot(
        self,
        database: ForeignDatabase,
        message: TheirMessage,
        source: TheirSource,
        before: Known | None,
        *,
        is_damaged: bool,
    ) -> _Spot | None:
        """What the message is here, or would be; None where it would have another text than there."""
        archive = self._archive
        if before is not None and (before.digest == message.digest or is_damaged):
            self._counts["unchanged"] += 1
            is_same_text = before.digest[TEXT] == message.digest[TEXT]
            return _Spot(before.message_id, (before.message_id, before.content_rev), None) if is_same_text else None
        if before is not None:
            self._counts["changed"] += 1
            if before.digest[TEXT] == message.digest[TEXT]:
                return _Spot(before.message_id, (before.message_id, before.content_rev), None)
        taken = take(database, message, source, 0, "none", was_read=before is not None)
        digest = taken.entry.content_hash
        found = find_by_hash(archive, digest) if archive is not None else None
        if before is None:
            is_here = found is not None or digest in self._hashes
            self._counts["duplicate" if is_here else "new"] += 1
        self._hashes.add(digest)
        if archive is None or found is None:
            return _Spot(digest if before is None else before.message_id, None, taken)
        new = taken.entry.decode() if taken.entry.is_extract else None
        if isinstance(new, NewMessage) and not has_text(archive, found, new):
            return None if before is None else _Spot(found, None, taken)
        return _Spot(found, (found, content_rev_of(archive, found)), taken)

    def _known(self, messages: Sequence[TheirMessage], sources: Mapping[int, TheirSource]) -> dict[int, Known]:
        """By msgvault's id, what an earlier import read."""
        found: dict[int, Known] = {}
        if self._archive is None:
            return found
        keys: dict[str, list[str]] = {}
        for message in messages:
            keys.setdefault(owner_of(message, sources).name, []).append(str(message.id))
        for name, of_source in keys.items():
            identifier = f"{printable(self._paths.archive.resolve())}#{printable(name)}"
            source_id = find_source(self._archive, "msgvault", identifier)
            if source_id is not None:
                found |= {int(k): v for k, v in known_messages(self._archive, source_id, of_source).items()}
        return found

    def _tell(self, generation: Generation | None, tally: Tally, spot: _Spot, verdict: list[TheirChunk] | Why) -> None:
        """As the import would."""
        here: Standing = "open"
        if spot.pair is not None and self._archive is not None:
            here = standing(self._archive, generation.id if generation else None, *spot.pair)
        if here == "open" and verdict == [] and not self._is_blank(spot):
            verdict = "vectors missing"
        tally.tell(spot.key, here, verdict)

    def _is_blank(self, spot: _Spot) -> bool:
        if spot.taken is not None:
            new = spot.taken.entry.decode()
            return not isinstance(new, NewMessage) or prepare_text(new.parsed.subject, new.parsed.body_text) == ""
        if spot.pair is None or self._archive is None:
            return True
        return all(prepare_text(w.subject, w.body_text) == "" for w in read_work(self._archive, [spot.pair[0]]))
