"""Takes a msgvault archive over: its messages, and the vectors that may be trusted. Again: what has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.generations import backfill
from vaultembed.archive.generations.adopted import (
    Standing,
    StoredRows,
    adopt,
    find_by_origin,
    list_from,
    standing,
    stored_rows,
    withdraw,
    write_adopted,
)
from vaultembed.archive.generations.outcomes import MessageOutcome
from vaultembed.archive.generations.records import Generation, State, generation_with_id
from vaultembed.archive.generations.transitions import restamp
from vaultembed.archive.ledger import run_steps
from vaultembed.archive.mail import places
from vaultembed.archive.mail.messages import (
    content_rev_of,
    index_parsed,
    set_reactions,
)
from vaultembed.archive.mail.places import Known, Place
from vaultembed.archive.mail.problems import forget_problem, record_problems
from vaultembed.archive.mail.reading import read_reactions
from vaultembed.archive.mail.rereading import Reread
from vaultembed.archive.mail.threads import rename_chat
from vaultembed.errors import StoppedError
from vaultembed.failpoints import failpoint
from vaultembed.importing.parsing import Parsers
from vaultembed.importing.paths import ImportCounts, ImportProgress, counted, with_rereads
from vaultembed.importing.rereading import read_kept_again
from vaultembed.importing.writing import Parsed, Raw, Written, parse_unknown, write_entry
from vaultembed.message import ParsedMessage, Problem
from vaultembed.msgvault.batches import BATCH_MESSAGES, Tally, UnreadableMessage, batches, origin_of, settle
from vaultembed.msgvault.binding import is_given_up
from vaultembed.msgvault.entries import Taken, place_of, take
from vaultembed.msgvault.files import ForeignDamageError
from vaultembed.msgvault.opened import MsgvaultPaths, Opened, open_theirs
from vaultembed.msgvault.their_messages import (
    CHAT_NAME,
    LABELS,
    REACTIONS,
    TEXT,
    TheirMessage,
    TheirSource,
    ids_still_there,
)
from vaultembed.msgvault.their_vectors import BLANK, Covered, TheirGeneration, TheirVectors, Why
from vaultembed.msgvault.views import AdoptedView, MsgvaultView, adopted_view
from vaultembed.sources.base import printable

_GONE_PAGE: Final = 5_000
UNREADABLE: Final = "unreadable-message"


@dataclass(slots=True)
class _Adoption:
    """One of msgvault's generations, and what it is here."""

    theirs: TheirGeneration
    here: Generation | None
    """None while nothing of it was written."""
    is_out: bool
    """It was discarded or pruned here since: that stays so."""
    tally: Tally = field(default_factory=Tally)
    disowned: set[int] = field(default_factory=set)
    """Messages here with vectors that a copy of msgvault's does not vouch for any more. Another copy may."""


