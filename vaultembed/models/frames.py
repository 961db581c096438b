"""How a process and the child that hosts its model talk: frames of a kind, a length, and that many bytes."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, ModelFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaultembed.models.protocol import Role

_HEAD: Final = struct.Struct("<BQ")
_VECTORS: Final = struct.Struct("<QQQ")


class Kind(IntEnum):
    OPEN = 1
    """To the child, first: the model, JSON."""
    EMBED = 2
    """To the child: role and texts, JSON. ASCII, with escapes: a lone surrogate survives."""
    VECTORS = 3
    """From the child: texts, dimension, tokens as integers, then the vectors as little-endian float32."""
    BAD_TEXT = 4
    """From the child: the arguments of a BadTextError, JSON."""
    ERROR = 5
    """From the child: message and hint, JSON. The child goes on."""


def write_frame(stream: BinaryIO, kind: Kind, content: bytes) -> None:
    stream.write(_HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[Kind, bytes] | None:
    """None where the other side has gone, in the middle of a frame or between two."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, size = _HEAD.unpack(head)
    content = stream.read(size)
    return (Kind(kind), content) if len(content) == size else None


def pack_model(model: ModelFile, share: int = 1) -> bytes:
    return json.dumps(
        {
            "facts": asdict(model.facts),
            "path": str(model.path),
            "sha256": model.sha256,
            "way_out": model.way_out,
            "share": share,
        }
    ).encode()


def unpack_model(content: bytes) -> ModelFile:
    fields: dict[str, Any] = json.loads(content)
    return ModelFile(ModelFacts(**fields["facts"]), Path(fields["path"]), fields["sha256"], fields["way_out"])


def unpack_share(content: bytes) -> int:
    """Among how many children the cores are divided."""
    return int(json.loads(content)["share"])


def pack_texts(texts: Sequence[str], role: Role) -> bytes:
    return json.dumps({"role": role, "texts": list(texts)}).encode()


def pack_embedded(embedded: Embedded) -> bytes:
    rows, dimension = embedded.vectors.shape
    return _VECTORS.pack(rows, dimension, embedded.tokens) + embedded.vectors.astype("<f4").tobytes()


def unpack_embedded(content: bytes) -> Embedded:
    import numpy as np

    rows, dimension, tokens = _VECTORS.unpack_from(content)
    vectors = np.frombuffer(content, "<f4", offset=_VECTORS.size).reshape(rows, dimension)
    return Embedded(vectors.astype(np.float32), tokens)
