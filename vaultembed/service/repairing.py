"""`repair-encoding`: finds texts that were stored wrongly and repairs them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, require_archive
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import generation_to_fill
from vaultembed.archive.generations.scopes import source_id_of_path
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.mail.reading import read_raw
from vaultembed.archive.mail.repairs import apply_changes, end_repair, start_repair, was_undone
from vaultembed.archive.mail.stored_texts import FIELDS as FIELDS
from vaultembed.archive.mail.stored_texts import (
    Change,
    Shared,
    TextField,
    Texts,
    count_selected,
    iter_shared,
    iter_texts,
    read_embedded_texts,
    selected,
    uses_of,
)
from vaultembed.archive.mail.stored_texts import Field as Field
from vaultembed.errors import DamageError, StoppedError
from vaultembed.importing.parser import Mime
from vaultembed.importing.parsing import Parsers
from vaultembed.message import ParsedMessage
from vaultembed.service.backup import migration_notes
from vaultembed.service.result import Result
from vaultembed.text.embeddable.prepare import base_subject, prepare_text
from vaultembed.text.garbled.repair import Repaired, repair
from vaultembed.text.garbled.suspicion import Doubt, Kind, doubt_of
from vaultembed.text.mime.snippet import snippet

BATCH: Final = 200
"""Messages of one transaction."""
_SHARED_FIELDS: Final[tuple[Field, ...]] = ("name", "label", "conversation")
_MOST_EVIDENCE: Final = 3
"""Messages that are read for one name or label."""


@dataclass(frozen=True, slots=True)
class RepairRequest:
    dry_run: bool = False
    sources: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    limit: int | None = None
    """Of messages to repair something in."""
    only: tuple[Field, ...] = ()
    """None: every field."""
    again: bool = False
    """Also what was undone before."""
    keep: int | None = None
    """So many changes are listed in the result; None: all."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    message_id: int
    field: Field
    place: str
    before: str
    """As far as it is text; else with U+FFFD."""
    after: str
    how: str
    confidence: float


@dataclass(frozen=True, slots=True)
class RepairFailure:
    message_id: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class RepairView:
    archive: Path
    run: int | None
    """To undo it by; None where nothing was changed."""
    dry_run: bool
    messages: int
    """Looked at."""
    suspects: int
    """Messages with a text that looked odd."""
    raw_read: int
    """Messages as they were sent, of those that were read for it."""
    changed: dict[str, int]
    """Texts by field."""
    methods: dict[str, int]
    repaired_messages: int
    to_embed: int
    """Messages whose embeddable text changed."""
    left: int
    """Texts that cannot be meant and that nothing better is known for."""
    put_back: int
    """Texts whose repair was undone before; they stay so."""
    failures: tuple[RepairFailure, ...]
    changes: tuple[ChangeLine, ...]


OnProgress = Callable[[int, int, float], None]
"""Messages done, of how many, seconds since the start."""


