"""The part of the inspection that looks at vectors, and at the coarse indexes over them, block by block."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from vaultembed.archive.doctor.derived import vec_tables, whole_generations
from vaultembed.archive.doctor.findings import EXAMPLES, TELL_EVERY, UNREADABLE, Check, Finding, OnStep, from_rows
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.vector_format import is_well_formed, to_bits

_BAD: Final = {
    "vector_altered": "do not match their checksum",
    "vector_malformed": "are not finite, not of length 1, or not of its dimension",
}


@dataclass(slots=True)
class _Noted:
    """What is wrong: how often, and the first few."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, example: str = "") -> None:
        self.counts[what] += 1
        kept = self.examples.setdefault(what, [])
        if example and len(kept) < EXAMPLES:
            kept.append(example)


def check_vectors(archive: Archive, on_step: OnStep) -> Iterator[Finding]:
    """Every vector is the one that was written: checksum, dimension, finite, of length 1."""
    for generation in whole_generations(archive):
        bad = _Noted()
        for message_id, chunk_id, kind in bad_vectors(archive, generation.id, generation.dimension, on_step):
            bad.note(kind, f"chunk {chunk_id} of message {message_id}")
        for kind, count in bad.counts.items():
            what = f"vectors of generation {generation.id} {_BAD[kind]}"
            examples = tuple(bad.examples[kind])
            fix = "forget what became of these messages: the next build embeds them"
            yield Finding(kind, "damage", what, count, examples, generation.id, fix)


def bad_vectors(
    archive: Archive, generation_id: int, dimension: int, on_step: OnStep
) -> Iterator[tuple[int, int, str]]:
    """(message, chunk, kind of finding) of each; streams."""
    total = int(archive.scalar("SELECT count(*) FROM chunks WHERE generation_id = ?", (generation_id,)))
    rows = archive.stream(
        "SELECT c.message_id, c.id, v.embedding, v.checksum FROM vectors v CROSS JOIN chunks c ON c.id = v.chunk_id"
        " WHERE c.generation_id = ? ORDER BY v.chunk_id",
        (generation_id,),
    )
    for done, (message_id, chunk_id, embedding, checksum) in enumerate(rows):
        if done % TELL_EVERY == 0:
            on_step(f"vectors of generation {generation_id}", done, total)
        if not isinstance(embedding, bytes) or zlib.crc32(embedding) != checksum:
            yield message_id, chunk_id, "vector_altered"
        elif not is_well_formed(embedding, dimension):
            yield message_id, chunk_id, "vector_malformed"


def check_coarse(archive: Archive, on_step: OnStep) -> Iterator[Finding]:
    """A vec0 table has one row a chunk, with the signs of its vector; and one for each of vec_orphans."""
    tables = vec_tables(archive)
    fix = "make the coarse index again from the vectors"
    for generation in whole_generations(archive):
        name = f"vec_{generation.id}"
        if generation.id not in tables:
            what = f"generation {generation.id} has no coarse index"
            yield Finding("coarse_index", "wrong", what, 1, (), generation.id, fix)
            continue
        coarse = _Noted()
        try:
            _look_at_table(archive, generation.id, generation.dimension, coarse, on_step)
        except UNREADABLE as error:
            coarse.note(f"it cannot be read: {error}")
        for what, count in coarse.counts.items():
            examples = tuple(coarse.examples.get(what, ()))
            yield Finding("coarse_index", "wrong", f"{name}: {what}", count, examples, generation.id, fix)
    yield from from_rows(
        archive.stream(
            "SELECT o.chunk_id FROM vec_orphans o JOIN chunks c ON c.id = o.chunk_id"
            " AND c.generation_id = o.generation_id"
        ),
        Finding(
            "orphans_alive",
            "wrong",
            "chunks are noted as gone and are there: the next build would take them out of the coarse index",
            fix="strike these notes",
        ),
        name="chunk",
    )
    yield from from_rows(
        archive.stream(
            "SELECT o.chunk_id FROM vec_orphans o WHERE NOT EXISTS (SELECT 1 FROM chunks c WHERE c.id = o.chunk_id"
            " AND c.generation_id = o.generation_id)"
        ),
        Finding(
            "orphans",
            "leftover",
            "rows of coarse indexes are of chunks that are gone; the next build deletes them",
            fix="delete them",
        ),
        name="chunk",
    )


