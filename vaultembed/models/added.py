"""Models that a person has added: copies of their .gguf files in the cache, each under a name.

`added/NAME.<sha256 of the file>.gguf`: as with converted files, one rename makes it appear, whole and checkable.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from vaultembed.errors import ModelError, StorageError, UsageError
from vaultembed.models.cache import file_name, models_folder
from vaultembed.models.convert import CONVERTER
from vaultembed.models.inspection import facts_of_file, inspect_file, slug
from vaultembed.models.model_file import ModelFile, file_sha256
from vaultembed.models.registry import MODELS

_PROBE: Final = "The boat leaves on Tuesday, if the wind allows."
_WAY_OUT: Final = "Add it again: vaultembed models add FILE"


def added_files() -> dict[str, Path]:
    """By name."""
    return {path.name.rsplit(".", 2)[0]: path for path in sorted(_folder().glob(f"*.{'?' * 64}.gguf"))}


def added_model(name: str) -> ModelFile | None:
    """The model added under that name; its structure is checked.

    Raises:
        ModelError: its file is unusable.
    """
    path = added_files().get(slug(name))
    if path is None:
        return None
    return _model_file(path, path.name.split(".")[-2])


def with_prefixes(model: ModelFile, document_prefix: str, query_prefix: str) -> ModelFile:
    facts = facts_of_file(model.path, inspect_file(model.path), model.sha256, document_prefix, query_prefix)
    return ModelFile(facts, model.path, model.sha256, model.way_out)


def add(source: Path, name: str | None = None) -> str:
    """Copies a model file into the cache once it has proved to work; the name by which it is known from then on.

    A file of a known model that another machine has converted goes to where `models pull` would have put it.

    Raises:
        ModelError: it is no whole embedding model, or does not work.
        UsageError: the name is taken, or cannot be one.
        StorageError: the disk is full, or fails.
    """
    header = inspect_file(source)
    known = next((known for known in MODELS.values() if source.name.startswith(f"{known.name}.{CONVERTER}.")), None)
    chosen = name or (known.name if known else facts_of_file(source, header, "", "", "").name)
    if not chosen or slug(chosen) != chosen.lower():
        raise UsageError(f"{chosen!r} cannot be a name", "Names are of letters, digits, dots and dashes: --name NAME")
    chosen = slug(chosen)
    draft = _folder() / f".adding-{os.getpid()}.gguf"
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file, draft.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        sha256 = file_sha256(draft)
        _put(draft, chosen, sha256)
    except OSError as error:
        raise StorageError(f"{source} could not be copied to {models_folder()}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return chosen


def _put(draft: Path, name: str, sha256: str) -> None:
    if name in MODELS:
        from vaultembed.models.pull import check_probe

        model = MODELS[name]
        check_probe(model, ModelFile(model.facts(CONVERTER), draft, sha256, _WAY_OUT))
        draft.replace(models_folder() / file_name(model, sha256))
        return
    target = _folder() / f"{name}.{sha256}.gguf"
    present = added_files().get(name)
    if present is not None and present != target:
        raise UsageError(
            f"another model is named {name} already", f"Choose another name: --name NAME. Or remove that one: {present}"
        )
    _try(_model_file(draft, sha256))
    draft.replace(target)


def _try(model: ModelFile) -> None:
    """In a child: the first time that llama.cpp sees this file."""
    from vaultembed.models.host import ChildEmbedder

    embedder = ChildEmbedder(model)
    try:
        embedder.embed([_PROBE])
    except ModelError as error:
        raise ModelError(f"The model does not work: {error.message}", error.hint) from error
    finally:
        embedder.close()


def _model_file(path: Path, sha256: str) -> ModelFile:
    return ModelFile(facts_of_file(path, inspect_file(path, _WAY_OUT), sha256, "", ""), path, sha256, _WAY_OUT)


def _folder() -> Path:
    return models_folder() / "added"
