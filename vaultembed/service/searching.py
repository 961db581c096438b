"""`search`: messages by words, by meaning or by both, with the passage that matched and what is not covered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vaultembed.archive.database import Archive, open_archive_readonly
from vaultembed.archive.fulltext import count_stale
from vaultembed.archive.generations import Coverage, Generation, coverage_of, generation_in_state
from vaultembed.archive.reading import Summary, read_body, read_embedded_text, read_summary
from vaultembed.errors import ModelError, NotReadyError, UsageError
from vaultembed.search.hybrid import DEPTH, Hit, Mode, Signal, by_meaning, by_telling_words, by_words, fuse
from vaultembed.search.query import Query, parse_query
from vaultembed.service.coverage import CoverageView, coverage_view
from vaultembed.service.dates import iso
from vaultembed.service.result import Result
from vaultembed.text.passages import best_passage

if TYPE_CHECKING:
    from vaultembed.models.protocol import Vectors

PASSAGE_CHARACTERS: Final = 280


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
    has_attachments: bool
    passage: FoundPassage
    score: float
    text: Signal | None
    vector: Signal | None


@dataclass(frozen=True, slots=True)
class SearchView:
    query: str
    mode: str
    generation: int | None
    """That answered by meaning; None in text mode."""
    coverage: CoverageView
    """Of that generation; in text mode of the text index."""
    results: tuple[Found, ...]


def search_archive(archive_path: Path, text: str, *, mode: Mode = "hybrid", limit: int = 10) -> Result[SearchView]:
    """The best `limit` messages for a query.

    Raises:
        UsageError: an empty query, or a filter that makes no sense.
        NotReadyError: by meaning was asked for, and there is no generation, or its model is not here.
    """
    query = parse_query(text)
    if not query.text and query.only.is_empty:
        raise UsageError("the query is empty", 'Say what you are looking for: vaultembed search "the leaking roof"')
    if limit < 1:
        raise UsageError(f"-n must be at least 1, not {limit}")
    notes: list[str] = []
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        generation = None
        if mode != "text" and query.text:
            generation = _serving(archive)
            if generation is None and mode == "vector":
                raise NotReadyError("nothing is embedded yet", "Next: vaultembed embeddings build")
        coverage = coverage_of(archive, generation.id if generation else None)
        hits = _hits(archive, query, mode, generation, coverage, limit)
        found = tuple(_found(archive, query, hit, generation) for hit in hits)
        stale = count_stale(archive)
    if mode == "hybrid" and query.text and generation is None:
        notes.append("By words only: nothing is embedded yet. Next: vaultembed embeddings build")
    elif generation is not None and (coverage.missing or coverage.failed):
        behind = f"{coverage.missing:,} missing" if coverage.missing else ""
        failed = f"{coverage.failed:,} failed" if coverage.failed else ""
        left_out = " and ".join(part for part in (behind, failed) if part)
        notes.append(
            f"Not covered by meaning: {left_out} of {coverage.live:,} messages."
            + (" Next: vaultembed embeddings build" if coverage.missing else " Which: vaultembed embeddings")
        )
    if stale and mode != "vector":
        notes.append(
            f"Not covered by words: {stale:,} messages changed from outside. Next: vaultembed embeddings build"
        )
    view = SearchView(text, mode, generation.id if generation else None, coverage_view(coverage), found)
    return Result("search", view, tuple(notes))


def _serving(archive: Archive) -> Generation | None:
    """The active generation; while the very first one is being built, that one."""
    return generation_in_state(archive, "active") or generation_in_state(archive, "building")


def _hits(
    archive: Archive, query: Query, mode: Mode, generation: Generation | None, coverage: Coverage, limit: int
) -> list[Hit]:
    if generation is None:
        return by_words(archive, query, limit)
    vector = _query_vector(generation, query.text)
    if mode == "vector":
        return by_meaning(archive, query, generation, vector, limit)
    depth = max(DEPTH, limit)
    share = (coverage.live - coverage.missing) / max(coverage.live, 1)
    meaning = by_meaning(archive, query, generation, vector, depth)
    return fuse(by_telling_words(archive, query, depth), meaning, limit, vector_share=share)


def _query_vector(generation: Generation, text: str) -> Vectors:
    from vaultembed.embeddings.recipe import recipe_for
    from vaultembed.models.open import open_in_process, resolve_model
    from vaultembed.search.query_vector import embed_query

    model = generation.model
    try:
        resolved = resolve_model(
            model.path or model.name, document_prefix=model.document_prefix, query_prefix=model.query_prefix
        )
    except ModelError as error:
        raise ModelError(
            error.message,
            f"Generation {generation.id} needs it. {error.hint or ''}\nWithout it, search by words: --mode text",
        ) from error
    if resolved.facts.space != generation.space:
        raise NotReadyError(
            f"the model {model.name} is not the one generation {generation.id} was made with"
            f" ({resolved.facts.space}, not {generation.space})",
            "Its vectors cannot be compared. Put the model back, or search with --mode text.",
        )
    embedder = open_in_process(resolved)
    try:
        return embed_query(embedder, text, recipe_for(resolved.facts.context_length).max_tokens)
    finally:
        embedder.close()


def _found(archive: Archive, query: Query, hit: Hit, generation: Generation | None) -> Found:
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
        has_attachments=summary.has_attachments,
        passage=_passage(archive, query, hit, generation, summary),
        score=round(hit.score, 6),
        text=hit.text,
        vector=hit.vector,
    )


def _passage(archive: Archive, query: Query, hit: Hit, generation: Generation | None, summary: Summary) -> FoundPassage:
    words = [word for phrase in (*query.words, *query.phrases) for word in re.findall(r"\w+", phrase)]
    if hit.span is not None and generation is not None:
        preparation = generation.recipe.partition(":")[0]
        text = read_embedded_text(archive, hit.message_id, preparation) or ""
        chunk = text[hit.span.char_start : hit.span.char_end]
        if hit.span.char_start == 0 and summary.subject and chunk.startswith("Subject: "):
            chunk = chunk.partition("\n\n")[2]  # the subject is shown above it already
        start, end = best_passage(chunk, words, PASSAGE_CHARACTERS)
        span = hit.span
        return FoundPassage(_one_line(chunk[start:end]), span.chunk_id, span.char_start, span.char_end)
    body = read_body(archive, hit.message_id)
    start, end = best_passage(body, words, PASSAGE_CHARACTERS)
    return FoundPassage(_one_line(body[start:end]), None, None, None)


def _one_line(text: str) -> str:
    return " ".join(text.split())