class MsgvaultImport:
    """The import of one msgvault archive. Needs `load_vec`."""

    def __init__(
        self,
        archive: Archive,
        parsers: Parsers,
        paths: MsgvaultPaths,
        raw: Raw,
        counts: ImportCounts,
        on_progress: Callable[[ImportProgress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._parsers = parsers
        self._paths = paths
        self._identifier = printable(paths.archive.resolve())
        self._raw = raw
        self.counts = counts
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._started = time.monotonic()
        self._source_ids: dict[int, int] = {}
        self._adoptions: list[_Adoption] = []
        self._deleted: list[tuple[int, str]] = []
        """Source and key of each that is deleted there."""

    def run(self) -> MsgvaultView:
        """
        Raises:
            VaultembedError: msgvault.db cannot be read, or is no whole archive; nothing was imported. What is wrong
                with vectors.db is told in the result: the messages are imported without.
        """
        with open_theirs(self._paths) as theirs:
            self._find_adoptions(theirs)
            done = 0
            for messages, unreadable in batches(theirs.database, theirs.ids):
                if self._should_stop():
                    break
                try:
                    self._import(theirs, messages, unreadable)
                except StoppedError:
                    break
                done += len(messages) + len(unreadable)
                seconds = time.monotonic() - self._started
                self._on_progress(ImportProgress(self._paths.archive, done, done, len(theirs.ids), seconds))
            if not self._should_stop():
                self._finish(theirs)
                self._read_kept_again()
        if not self._should_stop():
            self._withdraw(theirs)
            backfill.follow(self._archive, self._states(theirs))
            failpoint("import.before_backfill")
            run_steps(self._archive, backfill.steps(self._archive))
            restamp(self._archive, self._should_stop)
        there = (places.message_at(self._archive, *each) for each in self._deleted)
        elsewhere = sum(message_id is not None and places.is_live(self._archive, message_id) for message_id in there)
        return theirs.view(len(self._deleted), elsewhere, self._adopted())

    def _find_adoptions(self, theirs: Opened) -> None:
        if theirs.vectors is None:
            return
        for generation in theirs.vectors.generations:
            here = find_by_origin(self._archive, origin_of(theirs.vectors, generation))
            is_out = here is not None and is_given_up(here)
            if is_out:
                theirs.passed_over.append(given_up(generation))
            self._adoptions.append(_Adoption(generation, here, is_out))

    def _source_id(self, source: TheirSource) -> int:
        if source.id not in self._source_ids:
            identifier = f"{self._identifier}#{printable(source.name)}"
            self._source_ids[source.id] = places.source_id_of(self._archive, "msgvault", identifier)
        return self._source_ids[source.id]

    def _import(
        self, theirs: Opened, messages: Sequence[TheirMessage], unreadable: Sequence[UnreadableMessage]
    ) -> None:
        """One batch: what is to be read is read first, so that the transaction is short."""
        owners = {m.id: theirs.owner_of(m) for m in messages}
        known = self._known(messages, owners)
        changed = [m for m in messages if m.id not in known or known[m.id].digest != m.digest]
        if theirs.is_damaged:
            changed = [m for m in changed if m.id not in known]
        new = [m for m in changed if m.id not in known or known[m.id].digest[TEXT] != m.digest[TEXT]]
        is_new = {m.id for m in new}
        marked = [m for m in changed if m.id not in is_new]
        taken = [
            take(theirs.database, m, owners[m.id], self._source_id(owners[m.id]), self._raw, was_read=m.id in known)
            for m in new
        ]
        parsed = parse_unknown(self._archive, self._parsers, [each.entry for each in taken])
        found = self._read_vectors(
            theirs.vectors, messages, {m.id: known[m.id] for m in messages if m.id not in is_new}
        )
        ready = zip(taken, parsed(), strict=True)
        theirs.database.check_unchanged()
        if theirs.vectors is not None:
            theirs.vectors.check_unchanged()
        before = self.counts
        failpoint("import.before_transaction")
        try:
            with self._archive.transaction():
                # by msgvault's id: the message here, and the content_rev that it has with the text from there
                ids = {
                    m.id: (known[m.id].message_id, known[m.id].content_rev)
                    for m in messages
                    if m.id in known and known[m.id].digest[TEXT] == m.digest[TEXT]
                }
                for m in marked:
                    self._mark(self._source_id(owners[m.id]), place_of(theirs.database, m), m, known[m.id])
                to_index: dict[int, ParsedMessage] = {}
                for each, new_text in ready:
                    written = self._write(each, new_text, known.get(each.message.id))
                    if written.message_id is not None and written.to_index is not None:
                        to_index[written.message_id] = written.to_index
                    if written.message_id is not None and written.is_current:
                        ids[each.message.id] = written.message_id, content_rev_of(self._archive, written.message_id)
                    failpoint("import.in_transaction")
                self._count(unchanged=len(messages) - len(changed), marked=len(marked))
                for bad in unreadable:
                    self._report(bad)
                for adoption, verdicts in found:
                    self._adopt(theirs, adoption, ids, verdicts)
                index_parsed(self._archive, to_index)
        except BaseException:
            self.counts = before
            raise
        failpoint("import.after_transaction")

    def _read_vectors(
        self, vectors: TheirVectors | None, messages: Sequence[TheirMessage], known: Mapping[int, Known]
    ) -> list[tuple[_Adoption, dict[int, Covered | Why]]]:
        """Of the messages that have no outcome of our own. `known`: those that are not written now."""
        found = []
        for adoption in self._adoptions if vectors is not None else ():
            if adoption.is_out or vectors is None:
                continue
            standings = {i: self._standing(adoption, each) for i, each in known.items()}
            done = {i for i, at in standings.items() if at == "covered"}
            for m in messages:
                if m.id in done and m.deleted_at is None:
                    adoption.tally.tell(known[m.id].message_id, "covered", BLANK)
            wanted = [m for m in messages if m.id not in done]
            stored = self._stored(adoption, {i: known[i].message_id for i, at in standings.items() if at == "adopted"})
            found.append((adoption, vectors.read(adoption.theirs, wanted, adoption.here, stored)))
        return found

    def _stored(self, adoption: _Adoption, adopted: Mapping[int, int]) -> dict[int, StoredRows]:
        """By msgvault's id. `adopted`: the messages here."""
        if adoption.here is None or not adopted:
            return {}
        preparation = adoption.theirs.recipe.partition(":")[0]
        stored = stored_rows(self._archive, adoption.here.id, preparation, sorted({*adopted.values()}))
        return {i: stored[message_id] for i, message_id in adopted.items() if message_id in stored}

    def _known(self, messages: Sequence[TheirMessage], owners: Mapping[int, TheirSource]) -> dict[int, Known]:
        """By msgvault's id."""
        keys: dict[int, list[str]] = {}
        for message in messages:
            source_id = self._source_id(owners[message.id])
            keys.setdefault(source_id, []).append(str(message.id))
            if message.deleted_at is not None:
                self._deleted.append((source_id, str(message.id)))
        found: dict[int, Known] = {}
        for source_id, of_source in keys.items():
            found |= {int(k): v for k, v in places.known_messages(self._archive, source_id, of_source).items()}
        return found

    def _standing(self, adoption: _Adoption, known: Known) -> Standing:
        here_id = adoption.here.id if adoption.here else None
        return standing(self._archive, here_id, known.message_id, known.content_rev)

    def _mark(self, source_id: int, place: Place, message: TheirMessage, before: Known) -> None:
        """Its text is what it was: labels, flags, and whether it is deleted."""
        archive, message_id = self._archive, before.message_id
        if message.deleted_at is None:
            places.undelete_with_source(archive, message_id)
        # what somebody repaired here is not undone because of a flag
        if before.digest[LABELS] != message.digest[LABELS]:
            place = replace(place, labels=message.labels)
        places.put_at(archive, source_id, place, message_id)
        self._put_chat(source_id, message_id, message, before)
        if message.deleted_at is not None:
            places.delete_with_source(
                archive, source_id, place.source_key, message_id, message.deleted_at, is_news=before.gone_at is None
            )
        self._remember(source_id, message, before.content_rev)

    def _remember(self, source_id: int, message: TheirMessage, content_rev: int) -> None:
        reply_to = None if message.reply_to is None else str(message.reply_to)
        places.remember(self._archive, source_id, str(message.id), message.digest, content_rev, reply_to)

    def _put_chat(self, source_id: int, message_id: int, message: TheirMessage, before: Known | None) -> None:
        """The name of its chat, if that is another there now; and what others think of it."""
        archive, chat = self._archive, message.conversation
        if chat is None or not chat.is_chat:
            return
        if before is not None and before.digest[CHAT_NAME] != message.digest[CHAT_NAME]:
            rename_chat(archive, message_id, chat.title)
        if message.reactions if before is None else before.digest[REACTIONS] != message.digest[REACTIONS]:
            others = places.other_digests(archive, source_id, str(message.id), message_id)
            is_agreed = all(digest[REACTIONS] == message.digest[REACTIONS] for digest in others)
            here = () if is_agreed else read_reactions(archive, message_id)
            # one whose name was repaired here is no other
            both = {(each.reaction, each.person and each.person.address): each for each in (*message.reactions, *here)}
            set_reactions(archive, message_id, both.values())

    def _write(self, taken: Taken, new: Parsed, before: Known | None) -> Written:
        written = write_entry(self._archive, self._parsers, taken.entry, new)
        self.counts = counted(self.counts, written)
        if written.message_id is None:
            return written
        source_id, place = taken.entry.source_id, taken.entry.place
        self._put_chat(source_id, written.message_id, taken.message, before)
        forget_problem(self._archive, place.locator, UNREADABLE)
        if written.is_current:  # else it is looked at again the next time
            self._remember(source_id, taken.message, content_rev_of(self._archive, written.message_id))
        return written

    def _report(self, bad: UnreadableMessage) -> None:
        self._count(unread=1)
        locator = f"{printable(self._paths.archive)}#{bad.message_id}"
        record_problems(self._archive, None, None, locator, [Problem(UNREADABLE, bad.why)])

    def _adopt(
        self,
        theirs: Opened,
        adoption: _Adoption,
        ids: Mapping[int, tuple[int, int]],
        verdicts: Mapping[int, Covered | Why],
    ) -> None:
        if adoption.here is not None and self._was_given_up(theirs, adoption):
            return
        outcomes: list[MessageOutcome] = []
        for their_id, verdict in verdicts.items():
            if their_id not in ids:
                continue  # its text here is another, or it could not be imported
            message_id = ids[their_id][0]
            # of two that are one message here, the first that is covered
            if adoption.tally.is_done(message_id):
                continue
            found = settle(
                self._archive, adoption.here, adoption.theirs, ids[their_id], verdict, is_damaged=theirs.says_little
            )
            adoption.tally.tell(message_id, found.here, found.verdict)
            outcomes += [found.outcome] if found.outcome is not None else []
            if found.is_disowned:
                adoption.disowned.add(message_id)
        if outcomes and theirs.vectors is not None:
            if adoption.here is None:
                adoption.here = adopt(self._archive, origin_of(theirs.vectors, adoption.theirs))
            if self._was_given_up(theirs, adoption):
                return
            write_adopted(self._archive, adoption.here, adoption.theirs.recipe, outcomes)
            failpoint("adopt.in_transaction")

    def _was_given_up(self, theirs: Opened, adoption: _Adoption) -> bool:
        """Somebody may have pruned it meanwhile: until its backfill it is out of service."""
        if adoption.here is None or adoption.is_out:
            return adoption.is_out
        here = generation_with_id(self._archive, adoption.here.id)
        adoption.is_out = is_given_up(here)
        if adoption.is_out:
            theirs.passed_over.append(given_up(adoption.theirs))
        return adoption.is_out

    def _withdraw(self, theirs: Opened) -> None:
        """After all copies were seen: what none vouches for goes, and is work."""
        for adoption in self._adoptions:
            left = [message_id for message_id in sorted(adoption.disowned) if not adoption.tally.is_done(message_id)]
            while left:
                with self._archive.transaction():
                    if adoption.here is None or self._was_given_up(theirs, adoption):
                        break
                    for message_id in left[:BATCH_MESSAGES]:
                        withdraw(self._archive, adoption.here.id, message_id)
                    failpoint("adopt.in_transaction")
                left = left[BATCH_MESSAGES:]

    def _states(self, theirs: Opened) -> list[tuple[int, State]]:
        """Of what was adopted, in what state it is there by now. What is gone from a whole vectors.db is retired."""
        vectors = theirs.vectors
        if vectors is None:
            return []
        found: dict[Generation, State] = {}
        for each in (*vectors.generations, *vectors.retired):
            here = find_by_origin(self._archive, origin_of(vectors, each))
            if here is not None:
                found[here] = each.state
        for gone in () if vectors.left_out else list_from(self._archive, str(vectors.origin.resolve())):
            found.setdefault(gone, "retired")
        return [(here.id, state) for here, state in found.items() if not is_given_up(here)]

    def _finish(self, theirs: Opened) -> None:
        for source in theirs.sources.values():
            self._source_id(source)
        for source_id in places.sources_below(self._archive, "msgvault", f"{self._identifier}#"):
            # a page that cannot be read does not mean that what stood on it is gone
            if theirs.is_whole and not self._note_gone(theirs, source_id):
                return
            places.import_finished(self._archive, source_id)

    def _read_kept_again(self) -> None:
        def on_batch(done: Collection[Reread]) -> None:
            self.counts = with_rereads(self.counts, done)

        sources = places.sources_below(self._archive, "msgvault", f"{self._identifier}#")
        read_kept_again(self._archive, self._parsers, sources, on_batch, self._should_stop)

    def _note_gone(self, theirs: Opened, source_id: int) -> bool:
        """False: it cannot be told, because something is damaged."""
        after = ""
        while keys := places.keys_present(self._archive, source_id, after, _GONE_PAGE):
            try:
                there = ids_still_there(theirs.database, [int(key) for key in keys])
            except ForeignDamageError as error:
                theirs.left_out.append(f"what is gone from it: {error.message}")
                return False
            theirs.database.check_unchanged()
            gone = [key for key in keys if int(key) not in there]
            with self._archive.transaction():
                places.mark_gone(self._archive, source_id, gone)
            self._count(gone=len(gone))
            after = keys[-1]
        return True

    def _count(self, **more: int) -> None:
        self.counts = self.counts.plus(**more)

    def _adopted(self) -> list[AdoptedView]:
        adopted: list[AdoptedView] = []
        for adoption in self._adoptions:
            if adoption.is_out:
                continue
            here = generation_with_id(self._archive, adoption.here.id) if adoption.here else None
            adopted.append(adopted_view(adoption.theirs, here, adoption.tally))
        return adopted


def given_up(theirs: TheirGeneration) -> str:
    return f"generation {theirs.id} ({theirs.model}): it was given up here before"
