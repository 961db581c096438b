"""`import --dry-run`: what an import from msgvault would do. Reads all that it would read, and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.generations.adopted import find_by_origin
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.mail.messages import Said, content_rev_of, has_text, is_extract_of, is_named, said_by
from vaultembed.archive.mail.places import Known, find_source, known_messages
from vaultembed.errors import UsageError
from vaultembed.importing.parsing import Parsers
from vaultembed.importing.paths import ImportProgress
from vaultembed.importing.writing import Entry, fate_of, parse_entry
from vaultembed.message import ParsedMessage, Problem
from vaultembed.msgvault.batches import Tally, batches, origin_of, settle
from vaultembed.msgvault.binding import is_given_up
from vaultembed.msgvault.entries import Taken, take
from vaultembed.msgvault.moving_in import given_up
from vaultembed.msgvault.opened import MsgvaultPaths, Opened, open_theirs
from vaultembed.msgvault.their_messages import TEXT, TheirMessage, read_messages
from vaultembed.msgvault.their_vectors import BLANK, Covered, TheirGeneration, Why
from vaultembed.msgvault.views import MsgvaultView, adopted_view
from vaultembed.service.importing import find_archives, lacking
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
    deleted: int = 0
    """Deleted here before: they stay so."""
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
    with _present(archive_path) as archive, Parsers(should_stop) as parsers:
        for pair in archives.values():
            plans.append(_Planner(archive, parsers, pair, on_progress, should_stop).run())
            if should_stop():
                break
    is_damaged = any(plan.msgvault.left_out for plan in plans)
    interrupted = should_stop()
    notes = ["Nothing was imported.", *(note for plan in plans for note in lacking(plan.msgvault))]
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
        parsers: Parsers,
        paths: MsgvaultPaths,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._parsers = parsers
        self._paths = paths
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._counts = {"new": 0, "changed": 0, "unchanged": 0, "duplicate": 0, "deleted": 0, "unreadable": 0}
        self._hashes: set[bytes] = set()
        self._mails: dict[str, int] = {}
        """By Message-ID: msgvault's id of a mail that it has as it was sent."""
        self._extracts: dict[str, list[tuple[bytes, Said]]] = {}
        """By Message-ID: what it has of mails without their raw form."""
        self._deleted = 0

    def run(self) -> Planned:
        started = time.monotonic()
        with open_theirs(self._paths) as theirs:
            adoptions = self._adoptions(theirs)
            done = 0
            for messages, unreadable in batches(theirs.database, theirs.ids):
                self._look(theirs, messages, adoptions)
                self._counts["unreadable"] += len(unreadable)
                done += len(messages) + len(unreadable)
                seconds = time.monotonic() - started
                self._on_progress(ImportProgress(self._paths.archive, done, done, len(theirs.ids), seconds))
                if self._should_stop():
                    break
        generations = theirs.vectors.generations if theirs.vectors else ()
        views = [adopted_view(each, *adoptions[each.id]) for each in generations if each.id in adoptions]
        return Planned(PlannedCounts(**self._counts), theirs.view(self._deleted, None, views))

    def _adoptions(self, theirs: Opened) -> dict[int, tuple[Generation | None, Tally]]:
        """By msgvault's id of the generation."""
        found: dict[int, tuple[Generation | None, Tally]] = {}
        if theirs.vectors is None:
            return found
        for generation in theirs.vectors.generations:
            here = find_by_origin(self._archive, origin_of(theirs.vectors, generation)) if self._archive else None
            if here is not None and is_given_up(here):
                theirs.passed_over.append(given_up(generation))
            else:
                found[generation.id] = (here, Tally())
        return found

    def _look(
        self,
        theirs: Opened,
        messages: Sequence[TheirMessage],
        adoptions: Mapping[int, tuple[Generation | None, Tally]],
    ) -> None:
        known = self._known(theirs, messages)
        spots: dict[int, _Spot] = {}
        for message in messages:
            self._deleted += message.deleted_at is not None
            spot = self._spot(theirs, message, known.get(message.id))
            if spot is not None:
                spots[message.id] = spot
        if theirs.vectors is None:
            return
        for their_generation in theirs.vectors.generations:
            if their_generation.id not in adoptions:
                continue
            generation, tally = adoptions[their_generation.id]
            for message_id, verdict in theirs.vectors.read(their_generation, messages, generation).items():
                if message_id in spots:
                    self._tell(theirs, their_generation, generation, tally, spots[message_id], verdict)

    def _spot(self, theirs: Opened, message: TheirMessage, before: Known | None) -> _Spot | None:
        """What the message is here, or would be; None where it would have another text than there."""
        archive = self._archive
        if before is not None and (before.digest == message.digest or theirs.is_damaged):
            self._counts["unchanged"] += 1
            is_same_text = before.digest[TEXT] == message.digest[TEXT]
            return _Spot(before.message_id, (before.message_id, before.content_rev), None) if is_same_text else None
        if before is not None and before.digest[TEXT] == message.digest[TEXT]:
            self._counts["changed"] += 1
            return _Spot(before.message_id, (before.message_id, before.content_rev), None)
        owner = theirs.owner_of(message)
        source_id = self._source_id(owner.name) or 0
        taken = take(theirs.database, message, owner, source_id, "none", was_read=before is not None)
        entry, digest = taken.entry, taken.entry.content_hash
        new = self._parsed(entry) if entry.is_extract else None
        parsed = new
        fate = fate_of(archive, entry, new) if archive is not None else None
        name = message.rfc822_message_id or ""
        is_unknown = fate is not None and new is None and not fate.facts.is_here
        if archive is not None and fate is not None and is_unknown and (fate.present or is_named(archive, name)):
            parsed = self._parsed(entry)
            fate = fate_of(archive, entry, parsed)
        is_new = fate is None or fate.message_id is None
        is_extract = is_new and new is not None and self._is_extract(theirs, new)
        extract = self._extract_of(entry, name) if is_new and new is None and digest not in self._hashes else None
        if is_new:
            is_here = digest in self._hashes or is_extract or extract is not None
            self._counts["duplicate" if is_here else "new"] += 1
        elif fate is not None:
            self._counts["changed" if fate.became == "updated" else fate.became] += 1
        if is_extract:
            return None
        if name and is_new and new is not None and digest not in self._hashes:
            self._extracts.setdefault(name, []).append((digest, said_by(new)))
        self._hashes.add(digest)
        if name and new is None:
            self._mails[name] = message.id
        if archive is None or fate is None or fate.message_id is None:
            return _Spot(extract or digest, None, taken)
        if not fate.is_current:
            return None
        is_kept = parsed is None or has_text(archive, fate.message_id, parsed) or fate.step == "stands"
        pair = (fate.message_id, content_rev_of(archive, fate.message_id)) if is_kept else None
        return _Spot(fate.message_id, pair, taken)

    def _extract_of(self, entry: Entry, name: str) -> bytes | None:
        """Hash of what the import would have written before, and would find to be of this mail."""
        extracts = self._extracts.pop(name, [])
        mail = self._parsed(entry) if len(extracts) == 1 else None
        if mail is not None and is_extract_of(extracts[0][1], said_by(mail)):
            return extracts[0][0]
        if extracts:
            self._extracts[name] = extracts
        return None

    def _parsed(self, entry: Entry) -> ParsedMessage | None:
        parsed = parse_entry(self._parsers, entry)
        return parsed if isinstance(parsed, ParsedMessage) else None

    def _is_extract(self, theirs: Opened, new: ParsedMessage) -> bool:
        """Of a mail that the import would have written before."""
        mail = self._mails.get(new.rfc822_message_id or "")
        if mail is None:
            return False
        (message,) = read_messages(theirs.database, [mail])
        taken = take(theirs.database, message, theirs.owner_of(message), 0, "none", was_read=False)
        whole = parse_entry(self._parsers, taken.entry)
        if isinstance(whole, Problem):
            return False
        return is_extract_of(said_by(new), said_by(whole))

    def _source_id(self, name: str) -> int | None:
        identifier = f"{printable(self._paths.archive.resolve())}#{printable(name)}"
        return find_source(self._archive, "msgvault", identifier) if self._archive is not None else None

    def _known(self, theirs: Opened, messages: Sequence[TheirMessage]) -> dict[int, Known]:
        """By msgvault's id, what an earlier import read."""
        found: dict[int, Known] = {}
        if self._archive is None:
            return found
        keys: dict[str, list[str]] = {}
        for message in messages:
            keys.setdefault(theirs.owner_of(message).name, []).append(str(message.id))
        for name, of_source in keys.items():
            source_id = self._source_id(name)
            if source_id is not None:
                found |= {int(k): v for k, v in known_messages(self._archive, source_id, of_source).items()}
        return found

    def _tell(
        self,
        theirs: Opened,
        generation: TheirGeneration,
        here: Generation | None,
        tally: Tally,
        spot: _Spot,
        verdict: Covered | Why,
    ) -> None:
        """As the import would."""
        if spot.pair is not None and self._archive is not None:
            found = settle(self._archive, here, generation, spot.pair, verdict, is_damaged=theirs.says_little)
            tally.tell(spot.key, found.here, found.verdict)
            return
        new = parse_entry(self._parsers, spot.taken.entry) if verdict == BLANK and spot.taken is not None else None
        if isinstance(new, ParsedMessage) and prepare_text(new.subject, new.body_text):
            verdict = "vectors missing"
        tally.tell(spot.key, "open", verdict)
