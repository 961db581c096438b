"""Says what a .gguf file is, or why it is refused, before llama.cpp sees it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from vaultembed.errors import ModelError
from vaultembed.models.gguf_header import Header, MalformedError, Tensor, read_header
from vaultembed.models.protocol import ModelFacts

LONGEST_TEXT: Final = 2048
"""Tokens. Models that can take more are used up to here: memory grows with it, and chunks are far shorter."""

SOURCE_KEY: Final = "vaultembed.source.sha256"
CONVERTER_KEY: Final = "vaultembed.converter"
"""Metadata of the files that we convert ourselves."""

_POOLINGS: Final[Mapping[int, str]] = {1: "mean", 2: "cls", 3: "last"}
_RERANKER: Final = 4

_PLAIN_SIZES: Final[Mapping[int, tuple[int, int]]] = {0: (1, 4), 1: (1, 2), 30: (1, 2)}
"""Elements and bytes of a block, by ggml type: F32, F16, BF16. The rest are asked of the `gguf` package."""

_ARRAYS: Final = frozenset({"general.languages"})
_REMEMBERED: Final = 8
"""Headers, of some kilobytes each. One takes 15 ms to read, and a server asks for those of its models at every call."""
_WAY_OUT: Final = "Give the path of a complete .gguf file of an embedding model."


def inspect_file(path: Path, way_out: str = _WAY_OUT) -> Header:
    """The header of a file that is whole and an embedding model.

    Raises:
        ModelError: it is missing, unreadable, empty, cut off, damaged, or no embedding model; names which.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"The model file {path} {what}.", way_out)
    try:
        status = path.stat()
        return _inspect(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except MalformedError as error:
        raise ModelError(f"The model file {path} {error}.", way_out) from None
    except OSError as error:
        raise ModelError(f"The model file {path} cannot be read: {error.strerror}.", way_out) from error


@lru_cache(maxsize=_REMEMBERED)
def _inspect(path: Path, _size: int, _mtime_ns: int, _inode: int) -> Header:
    """A file is read again when it has been replaced or written to; what is wrong with one is not remembered.

    Raises:
        MalformedError: it is damaged, or no embedding model.
        OSError: it cannot be read.
    """
    header = read_header(path, _ARRAYS)
    _check_tensors(header)
    _check_embeds(header)
    return header


def facts_of_file(path: Path, header: Header, sha256: str, document_prefix: str, query_prefix: str) -> ModelFacts:
    """The facts of a model given by path. `sha256`: of the file."""
    architecture = header.text("general.architecture")
    return ModelFacts(
        name=slug(header.text("general.name")) or slug(path.stem) or architecture,
        weights_sha256=sha256,
        converter="gguf",
        architecture=architecture,
        dimension=_dimension(header),
        pooling=_pooling(header),
        context_length=min(LONGEST_TEXT, _context_length(header)),
        document_prefix=document_prefix,
        query_prefix=query_prefix,
        licence=header.text("general.license") or "unknown",
    )


def languages_of(header: Header) -> str:
    return ", ".join(header.texts("general.languages")) or "unknown"


def _check_tensors(header: Header) -> None:
    if not header.tensors:
        raise MalformedError("holds no weights")
    for tensor in header.tensors:
        end = tensor.start + _size(tensor)
        if end > header.file_size:
            raise MalformedError(
                f"is cut off: it has {header.file_size:,} bytes, and tensor {tensor.name!r} ends at {end:,}"
            )


def _size(tensor: Tensor) -> int:
    """Bytes."""
    elements = math.prod(tensor.shape)
    if tensor.kind in _PLAIN_SIZES:
        block, size = _PLAIN_SIZES[tensor.kind]
    else:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
        except (ValueError, KeyError):
            raise MalformedError(f"is damaged: tensor {tensor.name!r} is of unknown type {tensor.kind}") from None
    return elements // block * size


def _check_embeds(header: Header) -> None:
    if header.integer("split.count", 1) > 1:
        raise MalformedError("is one part of several; merge them first (llama-gguf-split --merge)")
    architecture = header.text("general.architecture")
    if not architecture:
        raise MalformedError("does not say what architecture it is")
    if header.integer(f"{architecture}.pooling_type", 0) == _RERANKER:
        raise MalformedError(f"is a reranker ({architecture}), not an embedding model")
    if not _pooling(header):
        raise MalformedError(f"is not an embedding model: a {architecture} model without pooling (a text generator?)")
    if _dimension(header) < 1 or _context_length(header) < 1:
        raise MalformedError(f"is damaged: dimension {_dimension(header)}, context {_context_length(header)}")


def _pooling(header: Header) -> str:
    architecture = header.text("general.architecture")
    return _POOLINGS.get(header.integer(f"{architecture}.pooling_type", 0), "")


def _dimension(header: Header) -> int:
    architecture = header.text("general.architecture")
    inner = header.integer(f"{architecture}.embedding_length", 0)
    return header.integer(f"{architecture}.embedding_length_out", inner)


def _context_length(header: Header) -> int:
    return header.integer(f"{header.text('general.architecture')}.context_length", 0)


def slug(name: str) -> str:
    """As it can stand in a fingerprint: "nomic-embed-text v1.5" is `nomic-embed-text-v1.5`."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
