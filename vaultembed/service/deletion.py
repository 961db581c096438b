"""`delete` and `undelete`: which messages are meant, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vaultembed.archive.backup import copies_holding
from vaultembed.archive.conditions import Has, Sent, Size, Words, compile_condition, match_of, shown_by
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly, require_archive
from vaultembed.archive.generations.records import coverage_of, generation_to_fill
from vaultembed.archive.mail.deletion import (
    Doomed,
    count_deleted,
    delete_softly,
    hashes_and_names,
    ids_of_deleted,
    is_any_matching,
    last_id,
    list_deleted,
    matching_ids,
    read_doomed,
    undelete,
)
from vaultembed.archive.mail.fulltext import count_stale, refresh_stale
from vaultembed.archive.mail.lexical import count_set_aside
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.errors import UsageError
from vaultembed.search.query import MOST_LEAVES, Query, describe, leaves, parse_query
from vaultembed.search.tokens import is_small_operator
from vaultembed.service.backup import migration_notes
from vaultembed.service.result import Result, iso, set_aside_note

SHOWN: Final = 5
_HELD: Final = (
    "Another program has the archive open: the file and the log beside it still hold what was deleted, also after that"
    " program has ended. Once it has: vaultembed embeddings prune"
)


@dataclass(frozen=True, slots=True)
class MessageLine:
    id: int
    date: str | None
    sender: str
    subject: str
    deleted_at: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a deletion would be about."""

    ids: tuple[int, ...]
    first: tuple[MessageLine, ...]
    live: int
    """Of them not deleted yet."""
    read_as: str | None = None
    """How the query was read; None where there was none."""
    set_aside: int = 0
    """Messages that match the query, and are left out since they are in trash or spam."""


@dataclass(frozen=True, slots=True)
class DeletionView:
    archive: Path
    selected: int
    first: tuple[MessageLine, ...]
    read_as: str | None
    deleted: int
    """Now; 0 in a dry run."""
    forever: bool
    dry_run: bool
    interrupted: bool
    copies: tuple[Path, ...]
    """Archives beside it, and files of `eval`, that hold some of them, or may, and are left alone. Only where it is for
    ever."""


@dataclass(frozen=True, slots=True)
class DeletedView:
    """What can be brought back."""

    archive: Path
    total: int
    messages: tuple[MessageLine, ...]


@dataclass(frozen=True, slots=True)
class UndeletionView:
    archive: Path
    undeleted: int
    missing: int
    """Messages that the generation to be filled misses now; 0 without one."""


def select_messages(
    archive_path: Path,
    arguments: Sequence[str],
    *,
    as_query: bool = False,
    among_deleted: bool = False,
    shown: int = SHOWN,
) -> Selection:
    """The messages that arguments mean: ids where all are digits, else a query, of which every word must occur. The
    first `shown` are described.

    Unlike a search, which ranks whatever is near: nobody wants the ten next best deleted as well.

    Raises:
        UsageError: ids and words mixed, an id that is not there, or a query that says nothing.
    """
    digits = [argument.isascii() and argument.isdigit() for argument in arguments]
    require_archive(archive_path)
    if len(arguments) > 1 and any(re.search(r"\s", argument) for argument in arguments):
        raise UsageError("the shell has taken quotes out of this query", "Put all of it in one pair of single quotes.")
    if not as_query and not all(digits) and re.fullmatch(r"[\d\s,;#-]+", " ".join(arguments)):
        raise UsageError("is this a query or a list of ids?", "Ids: vaultembed delete 17 18. A query: --query")
    if not as_query and any(digits):
        if not all(digits):
            odd = next(argument for argument, is_id in zip(arguments, digits, strict=True) if not is_id)
            raise UsageError(
                f"{odd} is not an id, but others of these are: is it a query or a list of ids?",
                "Give ids alone. For a query with numbers in it: vaultembed delete --query WORDS",
            )
        with open_archive_readonly(archive_path) as archive, archive.snapshot():
            ids = list(dict.fromkeys(int(argument) for argument in arguments))
            return _selection(archive, _present(archive, ids, among_deleted=among_deleted), shown)
    with open_archive_readonly(archive_path) as archive:
        stale = count_stale(archive)
    if stale:
        with open_archive(archive_path) as archive:  # what changed from outside can only be matched once it is indexed
            refresh_stale(archive)
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        if not arguments and among_deleted:
            return _selection(archive, ids_of_deleted(archive), shown)
        query = _parsed(" ".join(arguments))
        for what in excluded_in_vain(archive, query):
            raise UsageError(what, "Leave it out if that is right.")
        only = shown_by(query.everything)
        return replace(
            _selection(archive, matching_ids(archive, only, deleted=among_deleted), shown),
            read_as=describe(query.everything),
            set_aside=count_set_aside(archive, None, only, deleted=among_deleted),
        )


