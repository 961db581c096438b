"""Finds a model for a generation that msgvault made: one that gives the vectors it holds, as a sample shows."""

from __future__ import annotations

from dataclasses import dataclass

from vaultembed.archive.adoption import find_adopted
from vaultembed.archive.database import Archive
from vaultembed.archive.generations import Generation, list_generations
from vaultembed.embeddings.adopted import SAME_MEDIAN, SAME_TENTH, bind, compare
from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.models.protocol import Embedder
from vaultembed.models.registry import model_called
from vaultembed.search.serving import model_unknown


@dataclass(frozen=True, slots=True)
class CompareView:
    """A model here, compared with an adopted generation by embedding some of its texts again."""

    generation: int
    model: str
    """The one here."""
    median_cosine: float
    least_cosine: float
    sampled: int
    """Texts."""
    same: bool
    """The generation is searched, and topped up, with this model from now on."""


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


def bind_or_refuse(archive: Archive, generation: Generation, embedder: Embedder, path: str | None) -> Generation:
    """Let an adopted generation be of this model's space, if it is.

    Raises:
        ModelError: it is not; says by how much, and what to do.
    """
    found = compare(archive, generation, embedder)
    name = embedder.facts.name
    anew = f"vaultembed embeddings build --new --model {path or name}"
    if found is None:
        raise ModelError(
            f"whether {name} gives the vectors of generation {generation.id} cannot be told: no text of it can be"
            " embedded again",
            f"To embed anew: {anew}",
        )
    if not found.is_same:
        theirs = model_unknown(generation).hint
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
            f"{theirs}\nOr embed anew with this one; meanwhile nothing is lost: {anew}",
        )
    return bind(archive, generation, embedder, path, found.checked)


def bind_what_is_here(archive: Archive) -> list[CompareView]:
    """At the end of an import: compare adopted generations with the models that this machine has, by their names."""
    views = []
    for generation in list_generations(archive):
        if generation.is_checked or generation.state not in ("active", "building"):
            continue
        try:
            resolved = resolve_for(generation, None, None)
            embedder = open_in_child(resolved)
        except ModelError:
            continue  # what to get is said where it is asked for
        try:
            found = compare(archive, generation, embedder)
            if found is not None:
                if found.is_same:
                    bind(archive, generation, embedder, None, found.checked)
                views.append(
                    CompareView(
                        generation.id,
                        resolved.facts.name,
                        found.checked.median_cosine,
                        found.checked.least_cosine,
                        found.checked.sampled,
                        found.is_same,
                    )
                )
        except ModelError:
            continue  # a sick model is told of when it is needed
        finally:
            embedder.close()
    return views


def unchecked_generations(archive: Archive) -> list[Generation]:
    """Adopted ones in service whose model has not been found."""
    return [
        generation
        for generation in list_generations(archive)
        if not generation.is_checked
        and generation.state in ("active", "building")
        and find_adopted(archive, generation.id) is not None
    ]
