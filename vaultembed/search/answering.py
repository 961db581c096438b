"""Which generations answer a search by meaning, and the query's vector in the space of each.

While a generation is being built, it answers beside the active one, each for its own messages: nothing goes dark
during a change of model, and new mail is found as soon as it is embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.coverage import (
    NotCovered,
    Rest,
    count_covered,
    covers_what_other_does_not,
    not_covered,
    rest_beside,
)
from vaultembed.archive.generations.records import Generation, coverage_of, list_generations
from vaultembed.errors import IndexBuildingError, NoGenerationError, NotReadyError
from vaultembed.search.model_of import check_is_model_of, model_unknown

if TYPE_CHECKING:
    from vaultembed.models.protocol import Embedder, Vectors

Opener: TypeAlias = "Callable[[Generation], Embedder]"

WORTH_LOADING: Final = 0.05
"""Of the live messages. Below, a second model is loaded only for messages that the active generation lacks."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What there is to answer with."""

    main: Generation
    """The active one; while the very first one is being built, that one."""
    building: Generation | None
    """The one being built beside the active one."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """A generation that answers a query."""

    generation: Generation
    vector: Vectors
    """Of the query, (dimension,)."""
    rest: Rest | None
    """Where it answers only for what a newer one leaves."""
    unrelated: float
    """Cosine similarity of texts that have nothing to do with each other, in its space."""


@dataclass(frozen=True, slots=True)
class Answering:
    answerers: tuple[Answerer, ...]
    not_covered: NotCovered
    unavailable: tuple[tuple[Generation, NotReadyError], ...]
    """What should have answered and could not, with the reason."""


def find_serving(archive: Archive) -> Serving | None:
    """None where no generation is in service; retired, discarded and pruned ones never are."""
    generations = [generation for generation in list_generations(archive) if generation.pruned_at is None]
    active = next((generation for generation in generations if generation.state == "active"), None)
    building = next((generation for generation in generations if generation.state == "building"), None)
    if active is None:
        return None if building is None else Serving(building, None)
    return Serving(active, building)


def why_unavailable(archive: Archive, serving: Serving | None) -> NotReadyError | None:
    """None where a generation can answer (its model, this does not look at)."""
    if serving is None:
        if any(generation.state == "retired" for generation in list_generations(archive)):
            return NoGenerationError("no generation is active", "Next: vaultembed embeddings list")
        return NoGenerationError("nothing is embedded yet", "Next: vaultembed embeddings build")
    if serving.main.state == "building" and not count_covered(archive, serving.main):
        return IndexBuildingError(
            f"generation {serving.main.id} is being built, and has embedded nothing yet",
            "Next: vaultembed embeddings build. How far it is: vaultembed embeddings",
        )
    if not any(generation.is_checked for generation in (serving.main, serving.building) if generation is not None):
        return model_unknown(serving.main)  # adopted: until its model is found, words are what there is
    return None


def answer(archive: Archive, serving: Serving, text: str, open_embedder: Opener) -> Answering:
    """Embed the query for each generation that is to answer it.

    Raises:
        NotReadyError: no generation's model is here, or is the one it was made with.
    """
    asked = _asked(archive, serving)
    vectors, errors = _embed(asked, text, open_embedder)
    building = serving.building
    if not vectors and building is not None and building not in asked and count_covered(archive, building):
        # better the few messages that it covers than none
        asked = [building, *asked]
        vectors, more = _embed([building], text, open_embedder)
        errors |= more
    if not vectors:
        raise errors[serving.main.id]
    answering = [generation for generation in asked if generation.id in vectors]
    unavailable = tuple((generation, errors[generation.id]) for generation in asked if generation.id in errors)
    return answering_with(archive, answering, vectors, unavailable)


def answering_with(
    archive: Archive,
    generations: Sequence[Generation],
    vectors: Mapping[int, Vectors],
    unavailable: tuple[tuple[Generation, NotReadyError], ...] = (),
) -> Answering:
    """`generations`: those that answer, the newer first; `vectors`: by generation, what each is asked for."""
    from vaultembed.archive.vectors.nearest import unrelated_similarity

    rest, answerers = None, []
    for generation in generations:
        unrelated = unrelated_similarity(archive, generation)
        answerers.append(Answerer(generation, vectors[generation.id], rest, unrelated))
        rest = rest_beside(archive, generation)
    return Answering(tuple(answerers), not_covered(archive, generations), unavailable)


def _asked(archive: Archive, serving: Serving) -> list[Generation]:
    """At most two, the newer first: the other answers only for what it leaves."""
    main, building = serving.main, serving.building
    if building is None or not count_covered(archive, building):
        return [main]
    if _share_a_space(main, building):
        return [building, main]
    covers_little = count_covered(archive, building) < WORTH_LOADING * coverage_of(archive, None).live
    if covers_little and not covers_what_other_does_not(archive, building, main):
        return [main]
    return [building, main]


def _share_a_space(one: Generation, other: Generation) -> bool:
    """By the whole hash of the weights: in `space` stand eight digits of it."""
    return (one.space, one.model.weights_sha256) == (other.space, other.model.weights_sha256)


def _embed(
    generations: Sequence[Generation], text: str, open_embedder: Opener
) -> tuple[dict[int, Vectors], dict[int, NotReadyError]]:
    """By generation: the query's vector, or why there is none. Each space once."""
    from vaultembed.embeddings.query_vector import embed_query
    from vaultembed.embeddings.recipe import recipe_for
    from vaultembed.embeddings.resilient import check_canary

    vectors: dict[int, Vectors] = {}
    errors: dict[int, NotReadyError] = {}
    left = list(generations)
    while left:
        alike = [generation for generation in left if _share_a_space(generation, left[0])]
        left = [generation for generation in left if generation not in alike]
        try:
            embedder = open_embedder(alike[0])
        except NotReadyError as error:
            errors |= {generation.id: error for generation in alike}
            continue
        try:
            vector = None
            for generation in alike:
                try:
                    check_is_model_of(generation, embedder.facts)
                    if generation.canary is not None:
                        # 8 ms, beside the 100 that opening the default model takes
                        check_canary(embedder, generation.canary, generation.id)
                    if vector is None:
                        vector = embed_query(embedder, text, recipe_for(embedder.facts.context_length).max_tokens)
                    vectors[generation.id] = vector
                except NotReadyError as error:
                    errors[generation.id] = error
        finally:
            embedder.close()
    return vectors, errors


def answerers_like(archive: Archive, serving: Serving, message_id: int) -> Answering | None:
    """What the generations that have embedded the message answer with; None where none has its present text.

    The newer generation answers for what it has embedded, the older for the rest, as for any query. Where the message
    has no vectors in one of them, the other answers for all that it has.
    """
    from vaultembed.archive.vectors.nearest import vector_of_message

    candidates = [generation for generation in (serving.building, serving.main) if generation is not None]
    vectors: dict[int, Vectors] = {}
    for generation in candidates:
        vector = vector_of_message(archive, generation, message_id)
        if vector is not None:
            vectors[generation.id] = vector
    answering = [generation for generation in candidates if generation.id in vectors]
    if not answering:
        return None
    return answering_with(archive, answering, vectors)