def _present(archive: Archive, ids: list[int], *, among_deleted: bool) -> list[int]:
    """Those that are not deleted for ever already: what was interrupted goes on by the same command."""
    found = {row.id: row for i in ids if i < 2**63 for row in read_doomed(archive, [i])}
    last = last_id(archive)
    unknown = [i for i in ids if i not in found and not 0 < i <= last]
    if unknown:
        raise UsageError(
            f"there is no message {', '.join(map(str, unknown[:5]))}; nothing was deleted",
            "Ids are shown by: vaultembed search QUERY",
        )
    if among_deleted:
        live = [i for i, row in found.items() if row.deleted_at is None]
        if live:
            raise UsageError(
                f"message {', '.join(map(str, live[:5]))} is not deleted yet; nothing was deleted",
                "Leave out --deleted to delete it all the same.",
            )
    return list(found)


def _parsed(text: str) -> Query:
    query = parse_query(text)
    if not query.everything.parts:
        raise UsageError(
            "nothing to delete: give ids or a query",
            "For example: vaultembed delete 17 18, vaultembed delete from:shop sale",
        )
    demanded = list(leaves(query.everything))
    if len(demanded) > MOST_LEAVES:
        raise UsageError(f"a query of {len(demanded):,} words is too much", f"Use at most {MOST_LEAVES}.")
    for leaf in demanded:
        if isinstance(leaf, Words) and match_of(leaf) is None:
            # left out, it would make the query match more than was asked for
            raise UsageError(f"there is no word in {leaf.text!r} to look for")
        if isinstance(leaf, Words) and not leaf.quoted and is_small_operator(leaf.text):
            raise UsageError(
                f"{leaf.text!r} is a word to look for", f'Write {leaf.text.upper()}, or "{leaf.text}" for the word.'
            )
    return query


def excluded_in_vain(archive: Archive, query: Query) -> Iterator[str]:
    """What excludes no message was meant otherwise (`-body:x`, `-label:travel-2019`): all would be deleted, or open."""
    for leaf in leaves(query.everything, negated_only=True):
        may_be_none = isinstance(leaf, Sent | Size) or (isinstance(leaf, Has) and leaf.field in ("is", "has"))
        if not may_be_none and not is_any_matching(archive, compile_condition(leaf)):
            yield f"no message has {describe(leaf)}, so this excludes nothing"


def _selection(archive: Archive, ids: Sequence[int], shown: int) -> Selection:
    first = tuple(_line(row) for row in read_doomed(archive, ids[:shown]))
    live = sum(row.deleted_at is None for row in read_doomed(archive, ids))
    return Selection(tuple(ids), first, live)


