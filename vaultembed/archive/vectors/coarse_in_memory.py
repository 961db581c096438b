"""The coarse indexes in memory, for a process that answers many searches: a scan of them takes a fraction of vec0's.

A copy of the blocks of `vec_<generation>`, read from the tables that sqlite-vec keeps them in. Before each use it is
compared with the snapshot of the file that the search reads, and brought to that: ids of chunks are never given twice,
and the bits of a chunk never change, so only blocks that list other ids are read again. Nothing of the file is held
open.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.records import Generation, count_chunks
from vaultembed.deadline import held
from vaultembed.errors import DamageError

CANDIDATES: Final = 2_000
"""Aimed at by the coarse pass; recall@10 is 0.997 with 800 at 10^6."""
_TILE: Final = 16_384
"""Rows that are compared at a time: what is in between stays in the processor's cache."""
_FAR: Final = np.iinfo(np.uint16).max
_SAMPLE_EVERY: Final = 16

Ids = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One state of the chunks of a generation. Where no id was given and no chunk has gone, the chunks are the same."""

    file: tuple[int, int]
    """Device and inode: a restored archive is another file."""
    schema: int
    """Raised whenever a table is made, as by a repair of the index."""
    highest: int
    """Of all ids that chunks were ever given."""
    chunks: int
    newest: tuple[Any, ...] | None
    """The newest chunk that is there, of any generation; it tells of a file that was written over by another."""


@dataclass(frozen=True, slots=True)
class _Tile:
    ids: Ids
    """(_TILE,); 0 where there is no chunk."""
    bits: Words
    """(words, _TILE): one word of every row lies in a piece, as the comparison goes through them."""
    holes: npt.NDArray[np.intp]
    """The rows without a chunk."""


@dataclass(frozen=True, slots=True)
class _Bits:
    """Never changed: a search goes on with the one it has while another replaces it."""

    seen: _Seen
    places: Mapping[int, int]
    """Of the blocks, by their id; place p of size s is the rows from p * s."""
    tiles: tuple[_Tile, ...]


@dataclass(frozen=True, slots=True)
class Distances:
    """Hamming distances of all chunks of a generation to a query."""

    _tiles: tuple[_Tile, ...]
    _distances: npt.NDArray[np.uint16]
    """(tiles, _TILE)"""
    _dimension: int

    def nearest(self, count: int) -> list[int]:
        """Ids of the `count` nearest chunks and of those as near as the last of them, up to twice as many; of all where
        there are fewer."""
        distances = self._distances.reshape(-1)
        sample = np.bincount(np.minimum(distances[::_SAMPLE_EVERY], self._dimension + 1)).cumsum()
        bound = int(np.searchsorted(sample, count // _SAMPLE_EVERY))
        while bound < self._dimension and np.count_nonzero(distances <= bound) < count:
            bound += 1
        while bound > 0 and np.count_nonzero(distances < bound) >= count:
            bound -= 1
        rows = np.flatnonzero(distances <= min(bound, self._dimension))
        if len(rows) > 2 * count:  # the same text a thousand times
            rows = np.sort(rows[np.argsort(distances[rows], kind="stable")[: 2 * count]])
        ids: list[int] = []
        starts = np.searchsorted(rows, np.arange(len(self._tiles) + 1) * _TILE)
        for number, tile in enumerate(self._tiles):
            ids += tile.ids[rows[starts[number] : starts[number + 1]] - number * _TILE].tolist()
        return ids


class KeptBits:
    """The coarse indexes of one archive, shared by threads. They wait for each other only while one follows the file.

    Memory: 8 bytes and a bit for each dimension a row (56 at 384), holes of vec0 included; for at most two generations,
    as search asks for no more.

    `candidates`: so many chunks, or four for each result, are picked by them and scored.
    """

    _MOST: Final = 2

    def __init__(self, candidates: int = CANDIDATES) -> None:
        self.candidates = candidates
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Bits] = OrderedDict()

    def distances(self, archive: Archive, generation: Generation, query: npt.NDArray[np.float32]) -> Distances:
        """To the signs of `query`, (dimension,), in the state that `archive` sees: it must be in a `snapshot`.

        Raises:
            DamageError, or one of UNREADABLE: the coarse index cannot be read.
            TimedOutError: the call's time is over.
        """
        tiles = self._bits(archive, generation).tiles
        signs = np.packbits(query > 0, bitorder="little").tobytes()
        words = np.frombuffer(signs.ljust(8 * _words(generation.dimension), b"\0"), np.uint64).reshape(-1, 1)
        found = np.empty((len(tiles), _TILE), np.uint16)
        differing = np.empty((len(words), _TILE), np.uint64)
        counts = np.empty((len(words), _TILE), np.uint8)
        for tile, distances in zip(tiles, found, strict=True):
            np.bitwise_xor(tile.bits, words, out=differing)
            np.bitwise_count(differing, out=counts)
            np.sum(counts, axis=0, dtype=np.uint16, out=distances)
            distances[tile.holes] = _FAR
        return Distances(tiles, found, generation.dimension)

    def _bits(self, archive: Archive, generation: Generation) -> _Bits:
        seen = _look(archive, generation)
        kept = self._kept.get(generation.id)
        if kept is not None and kept.seen == seen:
            return kept
        with held(self._lock):  # the others would do the same work
            kept = self._kept.get(generation.id)
            if kept is None or kept.seen != seen:
                if kept is not None and not _can_follow(archive, kept.seen, seen):
                    kept = None
                kept = _follow(archive, generation, kept, seen)
            self._kept[generation.id] = kept
            self._kept.move_to_end(generation.id)
            while len(self._kept) > self._MOST:
                self._kept.popitem(last=False)
            return kept


def _look(archive: Archive, generation: Generation) -> _Seen:
    file = archive.path.stat()  # nothing else takes its place while it is open here: a restore refuses to
    return _Seen(
        (file.st_dev, file.st_ino),
        int(archive.scalar("PRAGMA schema_version")),
        int(archive.scalar("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'") or 0),
        count_chunks(archive, generation.id),
        archive.row(f"{_CHUNK} ORDER BY id DESC LIMIT 1"),
    )


_CHUNK: Final = "SELECT id, message_id, text_hash, embedded_at FROM chunks"


def _can_follow(archive: Archive, old: _Seen, new: _Seen) -> bool:
    """Whether an id means the same chunk as before."""
    if (old.file, old.schema) != (new.file, new.schema):
        return False
    if new.highest < old.highest:  # an older snapshot, or an older copy written over the file, which gives ids again
        return False
    newest = old.newest and archive.row(f"{_CHUNK} WHERE id = ?", old.newest[:1])
    return newest in (None, old.newest)


def _follow(archive: Archive, generation: Generation, old: _Bits | None, seen: _Seen) -> _Bits:
    """What the snapshot holds, from `old` and the blocks that are not as they were. `old` may be newer than that."""
    name = f"vec_{generation.id}"
    size = archive.scalar(f"SELECT max(size) FROM {name}_chunks") or _TILE
    if not isinstance(size, int) or not 0 < size <= _TILE or _TILE % size:
        raise DamageError("its parts do not fit together")
    gone = defaultdict(list)
    for block, row in archive.stream(
        f"SELECT r.chunk_id, r.chunk_offset FROM vec_orphans o CROSS JOIN {name}_rowids r ON r.rowid = o.chunk_id"
        " WHERE o.generation_id = ?",
        (generation.id,),
    ):
        gone[block].append(row)
    is_full = b"\xff" * (size // 8)
    places: dict[int, int] = {}
    changed: dict[int, Ids] = {}
    for block, of_size, validity, rowids in archive.stream(
        f"SELECT chunk_id, size, CAST(validity AS BLOB), CAST(rowids AS BLOB) FROM {name}_chunks"
    ):
        archive.check_limit()
        if (of_size, len(validity), len(rowids)) != (size, size // 8, 8 * size):
            raise DamageError("its parts do not fit together")
        ids: Ids = np.frombuffer(rowids, "<i8")
        if validity != is_full or block in gone:
            is_there = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
            ids = np.where(is_there, ids, 0)
            ids[gone.get(block, [])] = 0
        place = None if old is None else old.places.get(block)
        if place is not None:
            places[block] = place
        if place is None or old is None or ids.tobytes() != _ids_at(old, place, size).tobytes():
            changed[block] = ids
    if old is not None and len(old.tiles) * _TILE > 2 * max(_TILE, (len(places) + len(changed)) * size):
        return _follow(archive, generation, None, seen)  # most of it would be kept for nothing
    free = iter(sorted(set(range(len(places) + len(changed))) - set(places.values())))
    for block in changed:
        if block not in places:
            places[block] = next(free)
    return _Bits(seen, places, _tiles(archive, generation, old, places, changed, size))


def _ids_at(bits: _Bits, place: int, size: int) -> Ids:
    tile, row = divmod(place * size, _TILE)
    return bits.tiles[tile].ids[row : row + size]


def _tiles(
    archive: Archive,
    generation: Generation,
    old: _Bits | None,
    places: Mapping[int, int],
    changed: Mapping[int, Ids],
    size: int,
) -> tuple[_Tile, ...]:
    """Tiles in which nothing has changed are shared with `old`."""
    tiles: list[_Tile] = list(old.tiles) if old else []
    rows_of: defaultdict[int, list[tuple[int, int | None]]] = defaultdict(list)
    taken = set(places.values())
    left = set(old.places.values()) - taken if old else set()
    for place, block in [*((places[block], block) for block in changed), *((place, None) for place in left)]:
        tile, row = divmod(place * size, _TILE)
        rows_of[tile].append((row, block))
    words = _words(generation.dimension)
    for number in sorted(rows_of):
        while len(tiles) <= number:
            tiles.append(_Tile(np.zeros(_TILE, np.int64), np.zeros((words, _TILE), np.uint64), np.arange(_TILE)))
        ids, bits = tiles[number].ids.copy(), tiles[number].bits.copy()
        for row, block in rows_of[number]:
            ids[row : row + size] = 0 if block is None else changed[block]
            if block is not None:
                bits[:, row : row + size] = _read_bits(archive, generation, block, size)
        tiles[number] = _Tile(ids, bits, np.flatnonzero(ids == 0))
    return tuple(tiles[: max(taken, default=-1) * size // _TILE + 1])


def _read_bits(archive: Archive, generation: Generation, block: int, size: int) -> Words:
    """(words, size)"""
    # sqlite-vec opens the blobs by row number, whatever the column that is called rowid says
    blob = archive.scalar(f"SELECT vectors FROM vec_{generation.id}_vector_chunks00 WHERE _rowid_ = ?", (block,))
    width = generation.dimension // 8
    if not isinstance(blob, bytes) or len(blob) != size * width:
        raise DamageError("its parts do not fit together")
    rows = np.zeros((size, 8 * _words(generation.dimension)), np.uint8)
    rows[:, :width] = np.frombuffer(blob, np.uint8).reshape(size, width)
    return rows.view(np.uint64).T


def _words(dimension: int) -> int:
    return -(-dimension // 64)