def _look_at_table(archive: Archive, generation_id: int, dimension: int, coarse: _Noted, on_step: OnStep) -> None:
    name = f"vec_{generation_id}"
    ddl = str(archive.scalar("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)))
    if f"bit[{dimension}]" not in ddl:
        coarse.note("its definition is not that of its generation")
        return
    total = int(archive.scalar(f"SELECT count(*) FROM {name}_rowids"))
    rows = 0
    # sqlite-vec opens the blobs by row number, whatever the column that is called rowid says
    for chunk_id, size, validity, rowids, bits in archive.stream(
        f"SELECT c.chunk_id, c.size, c.validity, c.rowids, v.vectors FROM {name}_chunks c"
        f" LEFT JOIN {name}_vector_chunks00 v ON v._rowid_ = c.chunk_id ORDER BY c.chunk_id"
    ):
        on_step(f"coarse index of generation {generation_id}", rows, total)
        lengths = (_length(validity), _length(rowids), _length(bits))
        if not isinstance(size, int) or lengths != (size // 8, size * 8, size * dimension // 8):
            coarse.note("its parts do not fit together", f"block {chunk_id}")
            continue
        valid = np.flatnonzero(np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little"))
        ids = np.frombuffer(rowids, "<i8")[valid].tolist()
        rows += len(ids)
        signs = np.frombuffer(bits, np.uint8).reshape(size, -1)
        slots = {int(row_id): int(slot) for row_id, slot in zip(ids, valid, strict=True)}
        _look_at_block(archive, generation_id, dimension, int(chunk_id), slots, signs, coarse)
    if rows != total and not coarse.counts:
        coarse.note("its list of rows is not that of its blocks")
    for (missing,) in archive.stream(
        # a chunk without a vector is to have no row
        "SELECT c.id FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?"
        f" AND NOT EXISTS (SELECT 1 FROM {name}_rowids r WHERE r.rowid = c.id)",
        (generation_id,),
    ):
        coarse.note("chunks are missing from it", f"chunk {missing}")


def _length(blob: Any) -> int:
    return len(blob) if isinstance(blob, bytes) else -1


def _look_at_block(
    archive: Archive,
    generation_id: int,
    dimension: int,
    block: int,
    slots: dict[int, int],
    signs: np.ndarray[Any, np.dtype[np.uint8]],
    coarse: _Noted,
) -> None:
    listing = json.dumps(list(slots))
    # CROSS JOIN: look-ups of these, not a walk over the table
    for row_id, chunk_id, offset, embedding, is_noted, is_chunk in archive.stream(
        f"SELECT j.value, r.chunk_id, r.chunk_offset, v.embedding, o.chunk_id IS NOT NULL, c.id IS NOT NULL"
        f" FROM json_each(?1) j LEFT JOIN vec_{generation_id}_rowids r ON r.rowid = j.value"
        " LEFT JOIN chunks c ON c.id = j.value AND c.generation_id = ?2"
        " LEFT JOIN vectors v ON v.chunk_id = c.id"
        " LEFT JOIN vec_orphans o ON o.generation_id = ?2 AND o.chunk_id = j.value",
        (listing, generation_id),
    ):
        slot = slots[row_id]
        if (chunk_id, offset) != (block, slot):
            coarse.note("its list of rows is not that of its blocks", f"chunk {row_id}")
        if not is_chunk:
            if not is_noted:
                coarse.note("rows are of chunks that are gone, and not noted as such", f"chunk {row_id}")
        elif (
            isinstance(embedding, bytes)
            and len(embedding) == 2 * dimension
            and to_bits(embedding) != signs[slot].tobytes()
        ):
            coarse.note("rows are not the signs of their vectors", f"chunk {row_id}")


VECTOR_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("vectors", check_vectors),
    ("coarse indexes", check_coarse),
)
