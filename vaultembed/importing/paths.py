"""Streams the messages of one imported path into the archive, in batches that each stand for themselves."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.mail import places
from vaultembed.archive.mail.messages import find_by_hash, index_parsed
from vaultembed.archive.mail.places import NOT_TO_ITS_END, Place, Sighting
from vaultembed.archive.mail.problems import forget_problem, record_unread
from vaultembed.archive.mail.reading import read_raw
from vaultembed.archive.mail.readings import is_outdated
from vaultembed.archive.mail.rereading import Reread, finish_rereads
from vaultembed.errors import StoppedError
from vaultembed.failpoints import failpoint
from vaultembed.importing.parsing import Parsers
from vaultembed.importing.rereading import read_kept_again
from vaultembed.importing.size import TotalSize
from vaultembed.importing.writing import (
    Entry,
    Parsed,
    Raw,
    Written,
    entry_of_mime,
    flags_text,
    parse_unknown,
    write_entry,
)
from vaultembed.message import FileState, ParsedMessage, Problem, RawMessage
from vaultembed.sources import (
    NotMail,
    SourceFile,
    Unreadable,
    discover,
    file_state,
    growth,
    read_mbox,
    read_one,
)
from vaultembed.sources.base import printable
from vaultembed.sources.eml import file_flags
from vaultembed.sources.maildir import maildir_flags, maildir_key

BATCH_MESSAGES: Final = 400
BATCH_BYTES: Final = 16 * 1024 * 1024
_BATCHES_AHEAD: Final = 2
"""Are being parsed while another is written."""
_UNREADABLE: Final = "unreadable-file"


@dataclass(frozen=True, slots=True)
class ImportCounts:
    added: int = 0
    updated: int = 0
    """Their file has other content than before."""
    unchanged: int = 0
    marked: int = 0
    """Their text is as it was; labels, flags, or whether msgvault has them deleted, is not."""
    duplicate: int = 0
    """In the archive already, from elsewhere: now known to stand here too."""
    deleted: int = 0
    """Deleted here with `vaultembed delete`; they stay so."""
    gone: int = 0
    """No longer in the source; they stay in the archive."""
    unread: int = 0
    """Messages, files and folders that could not be read; see `vaultembed problems`."""
    problems: int = 0
    """Messages of which something is missing, or not what was sent."""
    guessed: int = 0
    """Messages that were declared wrongly or not at all, and read by a guess."""
    not_mail: int = 0
    """Files passed over."""
    reread: int = 0
    """Messages that an earlier version had read, and this one has read again."""
    differ: int = 0
    """Of those: that read otherwise now."""

    @property
    def messages(self) -> int:
        """That were found in the source."""
        return self.added + self.updated + self.unchanged + self.marked + self.duplicate + self.deleted

    def plus(self, **more: int) -> ImportCounts:
        return replace(self, **{name: getattr(self, name) + n for name, n in more.items()})


@dataclass(frozen=True, slots=True)
class ImportProgress:
    path: Path
    messages: int
    done: int
    """Bytes; of a msgvault archive, messages."""
    total: int | None
    """None until it is known."""
    seconds: float


@dataclass(slots=True)
class _Batch:
    """Read, and not written."""

    steps: list[Entry | Callable[[], None]] = field(default_factory=list)
    """Messages, and what is to be done in their transaction when those before it are written."""
    size: int = 0
    """Bytes."""
    parsed: Callable[[], Iterable[Parsed]] = list
    """Waits for the messages."""

    def add(self, entry: Entry, size: int) -> None:
        self.steps.append(entry)
        self.size += size

    @property
    def is_full(self) -> bool:
        return len(self.steps) >= BATCH_MESSAGES or self.size >= BATCH_BYTES


class PathImport:
    """The import of one path given by the user."""

    def __init__(
        self,
        archive: Archive,
        parsers: Parsers,
        path: Path,
        raw: Raw,
        counts: ImportCounts,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._parsers = parsers
        self._path = Path(os.path.abspath(path))  # not relative to a folder that nobody remembers
        self._identifier = printable(path.resolve())
        self._raw = raw
        self._counts = counts
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._started = time.monotonic()
        self._started_at = int(time.time())
        self._sources: dict[str, int] = {}
        self._sighting = Sighting(archive, self._identifier)
        self._batch = _Batch()
        self._ahead: deque[_Batch] = deque()
        self._total = TotalSize(path)
        self._bytes_done = 0
        self._all_readable = True

    def run(self) -> ImportCounts:
        for found in discover(self._path):
            if isinstance(found, NotMail):
                self._count(not_mail=1)
            elif isinstance(found, Unreadable):
                self._all_readable = self._all_readable and not found.hides_more
                self._report(None, found)
            elif found.kind == "mbox":
                self._import_mbox(found)
            else:
                self._import_one(found)
            if self._should_stop():
                break
        self._pass_on(ahead=0)
        if not self._should_stop():
            self._finish()
        self._total.stop()
        return self._counts

    def _read_kept_again(self, source_ids: Sequence[int]) -> None:
        """What an earlier version has read and was not met, since its file is gone: from what is kept of it."""

        def on_batch(done: Collection[Reread]) -> None:
            self._counts = with_rereads(self._counts, done)
            self._progress()

        read_kept_again(self._archive, self._parsers, source_ids, on_batch, self._should_stop)

    def _finish(self) -> None:
        with self._archive.transaction():
            for source_id in places.sources_at(self._archive, self._identifier):
                if self._all_readable:  # an unreadable folder is not an empty one
                    self._count(gone=self._sighting.mark_gone_files(source_id))
                if self._counts.gone:
                    self._delete_beginnings(source_id)
                places.import_finished(self._archive, source_id)
            if self._all_readable:
                self._sighting.forget_unread(printable(self._path), _UNREADABLE, os.path.lexists)
        self._read_kept_again(places.sources_at(self._archive, self._identifier))

    def _delete_beginnings(self, source_id: int) -> None:
        """Messages that were read half written, from a mailbox that has been rewritten since, or a download that has
        another name now: all of them is the beginning of a message that is here whole. And those that an earlier
        version took for one with what followed them in a mailbox."""
        for key, message_id, other in places.gone_beside_namesakes(self._archive, source_id, self._started_at):
            begun, whole = read_raw(self._archive, message_id), read_raw(self._archive, other)
            if not begun or not whole:
                continue
            is_several = is_outdated(self._archive, message_id) and _is_followed(whole.rstrip(), begun)
            if is_several or _is_beginning(begun.rstrip(), whole):
                places.delete_beginning(self._archive, source_id, key, message_id)

    def _source_id(self, kind: str) -> int:
        if kind not in self._sources:
            self._sources[kind] = places.source_id_of(self._archive, kind, self._identifier)
        return self._sources[kind]

    def _import_one(self, file: SourceFile) -> None:
        """A file that is one message."""
        source_id = self._source_id(file.kind)
        key = maildir_key(file) if file.kind == "maildir" else file.relative_path
        self._sighting.saw_file(source_id, key)
        known = places.read_state(self._archive, source_id, key)
        begun_at, is_same = None, False
        try:
            facts = file.path.stat()
            is_same = known is not None and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
            is_grown = known is not None and known.size < facts.st_size and growth(file.path, known) != "rewritten"
            if is_grown or is_same:  # what stands there is the beginning of it, or it as an earlier version has read it
                begun_at = key
        except OSError:
            facts = None  # renamed since it was listed; reading looks again
        if facts and known and is_same and known.is_current:
            self._refresh(source_id, file, key)
            self._count(unchanged=1)
            self._advance(facts.st_size)
            return
        read = read_one(file)
        if isinstance(read, Unreadable):
            if not os.path.lexists(file.path):
                return  # deleted since it was listed: gone for the next import
            self._all_readable = self._all_readable and facts is not None
            self._report(source_id, read)
            return
        state = self._state(file, facts, facts.st_size, facts.st_size) if facts else None
        entry = entry_of_mime(source_id, read, self._raw, state=state, begun_at=begun_at)
        self._bytes_done += len(read.mime)
        self._batch.add(entry, len(read.mime))
        if self._batch.is_full:
            self._pass_on()

    def _refresh(self, source_id: int, file: SourceFile, key: str) -> None:
        """A Maildir renames a message to change its flags; its content is not read again for that."""
        flags = (maildir_flags if file.kind == "maildir" else file_flags)(file.path.name)
        place = Place(key, printable(file.path), file.folder, flags_text(flags))
        if places.place_differs(self._archive, source_id, place):
            message_id = places.message_at(self._archive, source_id, key)
            if message_id is not None:
                with self._archive.transaction():
                    places.put_at(self._archive, source_id, place, message_id)

    def _import_mbox(self, file: SourceFile) -> None:
        source_id = self._source_id("mbox")
        path = file.relative_path
        self._sighting.saw_file(source_id, path)
        known = places.read_state(self._archive, source_id, path)
        try:
            facts = file.path.stat()
            is_same = known is not None and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
            if known and is_same and known.is_current:
                self._count(unchanged=places.count_in_file(self._archive, source_id, path))
                self._advance(facts.st_size)
                return
            start, begun_at = 0, None
            grown = growth(file.path, known) if known else None
            # read by an earlier version: once more from its beginning
            read_again_to = known.offset if known and not known.is_current and grown != "rewritten" else 0
            if read_again_to:
                self._sighting.note_places(source_id, path)
            elif known and grown == "at-end":
                start = known.offset
            elif grown == "in-last-message":
                begun_at, start = places.last_in_file(self._archive, source_id, path) or (None, 0)
            # A rewritten file is read from its beginning in one go: what is gone from it shows only at the end of that.
            before = places.count_in_file(self._archive, source_id, path)
            is_rewritten = before > 0 and (grown is None or grown == "rewritten" or read_again_to > 0)
            if not is_rewritten:
                self._count(unchanged=before - (begun_at is not None))
        except OSError as error:
            if not os.path.lexists(file.path):
                return
            self._all_readable = False
            self._report(source_id, Unreadable(printable(file.path), error.strerror or str(error)))
            return
        offset = start
        self._bytes_done += start
        whole = True
        for entry in read_mbox(file, start):
            self._bytes_done += entry.end_offset - offset
            offset = entry.end_offset
            if isinstance(entry.message, Unreadable):
                self._report(source_id, entry.message)
                whole = whole and not entry.message.hides_more
            else:
                raw = entry.message
                if offset <= read_again_to and self._was_deleted(source_id, raw):
                    continue
                is_repeated = not self._sighting.saw_key(source_id, raw.source_key)
                new = entry_of_mime(source_id, raw, self._raw, is_repeated=is_repeated, begun_at=begun_at)
                self._batch.add(new, len(raw.mime))
            begun_at = None
            if self._batch.is_full:
                if not is_rewritten:
                    self._then_record(source_id, file, facts, offset, NOT_TO_ITS_END)
                self._pass_on()
            if self._should_stop():
                return
        if whole and read_again_to:
            self._batch.steps.append(lambda: self._count(differ=self._sighting.delete_misread_keys(source_id, path)))
        elif whole and is_rewritten:
            self._batch.steps.append(lambda: self._count(gone=self._sighting.mark_gone_keys(source_id, path)))
        if whole and start == 0:
            locator = printable(file.path)
            self._batch.steps.append(lambda: self._sighting.forget_unread_in_mbox(source_id, locator))
        if whole:
            # size and time from before reading: what was appended meanwhile makes it a changed file the next time
            self._then_record(source_id, file, facts, offset, facts.st_size)
        elif not is_rewritten:
            self._then_record(source_id, file, facts, offset, NOT_TO_ITS_END)

    def _was_deleted(self, source_id: int, raw: RawMessage) -> bool:
        """For ever, since it was read: an mbox that has not changed does not bring it back."""
        is_here = find_by_hash(self._archive, raw.content_hash) is not None
        return not is_here and self._sighting.is_forgotten(source_id, raw.locator)

    def _then_record(self, source_id: int, file: SourceFile, facts: os.stat_result, offset: int, size: int) -> None:
        """Note that an mbox was read up to `offset`, when what stands before that is written."""

        def record() -> None:
            state = self._state(file, facts, offset, size)
            if state is not None:
                places.set_read_state(self._archive, source_id, file.relative_path, state)

        self._batch.steps.append(record)

    def _state(self, file: SourceFile, facts: os.stat_result, offset: int, size: int) -> FileState | None:
        """None where the file is no longer the one that was read, as when its folder is compacted meanwhile."""
        try:
            now = file.path.stat()
            prefix_hash = file_state(file.path, offset).prefix_hash
        except OSError:
            return None
        if (now.st_dev, now.st_ino) != (facts.st_dev, facts.st_ino) or now.st_size < offset:
            return None
        return FileState(size, facts.st_mtime_ns, prefix_hash, offset)

    def _pass_on(self, *, ahead: int = _BATCHES_AHEAD) -> None:
        """Have the batch parsed, and write those before it, but for as many as may be `ahead`."""
        batch, self._batch = self._batch, _Batch()
        if batch.steps:
            entries = [step for step in batch.steps if isinstance(step, Entry)]
            batch.parsed = parse_unknown(self._archive, self._parsers, entries)
            self._ahead.append(batch)
        while len(self._ahead) > ahead or sum(each.size for each in self._ahead) > ahead * BATCH_BYTES:
            if self._should_stop():
                return
            self._write(self._ahead.popleft())

    def _write(self, batch: _Batch) -> None:
        before = self._counts
        try:
            parsed = iter(batch.parsed())
            failpoint("import.before_transaction")
            with self._archive.transaction():
                to_index: dict[int, ParsedMessage] = {}
                reread: dict[int, Reread] = {}
                for step in batch.steps:
                    if self._should_stop():
                        break  # what was written stays
                    if isinstance(step, Entry):
                        written = self._write_message(step, next(parsed))
                        if written.message_id is not None and written.to_index is not None:
                            to_index[written.message_id] = written.to_index
                        if written.message_id is not None and written.reread is not None:
                            reread[written.message_id] = written.reread
                        failpoint("import.in_transaction")
                    else:
                        step()
                finish_rereads(self._archive, reread)
                index_parsed(self._archive, to_index)
        except BaseException as error:
            self._counts = before
            if not isinstance(error, StoppedError):
                raise
        failpoint("import.after_transaction")
        self._progress()

    def _write_message(self, entry: Entry, new: Parsed) -> Written:
        archive = self._archive
        written = write_entry(archive, self._parsers, entry, new)
        self._counts = counted(self._counts, written)
        if entry.state is not None and written.message_id is not None:
            places.set_read_state(archive, entry.source_id, entry.place.source_key, entry.state)
            forget_problem(archive, entry.place.locator, _UNREADABLE)
        return written

    def _report(self, source_id: int | None, unreadable: Unreadable) -> None:
        self._count(unread=1)
        self._sighting.saw_unread(unreadable.locator)
        with self._archive.transaction():
            record_unread(self._archive, source_id, unreadable.locator, Problem(_UNREADABLE, unreadable.detail))

    def _count(self, **more: int) -> None:
        self._counts = self._counts.plus(**more)

    def _advance(self, size: int) -> None:
        self._bytes_done += size
        self._progress()

    def _progress(self) -> None:
        seconds = time.monotonic() - self._started
        self._on_progress(
            ImportProgress(self._path, self._counts.messages, self._bytes_done, self._total.known, seconds)
        )


def _is_beginning(begun: bytes, whole: bytes) -> bool:
    lines, end, last = begun.rpartition(b"\n")  # where ">From " was cut short, it was not unquoted
    return len(begun) < len(whole) and whole.startswith((begun, lines + end + last.removeprefix(b">")))


def _is_followed(first: bytes, several: bytes) -> bool:
    return several.startswith(first) and several[len(first) :].lstrip(b"\r\n>").startswith(b"From ")


def counted(counts: ImportCounts, written: Written) -> ImportCounts:
    """With one more message."""
    more = {"gone": int(written.displaced)}
    if written.weight is not None:
        more["problems" if written.weight == "incomplete" else written.weight] = 1
    if written.became != "unreadable":
        more[written.became] = 1
    counts = counts.plus(**more)
    return counts if written.reread is None else with_rereads(counts, [written.reread])


def with_rereads(counts: ImportCounts, done: Collection[Reread]) -> ImportCounts:
    return counts.plus(reread=len(done), differ=sum(each.differs for each in done))
