"""`models`: which there are, fetching one, and its facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vaultembed.errors import ModelError
from vaultembed.models.added import added_files
from vaultembed.models.cache import cached_file, models_folder
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import pull_model, resolve_model
from vaultembed.models.registry import DEFAULT_MODEL, MODELS, RegistryModel
from vaultembed.service.result import Result


@dataclass(frozen=True, slots=True)
class KnownModel:
    name: str
    here: bool
    """Fetched or added already, and whole."""
    problem: str | None
    """What is wrong with its file."""
    is_default: bool
    dimension: int
    context_length: int
    languages: str
    licence: str
    size: int
    """Bytes to fetch, about; of an added one, its file's."""


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
    known = tuple(_known(model) for model in MODELS.values())
    added = tuple(_added(name, path) for name, path in added_files().items())
    return Result("models", ModelsView(models_folder(), known + added))


def _known(model: RegistryModel) -> KnownModel:
    _, problem = (None, None) if cached_file(model) is None else _resolved(model.name)
    return KnownModel(
        name=model.name,
        here=cached_file(model) is not None and problem is None,
        problem=problem,
        is_default=model.name == DEFAULT_MODEL,
        dimension=model.dimension,
        context_length=model.context_length,
        languages=model.languages,
        licence=model.licence,
        size=model.size,
    )


def _added(name: str, path: Path) -> KnownModel:
    found, problem = _resolved(name)
    return KnownModel(
        name=name,
        here=problem is None,
        problem=problem,
        is_default=False,
        dimension=found.facts.dimension if found else 0,
        context_length=found.facts.context_length if found else 0,
        languages=found.languages if found else "unknown",
        licence=found.facts.licence if found else "unknown",
        size=path.stat().st_size,
    )


def _resolved(name: str) -> tuple[ModelFile | None, str | None]:
    """A model that is here, or what is wrong with its file."""
    try:
        return resolve_model(name), None
    except ModelError as error:
        return None, f"{error.message} {error.hint}"


def known_names() -> list[str]:
    """What `--model` and `models pull` take by name."""
    return sorted({*MODELS, *added_files()})


def add_model(file: Path, name: str | None = None) -> Result[ModelView]:
    """Keep a copy of a model file under a name.

    Raises:
        ModelError: it is no whole embedding model, or does not work.
        UsageError: the name is taken, or cannot be one.
        StorageError: the disk is full, or fails.
    """
    from vaultembed.models.added import add

    chosen = add(file, name)
    note = f"Use it: vaultembed embeddings build --model {chosen}"
    return Result("models add", model_info(chosen).data, (note,))


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
    view = ModelView(
        **asdict(model.facts),
        path=model.path,
        file_bytes=model.path.stat().st_size,
        sha256=model.sha256,
        languages=model.languages,
        space=model.facts.space,
    )
    return Result("models info", view)


def is_here(name: str = DEFAULT_MODEL) -> bool:
    """Whether a model can be used without the network."""
    try:
        resolve_model(name)
    except ModelError:
        return False
    return True
