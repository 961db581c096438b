"""`models`: which there are, fetching one, and its facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vaultembed.errors import ModelError
from vaultembed.models.cache import cached_file, models_folder
from vaultembed.models.open import pull_model, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL, MODELS
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class KnownModel:
    name: str
    here: bool
    """Fetched already."""
    is_default: bool
    dimension: int
    context_length: int
    languages: str
    licence: str
    size: int
    """Bytes to fetch, about."""


@dataclass(frozen=True, slots=True)
class ModelsView:
    folder: Path
    models: tuple[KnownModel, ...]


@dataclass(frozen=True, slots=True)
class ModelView:
    name: str
    path: Path
    file_bytes: int
    sha256: str
    """Of the .gguf."""
    weights_sha256: str
    """Of the weights it was converted from; the same where it was not."""
    converter: str
    architecture: str
    dimension: int
    pooling: str
    context_length: int
    document_prefix: str
    query_prefix: str
    licence: str
    languages: str
    space: str


@dataclass(frozen=True, slots=True)
class PullStep:
    """What fetching a model is doing."""

    what: str
    done: int
    """Bytes."""
    total: int
    """0 where it is not known."""


def list_models() -> Result[ModelsView]:
    models = tuple(
        KnownModel(
            name=model.name,
            here=cached_file(model) is not None,
            is_default=model.name == DEFAULT_MODEL,
            dimension=model.dimension,
            context_length=model.context_length,
            languages=model.languages,
            licence=model.licence,
            size=model.size,
        )
        for model in MODELS.values()
    )
    return Result("models", ModelsView(models_folder(), models))


def known_names() -> list[str]:
    """What `--model` and `models pull` take by name."""
    return sorted(MODELS)


def pull(name: str | None = None, on_step: Callable[[PullStep], None] = lambda _: None) -> Result[ModelView]:
    """Fetch a model unless it is here and whole.

    Raises:
        ModelError: not known, or no source is in reach or has the right bytes.
        StorageError: the disk is full, or fails.
    """
    pull_model(name or DEFAULT_MODEL, lambda at: on_step(PullStep(at.step, at.done, at.total)))
    return Result("models pull", model_info(name or DEFAULT_MODEL).data)


def model_info(name_or_path: str) -> Result[ModelView]:
    """The facts of a model.

    Raises:
        ModelError: not known, not fetched, or no usable model file.
    """
    model = resolve_model(name_or_path)
    facts = model.facts
    view = ModelView(
        name=facts.name,
        path=model.path,
        file_bytes=model.path.stat().st_size,
        sha256=model.sha256,
        weights_sha256=facts.weights_sha256,
        converter=facts.converter,
        architecture=facts.architecture,
        dimension=facts.dimension,
        pooling=facts.pooling,
        context_length=facts.context_length,
        document_prefix=facts.document_prefix,
        query_prefix=facts.query_prefix,
        licence=facts.licence,
        languages=facts.languages,
        space=facts.space,
    )
    return Result("models info", view)


def is_here(name: str = DEFAULT_MODEL) -> bool:
    """Whether a model can be used without the network."""
    try:
        resolve_model(name)
    except ModelError:
        return False
    return True
