"""The front door to models: find one, fetch one, open one.

Light to import: what is heavy (numpy, llama.cpp, the conversion) is imported by the calls that need it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaultembed.errors import ModelError
from vaultembed.models.cache import cached_file, pull_command, remembered_sha256
from vaultembed.models.convert import CONVERTER
from vaultembed.models.inspection import facts_of_file, inspect_file, languages_of
from vaultembed.models.model_file import ModelFile, verify
from vaultembed.models.registry import DEFAULT_MODEL, MODELS, find_model
from vaultembed.paths import full_path

if TYPE_CHECKING:
    from vaultembed.models.fetch import Report
    from vaultembed.models.host import ChildEmbedder
    from vaultembed.models.llama import LlamaEmbedder


def resolve_model(
    name_or_path: str = DEFAULT_MODEL,
    *,
    document_prefix: str | None = None,
    query_prefix: str | None = None,
) -> ModelFile:
    """The model of that name, if it has been fetched or added, or the .gguf at that path. Its structure is checked.

    Prefixes of None: the registry's, or none for a model given by path.

    Raises:
        UsageError: the path has a home that is not here.
        ModelError: no such model, not fetched yet, or its file is unusable; the hint says what to type.
    """
    if _is_path(name_or_path):
        return _resolve_path(full_path(Path(name_or_path)), document_prefix or "", query_prefix or "")
    if name_or_path.lower() not in MODELS:
        from vaultembed.models.added import added_model, with_prefixes

        if (added := added_model(name_or_path)) is not None:
            return with_prefixes(added, document_prefix or "", query_prefix or "")
    model = find_model(name_or_path)
    found = cached_file(model)
    if found is None:
        raise ModelError(f"The model {model.title} is not on this machine yet.", pull_command(model))
    path, sha256 = found
    inspect_file(path, pull_command(model))
    facts = model.facts(CONVERTER, document_prefix=document_prefix, query_prefix=query_prefix)
    return ModelFile(facts, path, sha256, pull_command(model), model.languages)


def _is_path(name: str) -> bool:
    return name.lower().endswith(".gguf") or os.sep in name


def _resolve_path(path: Path, document_prefix: str, query_prefix: str) -> ModelFile:
    header = inspect_file(path)
    sha256 = remembered_sha256(path)
    facts = facts_of_file(path, header, sha256, document_prefix, query_prefix)
    way_out = f"Was {path} replaced just now? Then run the command again."
    return ModelFile(facts, path.resolve(), sha256, way_out, languages_of(header))


def pull_model(name: str = DEFAULT_MODEL, report: Report | None = None) -> ModelFile:
    """Fetches, checks and converts a model, unless it is here and whole already.

    Safe to interrupt at any point and to run twice at once: the second waits, and finds it done.

    Raises:
        ModelError: no source is in reach or has the right bytes.
        StorageError: the disk is full, or fails.
    """
    model = find_model(name)
    from vaultembed.models.pull import pull

    pull(model, report or (lambda _: None))
    return resolve_model(model.name)


def open_in_process(model: ModelFile, share: int = 1) -> LlamaEmbedder:
    """The model in this process: for one query. `share`: as `open_in_child`.

    Raises:
        ModelError: its file has been altered, or llama.cpp cannot load it.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as meanwhile:
        verified = meanwhile.submit(verify, model)  # releases the interpreter while it reads
        from vaultembed.models.llama import LlamaEmbedder

        verified.result()
    return LlamaEmbedder(model, share)


def open_in_child(model: ModelFile, share: int = 1) -> ChildEmbedder:
    """The model in a child process: for builds and servers. The file is verified there, at the first call.

    `share`: among so many children at once the cores are divided.
    """
    from vaultembed.models.host import ChildEmbedder

    return ChildEmbedder(model, share)
