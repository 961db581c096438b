"""Messages that are like a given one, by the vectors of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaultembed.archive.database import READER_MMAP, Archive, open_archive_readonly
from vaultembed.archive.generations.outcomes import outcome_of
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.mail.reading import read_summary
from vaultembed.errors import IndexBuildingError, MessageMissingError, NotEmbeddedError, NotReadyError
from vaultembed.search.answering import Serving, find_serving, voices_like
from vaultembed.search.filters import Filters
from vaultembed.search.query import Query
from vaultembed.search.ranking import by_voices, fuse
from vaultembed.service.readiness import why_silent
from vaultembed.service.result import Result
from vaultembed.service.searching import NO_FILTERS, Found, found_view

if TYPE_CHECKING:
    from vaultembed.archive.vectors.coarse_in_memory import KeptBits


@dataclass(frozen=True, slots=True)
class SimilarView:
    message: int
    generations: tuple[int, ...]
    """That answered."""
    not_covered: int
    """Live messages that none of them has embedded."""
    results: tuple[Found, ...]
    """The most similar first, without the message itself."""
    more: bool


def similar_messages(
    archive_path: Path,
    message_id: int,
    *,
    filters: Filters = NO_FILTERS,
    limit: int = 10,
    offset: int = 0,
    kept_bits: KeptBits | None = None,
) -> Result[SimilarView]:
    """The `limit` messages most like one, after the `offset` best. Needs no model: its vectors are stored.
    `kept_bits`: as `search_archive`.

    Raises:
        MessageMissingError: there is none with that id.
        NoGenerationError, IndexBuildingError: nothing can be compared yet.
        NotEmbeddedError: it has no vectors: it is blank, failed, or outside the scope.
        QueryError: a filter makes no sense.
    """
    query = Query("", (), (), filters.condition())
    notes: list[str] = []

    def on_damage(generation_id: int, reason: str) -> None:
        notes.append(
            f"The coarse index of generation {generation_id} cannot be used ({reason}): every vector was looked at,"
            " which is slow. Next: vaultembed doctor --fix"
        )

    mmap_bytes = READER_MMAP if kept_bits is None else 0  # then few rows are read
    with open_archive_readonly(archive_path, mmap_bytes=mmap_bytes) as archive, archive.snapshot():
        if read_summary(archive, message_id) is None:
            raise MessageMissingError(f"there is no message {message_id}", "Ids are shown by: vaultembed search QUERY")
        serving = find_serving(archive)
        silent = why_silent(archive, serving)
        if silent is not None or serving is None:
            raise silent or NotReadyError("nothing answers by meaning")
        answering = voices_like(archive, serving, message_id)
        if answering is None:
            raise _no_vectors(archive, serving, message_id)
        # a filter that leaves out one message would have to be counted, to see that it leaves out no more
        hits = by_voices(archive, query, answering.voices, offset + limit + 1, on_damage, kept_bits, message_id)
        if len(answering.voices) > 1:
            hits = fuse([], hits, offset + limit + 1, answering.shares)
        view = SimilarView(
            message=message_id,
            generations=tuple(voice.generation.id for voice in answering.voices),
            not_covered=answering.not_covered.total,
            results=tuple(found_view(archive, query, hit) for hit in hits[offset : offset + limit]),
            more=len(hits) > offset + limit,
        )
    return Result("similar", view, tuple(notes))


def _no_vectors(archive: Archive, serving: Serving, message_id: int) -> NotReadyError:
    filled: Generation = serving.building or serving.main
    outcome = outcome_of(archive, filled.id, message_id)
    if outcome is not None:
        why = "there is no text in it" if outcome == "blank" else f"the model {outcome} on it"
        return NotEmbeddedError(f"message {message_id} has no vectors: {why}", "Search for words of it instead.")
    if serving.main.state == "building":
        return IndexBuildingError(
            f"message {message_id} is not embedded yet: generation {filled.id} is being built",
            "Next: vaultembed embeddings build",
        )
    return NotEmbeddedError(f"message {message_id} is not embedded yet", "Next: vaultembed embeddings build")
