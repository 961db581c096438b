"""Finds a model for a generation that msgvault made: one that gives the vectors it holds, as a sample shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.adopted import find_adopted, take_over
from vaultembed.archive.generations.backfill import put_to_use
from vaultembed.archive.generations.records import Generation, generation_to_fill, list_generations
from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.models.protocol import Embedder
from vaultembed.models.registry import model_called
from vaultembed.msgvault.comparing import SAME_MEDIAN, SAME_TENTH, bind, compare
from vaultembed.search.model_of import model_unknown, resolve_model_of


@dataclass(frozen=True, slots=True)
class CompareView:
    """A model here, compared with an adopted generation by embedding some of its texts again."""

    generation: int
    model: str
    """The one here."""
    median_cosine: float | None
    """None: no text is known that was embedded, so it cannot be told."""
    least_cosine: float | None
    sampled: int
    """Texts."""
    same: bool
    """The generation is of this model's space from now on."""
    into: int | None
    """Where another generation of that space is in use here, or being built: that one,"""
    taken_over: int
    """and how many messages it has from the adopted one now."""


def resolve_for(generation: Generation, document_prefix: str | None, query_prefix: str | None) -> ModelFile:
    """The model here that is likely to be that of an adopted generation, by its name. Msgvault puts no prefixes before
    texts, so none are put before them here, unless they are asked for.

    Raises:
        ModelError: none of that name is known, or it is not on this machine.
    """
    model = model_called(generation.model.name, generation.dimension)
    if model is None:
        raise model_unknown(generation)
    return resolve_model(model.name, document_prefix=document_prefix or "", query_prefix=query_prefix or "")


def bind_or_refuse(archive: Archive, generation: Generation, embedder: Embedder, path: str | None) -> str:
    """Let an adopted generation be of this model's space, if it is; returns what was found, for a person.

    Raises:
        ModelError: it is not; says by how much, and what to do.
    """
    found = compare(archive, generation, embedder)
    name = embedder.facts.name
    anew = f"vaultembed embeddings build --new --model {path or name}"
    if found is None:
        raise ModelError(f"generation {generation.id} cannot be used yet: {_untold(name)}", f"{_TOLD_BY} {anew}")
    if not found.is_same:
        what = (
            f"it has {embedder.facts.dimension} dimensions, not {generation.dimension}"
            if not found.checked.sampled
            else f"the median cosine of {found.checked.sampled} texts embedded again is"
            f" {found.checked.median_cosine:.4f}, and one in ten is at {found.tenth:.4f} or below;"
            f" the same model has {SAME_MEDIAN} and {SAME_TENTH} at least"
        )
        raise ModelError(
            f"generation {generation.id}, which msgvault made with {generation.model.name}, is not of the space of"
            f" {name}: {what}",
            f"{_other_file(generation)}\nOr embed anew with this one; meanwhile nothing is lost: {anew}",
        )
    bind(archive, generation, embedder, path, found.checked)
    return (
        f"Generation {generation.id} is of the space of {name}: median cosine {found.checked.median_cosine:.4f} of"
        f" {found.checked.sampled} texts embedded again."
    )


def _untold(name: str) -> str:
    return f"whether {name} gives its vectors cannot be told, for no text is known that msgvault embedded"


_TOLD_BY: Final = "It can when msgvault has embedded some plain text more, and that is imported. To embed anew instead:"


def _other_file(generation: Generation) -> str:
    name = generation.model.name
    return (
        f"If msgvault used another file of {name} (that of Ollama: ollama show {name} --modelfile), name it:"
        " vaultembed embeddings build --model PATH"
    )


def way_out(generation: Generation, compared: CompareView | None) -> str:
    """What to do about an adopted generation in service that cannot be searched with, after it was compared or not."""
    if compared is None:
        return model_unknown(generation).hint or ""
    if compared.median_cosine is None:
        return f"{_untold(compared.model)}. {_TOLD_BY} vaultembed embeddings build --new"
    return f"{_other_file(generation)}. Or embed anew: vaultembed embeddings build --new"


def bind_what_is_here(archive: Archive, should_stop: Callable[[], bool] = lambda: False) -> list[CompareView]:
    """At the end of an import: compare adopted generations with models that this machine has. Where another generation
    is in use here, with the model of that one: of the same space, it takes over what it lacks. Needs `load_vec`."""
    views = []
    for generation in list_generations(archive):
        adopted = find_adopted(archive, generation.id)
        if adopted is None or adopted.is_retired_there or is_given_up(generation):
            continue
        target = generation_to_fill(archive)
        is_beside = generation.state == "retired" and target is not None and target.is_checked
        if is_beside and target is not None and generation.space == target.space:
            taken = take_over(archive, generation, target, should_stop)  # compared before
            if taken:
                views.append(_compared(generation, target, taken))
        elif not generation.is_checked and (is_beside or generation.state in ("active", "building")):
            view = _compare_one(archive, generation, target if is_beside else None, should_stop)
            views += [view] if view is not None else []
    put_to_use(archive)
    return views


def _compare_one(
    archive: Archive, generation: Generation, target: Generation | None, should_stop: Callable[[], bool]
) -> CompareView | None:
    """`target`: of whose model. None: there is no model to compare with."""
    try:
        resolved = resolve_model_of(target) if target is not None else resolve_for(generation, None, None)
        embedder = open_in_child(resolved)
    except ModelError:
        return None  # what to get is said where it is asked for
    try:
        found = compare(archive, generation, embedder)
        if found is None:
            return CompareView(generation.id, resolved.facts.name, None, None, 0, False, None, 0)
        taken = 0
        if found.is_same:
            bound = bind(archive, generation, embedder, target.model.path if target else None, found.checked)
            taken = take_over(archive, bound, target, should_stop) if target is not None else 0
        return CompareView(
            generation.id,
            resolved.facts.name,
            found.checked.median_cosine,
            found.checked.least_cosine,
            found.checked.sampled,
            found.is_same,
            target.id if target is not None and found.is_same else None,
            taken,
        )
    except ModelError:
        return None  # a sick model is told of when it is needed
    finally:
        embedder.close()


def _compared(generation: Generation, target: Generation, taken: int) -> CompareView:
    return CompareView(generation.id, generation.model.name, 1.0, 1.0, 0, True, target.id, taken)


def is_given_up(generation: Generation) -> bool:
    """What a person has discarded or pruned does not come back by itself."""
    return generation.pruned_at is not None or generation.state == "discarded"


def unchecked_generations(archive: Archive) -> list[Generation]:
    """Adopted ones in service whose model has not been found."""
    return [
        generation
        for generation in list_generations(archive)
        if not generation.is_checked
        and generation.state in ("active", "building")
        and find_adopted(archive, generation.id) is not None
    ]
