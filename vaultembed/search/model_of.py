"""Opens the model that a generation was made with, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaultembed.archive.generations.records import Generation
from vaultembed.errors import ModelError

if TYPE_CHECKING:  # text search does without models
    from vaultembed.models.host import ChildEmbedder
    from vaultembed.models.llama import LlamaEmbedder
    from vaultembed.models.model_file import ModelFile
    from vaultembed.models.protocol import ModelFacts


def resolve_model_of(generation: Generation) -> ModelFile:
    """
    Raises:
        ModelError: it is not here, or what is here under its name is another one.
    """
    from vaultembed.models.open import resolve_model

    model = generation.model
    if not generation.is_checked:
        raise model_unknown(generation)
    try:
        resolved = resolve_model(
            model.path or model.name, document_prefix=model.document_prefix, query_prefix=model.query_prefix
        )
    except ModelError as error:
        if model.path is None or Path(model.path).exists():
            raise
        raise ModelError(
            error.message,
            "Put it back. If it has moved, say where it is; nothing is embedded again: vaultembed embeddings build"
            " --model PATH",
        ) from error
    check_is_model_of(generation, resolved.facts)
    return resolved


def open_model_of(generation: Generation) -> ChildEmbedder:
    """In a child process, which a crash would end and not this one.

    Raises:
        ModelError: as `resolve_model_of`.
    """
    from vaultembed.models.open import open_in_child

    return open_in_child(resolve_model_of(generation))


def open_for_query(generation: Generation) -> LlamaEmbedder:
    """In this process, for one query.

    Raises:
        ModelError: as `resolve_model_of`; or it does not load.
    """
    from vaultembed.models.open import open_in_process

    if not generation.is_checked:
        raise model_unknown(generation)
    try:
        return open_in_process(resolve_model_of(generation))
    except ModelError as error:
        raise ModelError(
            error.message,
            f"Generation {generation.id} needs it. {error.hint or ''}\nWithout it, search by words: --mode text",
        ) from error


def model_unknown(generation: Generation) -> ModelError:
    """For a generation from another program, before a model here has been found to give its vectors."""
    from vaultembed.models.cache import cached_file
    from vaultembed.models.registry import model_called

    name = generation.model.name
    known = model_called(name, generation.dimension)
    build = "then compare and use it: vaultembed embeddings build"
    file = f"a .gguf file (one of Ollama's is such a file: ollama show {name} --modelfile)"
    if known is None:
        get = f"Get {name} as {file}, {build} --model PATH"
    elif cached_file(known) is None:
        get = f"Get the model (vaultembed models pull {known.name}), {build}"
    else:
        get = f"To compare {known.name}, which is here, and use it: vaultembed embeddings build"
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
        "Its vectors cannot be compared. Put the model back, or embed anew: vaultembed embeddings build --new",
    )
