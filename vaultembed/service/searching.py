"""`search`: messages by words, by meaning or by both, with the passage that matched and what is not covered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vaultembed.archive.conditions import All
from vaultembed.archive.database import Archive, Within, open_archive_readonly
from vaultembed.archive.generations.coverage import read_embedded_chunk
from vaultembed.archive.generations.records import Coverage, Generation, coverage_of
from vaultembed.archive.mail.fulltext import count_stale
from vaultembed.archive.mail.lexical import Weighed, count_set_aside, is_any_set_aside, weigh
from vaultembed.archive.mail.reading import Summary, read_body, read_summary
from vaultembed.errors import QueryError, UsageError
from vaultembed.search.answering import Answering, Opener, Serving, answer, find_serving, why_unavailable
from vaultembed.search.filters import Filters as Filters
from vaultembed.search.model_of import open_for_query
from vaultembed.search.passages import best_passage
from vaultembed.search.query import Query, parse_query
from vaultembed.search.ranking import Hit, by_both, by_meaning, by_words
from vaultembed.search.ranking import Mode as Mode
from vaultembed.search.ranking import Signal as Signal
from vaultembed.service.result import Result, iso, set_aside_note

if TYPE_CHECKING:  # text search does without numpy
    from vaultembed.archive.vectors.coarse_in_memory import KeptBits

PASSAGE_CHARACTERS: Final = 280
_UNKNOWN: Final = 5
"""Words named that no message has."""
NO_FILTERS: Final = Filters()


@dataclass(frozen=True, slots=True)
class FoundPassage:
    text: str
    chunk_id: int | None
    """None where the passage was found by its words."""
    char_start: int | None
    """Of the chunk, in the embeddable text."""
    char_end: int | None


@dataclass(frozen=True, slots=True)
class Found:
    id: int
    rfc822_message_id: str | None
    date: str | None
    sender_name: str
    sender_address: str
    subject: str
    chat: str | None
    """The name of the chat that it belongs to, "" where it has none; None of mail."""
    has_attachments: bool
    passage: FoundPassage
    score: float
    text: Signal | None
    vector: Signal | None


@dataclass(frozen=True, slots=True)
class BuildingView:
    """A generation that is being built beside the active one."""

    generation: int
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class SearchView:
    query: str
    mode: str
    generation: int | None
    """The active one, or the only one; None in text mode. Which one found a result, its `vector` says."""
    coverage: Coverage
    """Of that generation; in text mode of the text index."""
    building: BuildingView | None
    """Answers beside it, for what it covers."""
    not_covered: int | None
    """Live messages that no generation which answered has embedded; None where by meaning was not asked for."""
    results: tuple[Found, ...]
    more: bool
    """There are further results."""
    left_out: int
    """Messages in trash or spam that were not looked at, and match: by words, where any tells messages apart."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a process that stays has open between searches. A command opens its model, and reads the file."""

    open_embedder: Opener = open_for_query
    """Opens the model of a generation."""
    bits: KeptBits | None = None
    """The coarse indexes of this archive."""


NOTHING_KEPT: Final = Kept()


def search_archive(
    archive_path: Path | Within,
    text: str | Query,
    *,
    mode: Mode = "hybrid",
    filters: Filters = NO_FILTERS,
    limit: int = 10,
    offset: int = 0,
    kept: Kept = NOTHING_KEPT,
) -> Result[SearchView]:
    """The best `limit` messages for a query, after the `offset` best.

    A query of filters alone, in the text or beside it, gives the newest messages that pass them.

    Raises:
        QueryError: an empty query, or a filter that makes no sense.
        NotReadyError: by meaning was asked for, and there is no generation, or its model is not here.
    """
    query = parse_query(text) if isinstance(text, str) else text
    query = replace(query, condition=All((query.condition, filters.condition())))
    if not query.everything.parts and query.only.is_empty:
        raise QueryError("the query is empty", 'Say what you are looking for: vaultembed search "the leaking roof"')
    if limit < 1:
        raise UsageError(f"-n must be at least 1, not {limit}")
    notes: list[str] = []
    asks_meaning = mode != "text" and bool(query.text)
    # one state of the archive for all of it: a switch of generations in between changes nothing here
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        live = coverage_of(archive, None).live
        serving = find_serving(archive) if asks_meaning else None
        answering = _ask(archive, query, mode, serving, kept, notes) if asks_meaning else None
        words = weigh(archive, query.phrases if mode != "vector" else {})
        hits = _hits(archive, query, mode, words, answering, offset + limit + 1, kept, notes)
        building = serving.building if serving else None
        main_id = serving.main.id if serving else None
        stale = count_stale(archive)
        left_out = _left_out(archive, query, mode, words, answering)
        view = SearchView(
            query=text if isinstance(text, str) else text.text,
            mode=mode,
            generation=main_id,
            coverage=coverage_of(archive, main_id),
            building=BuildingView(building.id, coverage_of(archive, building.id)) if building else None,
            not_covered=(answering.not_covered.total if answering else live) if asks_meaning else None,
            results=tuple(found_view(archive, query, hit) for hit in hits[offset : offset + limit]),
            more=len(hits) > offset + limit,
            left_out=left_out,
        )
    if left_out:
        notes.append(set_aside_note(left_out))
    if answering is not None:
        notes += _notes(answering, live)
    if mode != "vector" and query.words and not query.phrases:
        notes.append(f"By words nothing was looked for: there is no letter or digit in {query.text!r}")
    if words.unknown:
        some = ", ".join(f'"{word}"' for word in words.unknown[:_UNKNOWN])
        more = len(words.unknown) - _UNKNOWN
        notes.append(f"No message has {some}{f', and {more} more of the words' if more > 0 else ''}")
    if stale and mode != "vector":
        notes.append(
            f"Not covered by words: {stale:,} messages changed from outside. Next: vaultembed embeddings build"
        )
    return Result("search", view, tuple(notes))


