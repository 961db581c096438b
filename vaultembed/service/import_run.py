"""Streams the messages of one imported path into the archive, in batches that each stand for themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from vaultembed.archive import imported
from vaultembed.archive.database import Archive
from vaultembed.archive.imported import NOT_TO_ITS_END, Place, ReadState, Sighting
from vaultembed.archive.messages import (
    NewMessage,
    add_labels,
    add_message,
    compress,
    find_by_hash,
    forget_problem,
    record_problems,
    replace_message,
)
from vaultembed.failpoints import failpoint
from vaultembed.message import Problem, RawMessage
from vaultembed.service.total_size import TotalSize
from vaultembed.sources import (
    FileState,
    NotMail,
    SourceFile,
    Unreadable,
    continues,
    discover,
    file_state,
    read_mbox,
    read_one,
)
from vaultembed.sources.base import printable
from vaultembed.sources.maildir import maildir_flags, maildir_key
from vaultembed.text.mime import parse_message, read_labels
from vaultembed.text.snippet import snippet
from vaultembed.text.subject import base_subject

Raw = Literal["keep", "none"]

BATCH_MESSAGES: Final = 400
BATCH_BYTES: Final = 32 * 1024 * 1024
_UNREADABLE: Final = "unreadable-file"


@dataclass(frozen=True, slots=True)
class ImportCounts:
    added: int = 0
    updated: int = 0
    """Their file has other content than before."""
    unchanged: int = 0
    duplicate: int = 0
    """In the archive already, from elsewhere: now known to stand here too."""
    deleted: int = 0
    """Deleted here with `vaultembed delete`; they stay so."""
    gone: int = 0
    """No longer in the source; they stay in the archive."""
    problems: int = 0
    """Messages or files with something wrong; see `vaultembed problems`."""
    not_mail: int = 0
    """Files passed over."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    path: Path
    messages: int
    bytes_done: int
    bytes_total: int | None
    """None until it is known."""
    seconds: float


@dataclass(slots=True)
class _Pending:
    """Read but not written."""

    source_id: int
    raw: RawMessage
    is_repeated: bool
    """The same message stood before in the same mbox."""
    state: ReadState | None
    """To be recorded with it; an mbox's is recorded by offset, once a batch."""


@dataclass(slots=True)
class _Batch:
    messages: list[_Pending] = field(default_factory=list)
    size: int = 0

    def add(self, pending: _Pending) -> None:
        self.messages.append(pending)
        self.size += len(pending.raw.mime)

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= BATCH_MESSAGES or self.size >= BATCH_BYTES


