"""Opens the model that a generation was made with, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaultembed.archive.generations.records import Generation
from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child, resolve_model
from vaultembed.search.answering import model_unknown

if TYPE_CHECKING:
    from vaultembed.models.host import ChildEmbedder


def resolve_model_of(generation: Generation) -> ModelFile:
    """
    Raises:
        ModelError: it is not here, or what is here under its name is another one.
    """
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
    if resolved.facts.space != generation.space or resolved.facts.weights_sha256 != model.weights_sha256:
        raise ModelError(
            f"the model {model.name} is not the one generation {generation.id} was made with"
            f" ({resolved.facts.space}, not {generation.space})",
            "Its vectors cannot be compared. Put the model back, or embed anew: vaultembed embeddings build --new",
        )
    return resolved


def open_model_of(generation: Generation) -> ChildEmbedder:
    """In a child process, which a crash would end and not this one.

    Raises:
        ModelError: as `resolve_model_of`.
    """
    return open_in_child(resolve_model_of(generation))