def _ask(
    archive: Archive, query: Query, mode: Mode, serving: Serving | None, kept: Kept, notes: list[str]
) -> Answering | None:
    """None where there is nothing to ask, and words do: a note says so.

    Raises:
        NotReadyError: there is nothing to ask, and words do not.
    """
    unavailable = why_unavailable(archive, serving)
    if unavailable is None and serving is not None:
        return answer(archive, serving, query.text, kept.open_embedder)
    if unavailable is not None:
        if mode == "vector":
            raise unavailable
        notes.append(f"By words only: {unavailable.message}. {unavailable.hint}")
    return None


def _hits(
    archive: Archive,
    query: Query,
    mode: Mode,
    words: Weighed,
    answering: Answering | None,
    limit: int,
    kept: Kept,
    notes: list[str],
) -> list[Hit]:
    if answering is None:
        return by_words(archive, query, words, limit)
    asked, on_damage = answering.answerers, damage_noted_in(notes)
    if mode == "vector":
        return by_meaning(archive, query, asked, limit, on_damage=on_damage, kept_bits=kept.bits)
    return by_both(archive, query, words, asked, limit, on_damage=on_damage, kept_bits=kept.bits)


def _left_out(archive: Archive, query: Query, mode: Mode, words: Weighed, answering: Answering | None) -> int:
    """By words where any pick messages; by date or by meaning, every message counts."""
    if not is_any_set_aside(archive):
        return 0
    match = words.match if mode != "vector" and query.text else None
    if match is None and answering is None and query.text:
        return 0
    return count_set_aside(archive, match, query.only)


def damage_noted_in(notes: list[str]) -> Callable[[int, str], None]:
    def on_damage(generation_id: int, reason: str) -> None:
        notes.append(
            f"The coarse index of generation {generation_id} cannot be used ({reason}): every vector was looked at,"
            " which is slow. Next: vaultembed doctor --fix"
        )

    return on_damage


def _notes(answering: Answering, live: int) -> list[str]:
    notes = []
    for generation, error in answering.unavailable:
        way_out = (error.hint or "").partition("\n")[0].removeprefix(f"Generation {generation.id} needs it. ")
        notes.append(
            f"Generation {generation.id} is unavailable, so messages only it covers are missing:"
            f" {error.message.rstrip('.')}. {way_out}".rstrip()
        )
    left_out = answering.not_covered
    if not left_out.total:
        return notes
    filled = answering.answerers[0].generation
    counts = {"missing": left_out.missing, "failed": left_out.failed, _outside(filled): left_out.outside}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    what = f"Not covered by meaning: {_list(parts)} of {live:,} messages."
    if left_out.missing:
        return [*notes, f"{what} Next: vaultembed embeddings build"]
    if left_out.failed:
        return [*notes, f"{what} Which: vaultembed embeddings"]
    return [*notes, f"{what} By words they are."]


def _outside(generation: Generation) -> str:
    return f"outside the scope of generation {generation.id} ({generation.scope})"


def _list(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def found_view(archive: Archive, query: Query, hit: Hit) -> Found:
    summary = read_summary(archive, hit.message_id)
    if summary is None:
        raise LookupError(f"message {hit.message_id} vanished within a snapshot")
    return Found(
        id=summary.id,
        rfc822_message_id=summary.rfc822_message_id,
        date=iso(summary.sent_at, summary.zone_minutes),
        sender_name=summary.sender_name,
        sender_address=summary.sender_address,
        subject=summary.subject,
        chat=summary.chat,
        has_attachments=summary.has_attachments,
        passage=_passage(archive, query, hit, summary),
        score=round(hit.score, 6),
        text=hit.text,
        vector=hit.vector,
    )


def _passage(archive: Archive, query: Query, hit: Hit, summary: Summary) -> FoundPassage:
    words = [word for wanted in query.words for word in re.findall(r"\w+", wanted.text)]
    span = hit.span
    chunk = _still_there(archive, span.chunk_id) if span else None
    if span is not None and chunk is not None:
        if span.char_start == 0 and chunk.startswith("Subject: ") and (summary.subject or summary.chat is not None):
            # the subject is shown above it already; or is the beginning of the text once more
            chunk = chunk.partition("\n\n")[2]
        start, end = best_passage(chunk, words, PASSAGE_CHARACTERS)
        return FoundPassage(_one_line(chunk[start:end]), span.chunk_id, span.char_start, span.char_end)
    body = read_body(archive, hit.message_id)
    start, end = best_passage(body, words, PASSAGE_CHARACTERS)
    return FoundPassage(_one_line(body[start:end]), None, None, None)


def _still_there(archive: Archive, chunk_id: int) -> str | None:
    """The text of a chunk; None where the stored text no longer has it at its place."""
    from vaultembed.text.embeddable.chunking import text_hash

    found = read_embedded_chunk(archive, chunk_id)
    if found is None:
        return None
    text = found.text[found.char_start : found.char_end]
    return text if text_hash(text) == found.text_hash else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