def delete_messages(
    archive_path: Path,
    selection: Selection,
    *,
    forever: bool = False,
    dry_run: bool = False,
    on_messages: Callable[[int], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result[DeletionView]:
    """Delete exactly the messages selected; whatever has come to match the query meanwhile stays."""
    deleted = 0
    held: list[str] = []
    copies: list[Path] = []
    if forever and selection.ids:
        with open_archive_readonly(archive_path) as archive:
            copies = copies_holding(archive_path, hashes_and_names(archive, selection.ids))
    if not dry_run and (selection.ids or forever):
        with open_archive(archive_path) as archive:
            if forever:
                archive.load_vec()
                deleted = delete_forever(archive, selection.ids, should_stop, on_messages, lambda: held.append(_HELD))
            else:
                deleted = delete_softly(archive, selection.ids, should_stop)
    interrupted = not dry_run and should_stop()
    view = DeletionView(
        archive=archive_path,
        selected=len(selection.ids),
        first=selection.first,
        read_as=selection.read_as,
        deleted=deleted,
        forever=forever,
        dry_run=dry_run,
        interrupted=interrupted,
        copies=tuple(copies),
    )
    return Result("delete", view, (*_notes(view, selection), *held), 130 if interrupted else 0)


def _notes(view: DeletionView, selection: Selection) -> list[str]:
    notes = []
    if view.interrupted:
        notes.append("Interrupted; what is deleted stays so. The same command goes on from here.")
    if selection.set_aside:
        notes.append(set_aside_note(selection.set_aside))
    if not selection.ids:
        notes.append("Nothing matches; nothing was deleted." if view.read_as else "They are gone already.")
    elif view.dry_run:
        notes.append("Nothing was deleted. Leave out --dry-run to do it.")
    elif view.forever and view.deleted:
        notes.append(
            "They come back if an import reads their files again. So that nothing of them is left in the file:"
            " vaultembed embeddings prune --rewrite"
        )
    elif view.deleted:
        few = " ".join(map(str, selection.ids[:SHOWN])) if len(selection.ids) <= SHOWN else "ID…"
        notes.append(f"To bring them back: vaultembed undelete {few}")
    elif not view.interrupted:
        notes.append("They were deleted already. To remove them for ever: add --forever")
    if view.copies:
        names = ", ".join(map(str, view.copies))
        notes.append(
            f"Copies beside the archive hold them, too, or may, and are left alone: {names}. Delete what you can spare."
        )
    return notes


def deleted_messages(archive_path: Path, limit: int = 100) -> Result[DeletedView]:
    """The messages that can be brought back, the last deleted first."""
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        total = count_deleted(archive)
        messages = tuple(_line(row) for row in list_deleted(archive, limit))
    notes = []
    if not total:
        notes.append("No deleted messages.")
    else:
        if total > len(messages):
            notes.append(f"The last {len(messages):,} of {total:,}. All: -n {total}")
        notes.append("To bring them back: vaultembed undelete ID…, or --all")
    return Result("undelete", DeletedView(archive_path, total, messages), tuple(notes))


def undelete_messages(
    archive_path: Path, ids: Sequence[int] | None, *, should_stop: Callable[[], bool] = lambda: False
) -> Result[UndeletionView]:
    """Bring messages back; None: all of them.

    Raises:
        UsageError: an id that is not there.
    """
    require_archive(archive_path)
    with open_archive(archive_path) as archive:
        notes = list(migration_notes(archive))
        wanted = ids_of_deleted(archive) if ids is None else list(dict.fromkeys(ids))
        known = {row.id for row in read_doomed(archive, wanted)}
        unknown = [str(i) for i in wanted if i not in known]
        if unknown and ids is not None:
            raise UsageError(
                f"there is no message {', '.join(unknown[:5])}; nothing was brought back",
                "Which are deleted: vaultembed undelete. What was deleted for ever can only be imported again.",
            )
        undeleted = undelete(archive, wanted, should_stop)
        generation = generation_to_fill(archive)
        missing = 0 if generation is None else coverage_of(archive, generation.id).missing
    if not undeleted:
        notes.append("None of them was deleted.")
    elif missing:
        notes.append(f"Search by meaning misses {missing:,} messages. Next: vaultembed embeddings build")
    interrupted = should_stop()
    return Result("undelete", UndeletionView(archive_path, undeleted, missing), tuple(notes), 130 if interrupted else 0)


def _line(row: Doomed) -> MessageLine:
    return MessageLine(row.id, iso(row.sent_at, row.zone_minutes), row.sender, row.subject, iso(row.deleted_at))
