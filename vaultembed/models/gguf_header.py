"""The header of a GGUF file, read without trusting it: every length is checked against the file before use.

llama.cpp must not be the first to look at a file that a download or a disk may have damaged: it aborts the process
on some of what it finds. The `gguf` package reads headers too, but maps damaged ones happily and takes 150 ms.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

Scalar = int | float | bool | str
Value = Scalar | list[Scalar]

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_DEFAULT_ALIGNMENT: Final = 32
_MOST_DIMENSIONS: Final = 4

_SCALARS: Final[Mapping[int, struct.Struct]] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING: Final = 8
_LONGEST_STRING: Final = 64 * 1024 * 1024
_ARRAY: Final = 9
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


class MalformedError(Exception):
    """What is wrong with the file, to follow its name: "is cut off: …"."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """Innermost dimension first, as GGUF has it."""
    kind: int
    """ggml's number of the element type."""
    start: int
    """Offset in the file, bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    metadata: Mapping[str, Value]
    """Arrays only where asked for."""
    tensors: tuple[Tensor, ...]
    file_size: int

    def text(self, key: str, default: str = "") -> str:
        value = self.metadata.get(key, default)
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int) -> int:
        value = self.metadata.get(key, default)
        return value if isinstance(value, int) else default

    def flag(self, key: str, default: str) -> bool:
        """`default`: "yes" or "no", where the file does not say."""
        value = self.metadata.get(key)
        return value if isinstance(value, bool) else default == "yes"

    def texts(self, key: str) -> list[str]:
        value = self.metadata.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def read_header(path: Path, arrays: frozenset[str] = frozenset()) -> Header:
    """The header of the file, with the values of the `arrays` named.

    Raises:
        MalformedError: it is no GGUF file, or is cut off or damaged in a way the header shows.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size == 0:
            raise MalformedError("is empty (0 bytes)")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content, size, arrays).header()


class _Reader:
    def __init__(self, content: mmap.mmap, size: int, arrays: frozenset[str]) -> None:
        self._content, self._size, self._arrays = content, size, arrays
        self._at = 0

    def header(self) -> Header:
        if self._content[:4] != _MAGIC:
            raise MalformedError("is not a GGUF file")
        self._at = 4
        version = self._number(_U32)
        if version not in _VERSIONS:
            raise MalformedError(f"has GGUF version {version}, which is not supported")
        tensor_count, pair_count = self._count(24), self._count(12)
        metadata: dict[str, Value] = {}
        for _ in range(pair_count):
            key = self._string()
            value = self._value(key, self._number(_U32))
            if value is not None:
                metadata[key] = value
        infos = [self._tensor_info() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise MalformedError(f"is damaged: alignment {alignment}")
        data = -(-self._at // alignment) * alignment
        tensors = tuple(Tensor(name, shape, kind, data + start) for name, shape, kind, start in infos)
        return Header(metadata, tensors, self._size)

    def _take(self, size: int) -> int:
        """Moves past `size` bytes; where they start."""
        start = self._at
        if size > self._size - start:
            raise MalformedError(f"is cut off: its header goes on after its last byte ({self._size:,} bytes)")
        self._at = start + size
        return start

    def _number(self, form: struct.Struct) -> int:
        start = self._take(form.size)
        return cast(int, form.unpack_from(self._content, start)[0])

    def _count(self, least_size: int) -> int:
        """A count of things that take at least `least_size` bytes each; one the file has no room for is refused."""
        count = self._number(_U64)
        if count * least_size > self._size:
            raise MalformedError(f"is cut off or damaged: its header announces {count:,} entries")
        return count

    def _string(self) -> str:
        size = self._number(_U64)
        if size > _LONGEST_STRING:  # of a sparse file, say
            raise MalformedError(f"is damaged: its header has a text of {size:,} bytes")
        start = self._take(size)
        return self._content[start : start + size].decode("utf-8", "replace")

    def _value(self, key: str, kind: int) -> Value | None:
        if kind == _STRING:
            return self._string()
        if kind in _SCALARS:
            return cast(Scalar, self._number(_SCALARS[kind]))
        if kind == _ARRAY:
            return self._array(wanted=key in self._arrays)
        raise MalformedError(f"is damaged: {key} is of unknown type {kind}")

    def _array(self, *, wanted: bool) -> list[Scalar] | None:
        kind = self._number(_U32)
        if kind == _STRING:
            count = self._count(8)
            strings = [self._string() for _ in range(count)] if wanted else None
            if strings is None:
                for _ in range(count):
                    self._take(self._number(_U64))
            return cast("list[Scalar] | None", strings)
        if kind not in _SCALARS:
            raise MalformedError(f"is damaged: an array of unknown type {kind}")
        form = _SCALARS[kind]
        count = self._count(form.size)
        start = self._take(count * form.size)
        if not wanted:
            return None
        return [item[0] for item in form.iter_unpack(self._content[start : start + count * form.size])]

    def _tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        dimensions = self._number(_U32)
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise MalformedError(f"is damaged: tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._number(_U64) for _ in range(dimensions))
        return name, shape, self._number(_U32), self._number(_U64)