def repair_encoding(
    archive_path: Path,
    request: RepairRequest,
    *,
    on_progress: OnProgress = lambda _done, _total, _seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[RepairView]:
    """Look at every text, and repair what was stored wrongly. Exit code 3 if something could not be repaired.

    Raises:
        UsageError: an id or a source that is not there.
        BusyError, DiskFullError, StorageError: also where the archive cannot be written.
    """
    require_archive(archive_path)
    opening = open_archive_readonly if request.dry_run else open_archive
    # Opened for writing first of all: each step that an archive still has to take once is taken then. Taken after this,
    # a backfill of stamps would stamp exactly the repaired messages as embedded.
    with opening(archive_path) as archive:
        with Parsers(should_stop) as parsers:
            run = _Repair(archive, request, parsers, on_progress, should_stop)
            with suppress(StoppedError):  # while a message was parsed
                run.run()
        if not request.dry_run:
            refresh_stale(archive)  # messages of chats whose names were repaired
        to_fill = generation_to_fill(archive)
        notes = list(migration_notes(archive))
    view = run.view(archive_path)
    notes += _notes(view, is_stopped=should_stop(), has_generation=to_fill is not None)
    exit_code = 130 if should_stop() else 3 if view.failures else 0
    return Result("repair-encoding", view, tuple(notes), exit_code)


def _notes(view: RepairView, *, is_stopped: bool, has_generation: bool) -> list[str]:
    notes = []
    texts = sum(view.changed.values())
    if is_stopped:
        notes.append("Interrupted; what is repaired stays so. The same command goes on.")
    if view.failures:
        notes.append(f"{len(view.failures):,} times something could not be read. More: vaultembed doctor")
    if view.left:
        notes.append(f"Texts that look wrong, with nothing better known for them: {view.left:,}. They stay so.")
    if view.put_back:
        notes.append(f"Texts repaired once and put back: {view.put_back:,}. They stay so. To repair them: --again")
    if view.dry_run:
        notes.append("Nothing was changed. Leave out --dry-run to do it." if texts else "There is nothing to repair.")
    elif texts:
        if view.to_embed and has_generation:
            notes.append(f"Messages to be embedded again: {view.to_embed:,}. Next: vaultembed embeddings build")
        notes.append(f"To take it back: vaultembed repair-encoding --undo {view.run}")
    elif not is_stopped:
        notes.append("There is nothing to repair.")
    return notes


@dataclass
class _Sent:
    """A message as it was sent, read when it is first asked for."""

    archive: Archive
    parsers: Parsers
    message_id: int
    failures: list[RepairFailure]
    was_read: bool = False
    _parsed: ParsedMessage | None = None

    def __call__(self) -> ParsedMessage | None:
        if not self.was_read:
            self.was_read = True
            try:
                mime = read_raw(self.archive, self.message_id)
            except DamageError as error:
                mime = None
                self.failures.append(RepairFailure(self.message_id, "raw", error.message))
            if mime is not None:
                (self._parsed,) = self.parsers.collect(self.parsers.submit([Mime(mime, b"", None, is_kept=False)]))
        return self._parsed


@dataclass
class _Repair:
    archive: Archive
    request: RepairRequest
    parsers: Parsers
    on_progress: OnProgress
    should_stop: Callable[[], bool]
    run_id: int | None = None
    messages: int = 0
    suspects: set[int] = field(default_factory=set)
    raw_read: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    repaired: set[int] = field(default_factory=set)
    to_embed: int = 0
    left: int = 0
    put_back: int = 0
    subjects: dict[int, bytes] = field(default_factory=dict)
    """As a dry run would make them."""
    failures: list[RepairFailure] = field(default_factory=list)
    changes: list[ChangeLine] = field(default_factory=list)

    def view(self, path: Path) -> RepairView:
        return RepairView(
            archive=path,
            run=self.run_id if self.changed else None,
            dry_run=self.request.dry_run,
            messages=self.messages,
            suspects=len(self.suspects),
            raw_read=self.raw_read,
            changed=dict(self.changed),
            methods=dict(self.methods),
            repaired_messages=len(self.repaired),
            to_embed=self.to_embed,
            left=self.left,
            put_back=self.put_back,
            failures=tuple(self.failures),
            changes=tuple(self.changes),
        )

    def run(self) -> None:
        started = time.monotonic()
        sources = [i for name in self.request.sources for i in source_id_of_path(self.archive, name)]
        only = selected(self.archive, self.request.ids, sources)
        total = count_selected(self.archive, only)
        try:
            for texts in iter_texts(self.archive, only, batch=BATCH):
                self._repair_batch([(one.message_id, self._changes_of(one)) for one in texts])
                self.messages += len(texts)
                self.on_progress(self.messages, total, time.monotonic() - started)
                if self._is_over():
                    return
            for wanted in _SHARED_FIELDS:
                if self._wants(wanted):
                    self._repair_shared(wanted, only)
        finally:
            if self.run_id is not None:
                end_repair(self.archive, self.run_id)

    def _wants(self, name: Field) -> bool:
        return not self.request.only or name in self.request.only

    def _is_over(self) -> bool:
        limit = self.request.limit
        return self.should_stop() or (limit is not None and len(self.repaired) >= limit)

    # What should be changed

    def _changes_of(self, texts: Texts) -> list[Change]:
        sent = _Sent(self.archive, self.parsers, texts.message_id, self.failures)
        try:
            changes = list(self._each_change(texts, sent))
        except StoppedError:
            raise
        except Exception as error:
            # whatever it is, it is this message's: raised, it would end this run and every one after it
            self.failures.append(RepairFailure(texts.message_id, "", f"{type(error).__name__}: {error}"))
            changes = []
        self.raw_read += sent.was_read
        return changes

    def _each_change(self, texts: Texts, sent: _Sent) -> Iterable[Change]:
        message_id = texts.message_id
        if self._wants("subject"):
            yield from self._change(
                TextField(message_id, "subject"), texts.subject, "header", lambda: _of(sent(), lambda p: p.subject)
            )
        body = texts.body
        if body is not None and self._wants("body"):
            for change in self._change(
                TextField(message_id, "body"), body, "body", lambda: _of(sent(), lambda p: p.body_text)
            ):
                body = change.after
                yield change
        if self._wants("snippet"):
            yield from self._change_snippet(texts, body)
        if self._wants("file"):
            for position, name in texts.files:
                yield from self._change(
                    TextField(message_id, "file", position),
                    name,
                    "header",
                    lambda at=position: _file(sent(), at),  # type: ignore[misc]
                )

    def _change(self, at: TextField, stored: bytes, kind: Kind, evidence: Callable[[], str | None]) -> Iterable[Change]:
        doubt = doubt_of(stored, kind)
        if doubt is Doubt.NONE:
            return
        self.suspects.add(at.message_id)
        found = repair(stored, kind, evidence)
        if found is None:
            self.left += doubt is Doubt.CERTAIN
        elif not self._was_put_back(at, stored):
            yield _as_change(at, stored, found)

    def _was_put_back(self, at: TextField, stored: bytes) -> bool:
        if self.request.again or not was_undone(self.archive, at, stored):
            return False
        self.put_back += 1
        return True

    def _change_snippet(self, texts: Texts, body: bytes | None) -> Iterable[Change]:
        """It is the beginning of the body, and is made from that again."""
        at = TextField(texts.message_id, "snippet")
        if body is None:
            yield from self._change(at, texts.snippet, "body", lambda: None)
            return
        made = snippet(body.decode("utf-8", "replace")).encode()
        if made == texts.snippet:
            return
        if body == texts.body and repair(texts.snippet, "body", made.decode) is None:
            return  # made by other rules once, and right
        if not self._was_put_back(at, texts.snippet):
            yield Change(at, texts.snippet, made, "raw" if body == texts.body else "body", 1.0)

    def _repair_shared(self, name: Field, only: Filter) -> None:
        for shared in iter_shared(self.archive, name):
            if self._is_over():
                return
            doubt = doubt_of(shared.text, "header")
            if doubt is Doubt.NONE:
                continue
            uses = uses_of(self.archive, shared, only)
            if not uses:
                continue
            self.suspects.update(use.message_id for use in uses[:_MOST_EVIDENCE])
            try:
                found = repair(shared.text, "header", lambda: self._evidence(shared, uses))  # noqa: B023 (called at once)
            except StoppedError:
                raise
            except Exception as error:
                self.failures.append(RepairFailure(uses[0].message_id, name, f"{type(error).__name__}: {error}"))
                continue
            if found is None:
                self.left += doubt is Doubt.CERTAIN
                continue
            for start in range(0, len(uses), BATCH):
                self._repair_batch(
                    [
                        (use.message_id, [_as_change(use, shared.text, found)])
                        for use in uses[start : start + BATCH]
                        if not self._was_put_back(use, shared.text)
                    ]
                )

    def _evidence(self, shared: Shared, uses: Sequence[TextField]) -> str | None:
        """The same as one of the messages has it that were sent with it."""
        if shared.field == "conversation":
            if shared.key == "chat":
                return None
            # it bears the subject of its first message, which has been seen to
            subject = self.subjects.get(uses[0].message_id)
            subject = subject or read_embedded_texts(self.archive, uses[0].message_id)[0]
            return subject.decode("utf-8", "replace")
        for use in uses[:_MOST_EVIDENCE]:
            sent = _Sent(self.archive, self.parsers, use.message_id, self.failures)
            parsed = sent()
            self.raw_read += 1
            if parsed is None:
                continue
            if shared.field == "name":
                people = [parsed.sender, *(recipient.person for recipient in parsed.recipients)]
                names = [person.name for person in people if person is not None and person.address == shared.key]
                if names:
                    return names[0]
            elif len(parsed.labels) == 1:
                return parsed.labels[0]  # of several it is not known which
        return None

    # Changing it

    def _repair_batch(self, batch: Sequence[tuple[int, list[Change]]]) -> None:
        batch = [(message_id, changes) for message_id, changes in batch if changes]
        if self.request.limit is not None:
            room = self.request.limit - len(self.repaired)
            batch = [one for one in batch if one[0] in self.repaired] + [
                one for one in batch if one[0] not in self.repaired
            ][: max(room, 0)]
        if not batch:
            return
        if self.request.dry_run:
            for message_id, changes in batch:
                before = read_embedded_texts(self.archive, message_id)
                self._note(
                    message_id, changes, keeps_embedding=is_embedded_alike(before, after_changes(before, changes))
                )
            return
        with self.archive.transaction():
            if self.run_id is None:
                self.run_id = start_repair(self.archive)
            for message_id, changes in batch:
                # asked again under the transaction: somebody may have written since
                before = read_embedded_texts(self.archive, message_id)
                keeps = is_embedded_alike(before, after_changes(before, changes))
                done = apply_changes(self.archive, self.run_id, message_id, changes, keeps_embedding=keeps)
                self._note(message_id, done, keeps_embedding=keeps)

    def _note(self, message_id: int, done: Sequence[Change], *, keeps_embedding: bool) -> None:
        if not done:
            return
        self.repaired.add(message_id)
        self.to_embed += not keeps_embedding
        for change in done:
            self.changed[change.at.field] += 1
            if self.request.dry_run and change.at.field == "subject":
                self.subjects[message_id] = change.after
            self.methods[change.method] += 1
            if self.request.keep is None or len(self.changes) < self.request.keep:
                self.changes.append(
                    ChangeLine(
                        message_id,
                        change.at.field,
                        change.at.place,
                        change.before.decode("utf-8", "replace"),
                        change.after.decode("utf-8", "replace"),
                        change.method,
                        change.confidence,
                    )
                )


def _as_change(at: TextField, stored: bytes, found: Repaired) -> Change:
    key = base_subject(found.text)[0] if at.field == "conversation" else ""
    return Change(at, stored, found.text.encode("utf-8", "replace"), found.method, found.confidence, key)


def _of(parsed: ParsedMessage | None, what: Callable[[ParsedMessage], str]) -> str | None:
    return None if parsed is None else what(parsed)


def _file(parsed: ParsedMessage | None, position: str) -> str | None:
    if parsed is None or int(position) >= len(parsed.attachments):
        return None
    return parsed.attachments[int(position)].filename


def after_changes(before: tuple[bytes, bytes], changes: Iterable[Change]) -> tuple[bytes, bytes]:
    subject, body = before
    for change in changes:
        if change.at.field == "subject" and change.before == subject:
            subject = change.after
        elif change.at.field == "body" and change.before == body:
            body = change.after
    return subject, body


def is_embedded_alike(before: tuple[bytes, bytes], after: tuple[bytes, bytes]) -> bool:
    """Whether the embeddable text is the same: of a quotation or a signature nothing is embedded."""
    if before == after:
        return True
    one, other = ([part.decode("utf-8", "replace") for part in texts] for texts in (before, after))
    return all(prepare_text(*one, answers=either) == prepare_text(*other, answers=either) for either in (True, False))
