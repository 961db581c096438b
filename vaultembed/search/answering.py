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
    not_covered,
    rest_beside,
    speaks_for,
    speaks_where_other_does_not,
)
from vaultembed.archive.generations.records import Generation, coverage_of, list_generations
from vaultembed.errors import ModelError, NotReadyError

if TYPE_CHECKING:
    from vaultembed.models.protocol import Embedder, ModelFacts, Vectors

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
class Voice:
    """A generation that answers a query."""

    generation: Generation
    vector: Vectors
    """Of the query, (dimension,)."""
    rest: Rest | None
    """Where it answers only for what a newer one leaves."""
    share: float
    """Of the live messages, for which it answers."""


@dataclass(frozen=True, slots=True)
class Answering:
    voices: tuple[Voice, ...]
    not_covered: NotCovered
    silent: tuple[tuple[Generation, NotReadyError], ...]
    """What should have answered and could not, with the reason."""

    @property
    def shares(self) -> Mapping[int, float]:
        return {voice.generation.id: voice.share for voice in self.voices}


def find_serving(archive: Archive) -> Serving | None:
    """None where no generation is in service; retired, discarded and pruned ones never are."""
    generations = [generation for generation in list_generations(archive) if generation.pruned_at is None]
    active = next((generation for generation in generations if generation.state == "active"), None)
    building = next((generation for generation in generations if generation.state == "building"), None)
    if active is None:
        return None if building is None else Serving(building, None)
    return Serving(active, building)


def answer(archive: Archive, serving: Serving, text: str, open_embedder: Opener) -> Answering:
    """Embed the query for each generation that is to answer it.

    Raises:
        NotReadyError: no generation's model is here, or is the one it was made with.
    """
    asked = _asked(archive, serving)
    vectors, errors = _embed(asked, text, open_embedder)
    building = serving.building
    if not vectors and building is not None and building not in asked and speaks_for(archive, building):
        # better the few messages that it covers than none
        asked = [building, *asked]
        vectors, more = _embed([building], text, open_embedder)
        errors |= more
    if not vectors:
        raise errors[serving.main.id]
    answering = [generation for generation in asked if generation.id in vectors]
    silent = tuple((generation, errors[generation.id]) for generation in asked if generation.id in errors)
    return answering_with(archive, answering, vectors, silent)


def answering_with(
    archive: Archive,
    generations: Sequence[Generation],
    vectors: Mapping[int, Vectors],
    silent: tuple[tuple[Generation, NotReadyError], ...] = (),
) -> Answering:
    """`generations`: those that answer, the newer first; `vectors`: by generation, what each is asked for."""
    left_out = not_covered(archive, generations)
    live = coverage_of(archive, None).live
    rest, voices, heard = None, [], 0
    for generation in generations:
        older = generations[generations.index(generation) + 1 :]
        speaks = speaks_for(archive, generation) if older else live - left_out.total - heard
        voices.append(Voice(generation, vectors[generation.id], rest, share=max(speaks, 1) / max(live, 1)))
        rest, heard = rest_beside(archive, generation), speaks
    return Answering(tuple(voices), left_out, silent)


def _asked(archive: Archive, serving: Serving) -> list[Generation]:
    """At most two, the newer first: the other speaks only for what it leaves."""
    main, building = serving.main, serving.building
    if building is None or not speaks_for(archive, building):
        return [main]
    if _share_a_space(main, building):
        return [building, main]
    covers_little = speaks_for(archive, building) < WORTH_LOADING * coverage_of(archive, None).live
    if covers_little and not speaks_where_other_does_not(archive, building, main):
        return [main]
    return [building, main]


def _share_a_space(one: Generation, other: Generation) -> bool:
    """By the whole hash of the weights: in `space` stand eight digits of it."""
    return (one.space, one.model.weights_sha256) == (other.space, other.model.weights_sha256)


def _embed(
    generations: Sequence[Generation], text: str, open_embedder: Opener
) -> tuple[dict[int, Vectors], dict[int, NotReadyError]]:
    """By generation: the query's vector, or why there is none. Each space once."""
    from vaultembed.embeddings.recipe import recipe_for
    from vaultembed.embeddings.resilient import check_canary
    from vaultembed.search.query_vector import embed_query

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


def open_model_of(generation: Generation) -> Embedder:
    """The model that a generation was made with, in this process.

    Raises:
        ModelError: it is not here, was altered, does not load, or what is here under its name is another.
    """
    from vaultembed.models.open import open_in_process, resolve_model

    model = generation.model
    if not generation.is_checked:
        raise model_unknown(generation)
    try:
        resolved = resolve_model(
            model.path or model.name, document_prefix=model.document_prefix, query_prefix=model.query_prefix
        )
    except ModelError as error:
        raise _needed(generation, error) from error
    check_is_model_of(generation, resolved.facts)
    try:
        return open_in_process(resolved)
    except ModelError as error:
        raise _needed(generation, error) from error


def _needed(generation: Generation, error: ModelError) -> ModelError:
    return ModelError(
        error.message,
        f"Generation {generation.id} needs it. {error.hint or ''}\nWithout it, search by words: --mode text",
    )


def model_unknown(generation: Generation) -> ModelError:
    """For a generation from another program, before a model here has been found to give its vectors."""
    from vaultembed.models.registry import model_called

    name = generation.model.name
    known = model_called(name, generation.dimension)
    build = "then compare and use it: vaultembed embeddings build"
    file = f"a .gguf file (one of Ollama's is such a file: ollama show {name} --modelfile)"
    get = f"Get {name} as {file}, {build} --model PATH"
    if known is not None:
        get = f"Get the model (vaultembed models pull {known.name}), {build}"
    return ModelError(
        f"generation {generation.id} comes from msgvault, and no model here has been found to give the vectors of its"
        f" {name}",
        get,
    )


def check_is_model_of(generation: Generation, facts: ModelFacts) -> None:
    """
    Raises:
        ModelError: the vectors of this model and of the generation cannot be compared.
    """
    found, made = (facts.space, facts.weights_sha256), (generation.space, generation.model.weights_sha256)
    if found == made:
        return
    difference = f"{found[0]}, not {made[0]}"
    if found[0] == made[0]:
        difference = f"its weights have the sha256 {found[1][:16]}…, not {made[1][:16]}…"
    raise ModelError(
        f"the model {generation.model.name} is not the one generation {generation.id} was made with ({difference})",
        "Its vectors cannot be compared. Put the model back, or search with --mode text.",
    )


def voices_like(archive: Archive, serving: Serving, message_id: int) -> Answering | None:
    """What the generations that have embedded the message answer with; None where none has its present text.

    The newer generation speaks for what it has embedded, the older for the rest, as for any query. Where the message
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
