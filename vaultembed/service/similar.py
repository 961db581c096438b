"""Messages that are like a given one, by the vectors of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaultembed.archive.conditions import All
from vaultembed.archive.database import Archive, Within, open_archive_readonly
from vaultembed.archive.generations.outcomes import outcome_of
from vaultembed.archive.generations.records import Generation
from vaultembed.archive.mail.reading import read_summary
from vaultembed.errors import IndexBuildingError, NotEmbeddedError, NotReadyError
from vaultembed.search.answering import Serving, answerers_like, find_serving, why_unavailable
from vaultembed.search.filters import Filters
from vaultembed.search.query import Query
from vaultembed.search.ranking import by_meaning
from vaultembed.service.listing import no_message
from vaultembed.service.result import Result
from vaultembed.service.searching import NO_FILTERS, NOTHING_KEPT, Found, Kept, damage_noted_in, found_view


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
    archive_path: Path | Within,
    message_id: int,
    *,
    filters: Filters = NO_FILTERS,
    limit: int = 10,
    offset: int = 0,
    kept: Kept = NOTHING_KEPT,
) -> Result[SimilarView]:
    """The `limit` messages most like one, after the `offset` best. Needs no model: its vectors are stored.

    Raises:
        MessageMissingError: there is none with that id.
        NoGenerationError, IndexBuildingError: nothing can be compared yet.
        NotEmbeddedError: it has no vectors: it is blank, failed, or outside the scope.
        QueryError: a filter makes no sense.
    """
    query = Query("", (), filters.condition(), All())
    notes: list[str] = []
    with open_archive_readonly(archive_path) as archive, archive.snapshot():
        if read_summary(archive, message_id) is None:
            raise no_message(message_id)
        serving = find_serving(archive)
        unavailable = why_unavailable(archive, serving)
        if unavailable is not None or serving is None:
            raise unavailable or NotReadyError("nothing answers by meaning")
        answering = answerers_like(archive, serving, message_id)
        if answering is None:
            raise _no_vectors(archive, serving, message_id)
        # a filter that leaves out one message would have to be counted, to see that it leaves out no more
        hits = by_meaning(
            archive,
            query,
            answering.answerers,
            offset + limit + 1,
            on_damage=damage_noted_in(notes),
            kept_bits=kept.bits,
            without=message_id,
        )
        view = SimilarView(
            message=message_id,
            generations=tuple(answerer.generation.id for answerer in answering.answerers),
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