class PathImport:
    """The import of one path given by the user."""

    def __init__(
        self,
        archive: Archive,
        path: Path,
        raw: Raw,
        counts: ImportCounts,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._path = Path(os.path.abspath(path))  # not relative to a folder that nobody remembers
        self._identifier = printable(path.resolve())
        self._raw = raw
        self._counts = counts
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._started = time.monotonic()
        self._sources: dict[str, int] = {}
        self._sighting = Sighting(archive, self._identifier)
        self._batch = _Batch()
        self._total = TotalSize(path)
        self._bytes_done = 0
        self._all_readable = True

    def run(self) -> ImportCounts:
        for found in discover(self._path):
            if isinstance(found, NotMail):
                self._count(not_mail=1)
            elif isinstance(found, Unreadable):
                self._all_readable = False
                self._report(None, found)
            elif found.kind == "mbox":
                self._import_mbox(found)
            else:
                self._import_one(found)
            if self._should_stop():
                break
        self._flush()
        if not self._should_stop():
            self._finish()
        self._total.stop()
        return self._counts

    def _finish(self) -> None:
        with self._archive.transaction():
            for source_id in imported.sources_at(self._archive, self._identifier):
                if self._all_readable:  # an unreadable folder is not an empty one
                    self._count(gone=self._sighting.mark_gone_files(source_id))
                imported.import_finished(self._archive, source_id)

    def _source_id(self, kind: str) -> int:
        if kind not in self._sources:
            self._sources[kind] = imported.source_id_of(self._archive, kind, self._identifier)
        return self._sources[kind]

    def _import_one(self, file: SourceFile) -> None:
        """A file that is one message."""
        source_id = self._source_id(file.kind)
        key = maildir_key(file) if file.kind == "maildir" else file.relative_path
        self._sighting.saw_file(source_id, key)
        try:
            facts = file.path.stat()
        except OSError:
            facts = None  # renamed since it was listed; reading looks again
        known = imported.read_state(self._archive, source_id, key)
        if facts and known and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns):
            self._refresh(source_id, file, key)
            self._count(unchanged=1)
            self._advance(facts.st_size)
            return
        read = read_one(file)
        if isinstance(read, Unreadable):
            self._all_readable = self._all_readable and facts is not None
            self._report(source_id, read)
            return
        state = ReadState(facts.st_size, facts.st_mtime_ns, b"", facts.st_size) if facts else None
        self._add(_Pending(source_id, read, is_repeated=False, state=state))

    def _refresh(self, source_id: int, file: SourceFile, key: str) -> None:
        """A Maildir renames a message to change its flags; its content is not read again for that."""
        flags = maildir_flags(file.path.name) if file.kind == "maildir" else frozenset()
        place = Place(key, printable(file.path), file.folder, _flags(flags))
        if imported.place_differs(self._archive, source_id, place):
            message_id = imported.message_at(self._archive, source_id, key)
            if message_id is not None:
                with self._archive.transaction():
                    imported.put_at(self._archive, source_id, place, message_id)

    def _import_mbox(self, file: SourceFile) -> None:
        source_id = self._source_id("mbox")
        path = file.relative_path
        self._sighting.saw_file(source_id, path)
        known = imported.read_state(self._archive, source_id, path)
        try:
            facts = file.path.stat()
            if known and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns):
                self._count(unchanged=imported.count_in_file(self._archive, source_id, path))
                self._advance(facts.st_size)
                return
            start = 0
            if known and continues(file.path, _file_state(known)):
                start = known.read_to
                self._count(unchanged=imported.count_in_file(self._archive, source_id, path))
        except OSError as error:
            self._all_readable = False
            self._report(source_id, Unreadable(printable(file.path), error.strerror or str(error)))
            return
        # A rewritten file is read from its beginning in one go: what is gone from it shows only at the end of that.
        is_rewritten = known is not None and start == 0
        offset = start
        self._bytes_done += start
        whole = True
        for entry in read_mbox(file, start):
            self._bytes_done += entry.end_offset - offset
            offset = entry.end_offset
            if isinstance(entry.message, Unreadable):
                self._report(source_id, entry.message)
                whole = whole and not entry.message.ends_file
            else:
                is_repeated = not self._sighting.saw_key(source_id, entry.message.source_key)
                self._batch.add(_Pending(source_id, entry.message, is_repeated, None))
            if self._batch.is_full:
                self._flush()
                if not is_rewritten:
                    self._record(source_id, file, offset, NOT_TO_ITS_END, 0)
                if self._should_stop():
                    whole = False
                    break
        self._flush()
        if whole:
            if is_rewritten:
                with self._archive.transaction():
                    self._count(gone=self._sighting.mark_gone_keys(source_id, path))
            # size and time from before reading: what was appended meanwhile makes it a changed file the next time
            self._record(source_id, file, offset, facts.st_size, facts.st_mtime_ns)
        elif not is_rewritten:
            self._record(source_id, file, offset, NOT_TO_ITS_END, 0)

    def _record(self, source_id: int, file: SourceFile, offset: int, size: int, mtime_ns: int) -> None:
        """Note that an mbox was read up to `offset`, after the transaction that wrote its messages.

        A kill between the two costs reading them again; in the other order it would lose them.
        """
        try:
            prefix_hash = file_state(file.path, offset).prefix_hash
        except OSError:
            return  # gone meanwhile: nothing to go on with
        imported.set_read_state(
            self._archive, source_id, file.relative_path, ReadState(size, mtime_ns, prefix_hash, offset)
        )

    def _add(self, pending: _Pending) -> None:
        self._batch.add(pending)
        self._bytes_done += len(pending.raw.mime)
        if self._batch.is_full:
            self._flush()

    def _flush(self) -> None:
        """Write the batch: parse first, so that the transaction is short."""
        batch, self._batch = self._batch, _Batch()
        if not batch.messages:
            return
        ready = [(pending, self._parse(pending)) for pending in batch.messages]
        before = self._counts
        failpoint("import.before_transaction")
        try:
            with self._archive.transaction():
                for pending, new in ready:
                    self._write(pending, new)
                    failpoint("import.in_transaction")
        except BaseException:
            self._counts = before
            raise
        failpoint("import.after_transaction")
        self._progress()

    def _parse(self, pending: _Pending) -> NewMessage | Problem | bytes:
        """The message decoded; its hash alone where it is here already; a problem where decoding failed."""
        raw = pending.raw
        if find_by_hash(self._archive, raw.content_hash) is not None:
            return raw.content_hash
        return self._decode(raw)

    def _decode(self, raw: RawMessage) -> NewMessage | Problem:
        try:
            parsed = parse_message(raw.mime, delivered_at=raw.delivered_at)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            # this message's trouble, and the rest goes on; a panic in resiliparse's native code is no Exception
            return Problem("unreadable-message", f"{type(error).__name__}: {error}")
        thread_key, is_reply = base_subject(parsed.subject)
        return NewMessage(
            parsed=parsed,
            content_hash=raw.content_hash,
            compressed_mime=compress(raw.mime) if self._raw == "keep" else None,
            snippet=snippet(parsed.body_text),
            thread_key=thread_key,
            is_reply=is_reply,
        )

    def _is_edition(self, message_id: int, new: NewMessage) -> bool:
        """Whether `new` is what the message has become: a draft that was edited, say. File names are used again for
        other mail (MH numbers are), so the Message-ID decides; and another place may still hold the older text. A
        deleted message is not what anybody wants a newer text hidden under."""
        same = imported.message_id_header(self._archive, message_id) == new.parsed.rfc822_message_id is not None
        return same and imported.stands_alone(self._archive, message_id) and imported.is_live(self._archive, message_id)

    def _write(self, pending: _Pending, new: NewMessage | Problem | bytes) -> None:
        archive, source_id, raw = self._archive, pending.source_id, pending.raw
        if isinstance(new, Problem):
            self._count(problems=1)
            record_problems(archive, source_id, None, raw.locator, [new])
            return
        present = imported.message_at(archive, source_id, raw.source_key)
        message_id = find_by_hash(archive, raw.content_hash)
        if message_id is None and isinstance(new, bytes):
            new = self._decode(raw)  # it was here a moment ago, and has been given other content since
            if isinstance(new, Problem):
                self._count(problems=1)
                record_problems(archive, source_id, None, raw.locator, [new])
                return
        if message_id is not None and not imported.is_live(archive, message_id):
            self._count(deleted=1)
        elif message_id is not None:
            is_unchanged = present == message_id and not pending.is_repeated
            self._count(**{"unchanged" if is_unchanged else "duplicate": 1})
        elif isinstance(new, NewMessage) and present is not None and self._is_edition(present, new):
            message_id = present
            replace_message(archive, message_id, new)
            self._count(updated=1)
        elif isinstance(new, NewMessage):
            message_id = add_message(archive, new)
            self._count(added=1)
        if message_id is None:
            raise LookupError(f"{raw.locator} was neither found nor written")
        if present is not None and present != message_id:
            imported.displace(archive, source_id, raw.source_key)
            self._count(gone=1)
        imported.put_at(
            archive, source_id, Place(raw.source_key, raw.locator, raw.folder, _flags(raw.flags)), message_id
        )
        if isinstance(new, bytes):  # not decoded, but this copy may bear other labels
            add_labels(archive, message_id, "label", read_labels(raw.mime))
        if raw.folder:
            add_labels(archive, message_id, "folder", [raw.folder])
        if isinstance(new, NewMessage) and new.parsed.problems:
            self._count(problems=1)
            record_problems(archive, source_id, message_id, raw.locator, new.parsed.problems)
        if pending.state is not None:
            imported.set_read_state(archive, source_id, raw.source_key, pending.state)
            forget_problem(archive, raw.locator, _UNREADABLE)

    def _report(self, source_id: int | None, unreadable: Unreadable) -> None:
        self._count(problems=1)
        with self._archive.transaction():
            problem = Problem(_UNREADABLE, unreadable.detail)
            record_problems(self._archive, source_id, None, unreadable.locator, [problem])

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})

    def _advance(self, size: int) -> None:
        self._bytes_done += size
        self._progress()

    def _progress(self) -> None:
        counts = self._counts
        messages = counts.added + counts.updated + counts.unchanged + counts.duplicate + counts.deleted
        seconds = time.monotonic() - self._started
        self._on_progress(ImportProgress(self._path, messages, self._bytes_done, self._total.known, seconds))


def _file_state(known: ReadState) -> FileState:
    return FileState(known.size, known.mtime_ns, known.prefix_hash, known.read_to)


def _flags(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))
