"""Reads vectors.db: its generations, which messages they may be trusted to cover, and the vectors."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vaultembed.archive.generations.records import ADOPTED_RECIPE
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase
from vaultembed.msgvault.their_messages import TheirMessage
from vaultembed.msgvault.values import as_integer, as_seconds, as_text

Shape = Literal["V0", "V1", "V2", "V2 opened read-only", "V3"]
BACKFILLED: Final = "embed_gen_backfill_active_v1"
"""Row of msgvault's own ledger: from then on its stamps are the word on what is covered."""
LARGEST_DIMENSION: Final = 16_384

Why = Literal["changed", "never embedded", "unknown stamp", "vectors missing", "vectors unusable", "not certain"]
"""Why a message is to be embedded again: its text changed after it was embedded; it has not been; it is stamped with a
generation that is not there; its vectors are not there, though they should; they are no such vectors as they should be;
or there is no telling whether they are of its present text."""


@dataclass(frozen=True, slots=True)
class TheirGeneration:
    id: int
    model: str
    dimension: int
    fingerprint: str
    state: Literal["building", "active"]
    started_at: int
    activated_at: int | None

    @property
    def recipe(self) -> str:
        """How its texts were made and cut, as an outcome here tells it: `msgvault-p1-111111:c32768:e1`."""
        found = re.search(r":(p[^:]*)((?::[^:]+)*)\Z", self.fingerprint)
        return f"{ADOPTED_RECIPE}-{found[1]}{found[2]}" if found else ADOPTED_RECIPE


@dataclass(frozen=True, slots=True)
class TheirChunk:
    char_start: int
    char_end: int
    source_length: int | None
    """Code points of the text that its offsets are into; None where that is not recorded."""
    has_subject: bool | None
    """Whether that text began with the subject; None where it is not recorded."""
    embedding_id: int
    vector: npt.NDArray[np.float32]
    """(dimension,), normalised here."""
    embedded_at: int | None
    """None where it is not recorded."""


class TheirVectors:
    """What is to be had from vectors.db for messages of its msgvault.db."""

    def __init__(self, vectors: ForeignDatabase, messages: ForeignDatabase) -> None:
        """
        Raises:
            ForeignDamageError: it lacks what makes a vectors.db, or its generations cannot be read.
        """
        self._db = vectors
        self.shape: Shape = _shape(vectors, messages)
        self.is_pending_known = self.shape not in ("V0", "V1", "V2 opened read-only") or (
            {"generation_id", "message_id"} <= vectors.columns("pending_embeddings")
        )
        vectors.load_vec()
        self.generations, self.left_out, self.passed_over = _generations(vectors)
        if not self.is_pending_known:
            self.left_out += ("all vectors: pending_embeddings is missing, and with it which texts have changed since",)
        self.origin = vectors.path
        self._all_ids = {row[0] for row in vectors.rows("SELECT id FROM index_generations")}
        self._columns = vectors.columns("embeddings")

    def check_unchanged(self) -> None:
        self._db.check_unchanged()

    def read(self, generation: TheirGeneration, messages: Sequence[TheirMessage]) -> dict[int, list[TheirChunk] | Why]:
        """By id of each live message: its vectors, if they may be trusted to be of its present text (none at all: it
        was skipped, as blank); or why it is to be embedded again."""
        live = [message for message in messages if message.deleted_at is None]
        ids = [message.id for message in live]
        try:
            pending = self._pending(generation, ids)
            rows = self._rows(generation, ids)
        except ForeignDamageError:
            if len(live) == 1:
                return {live[0].id: "vectors unusable"}
            middle = len(live) // 2
            return self.read(generation, live[:middle]) | self.read(generation, live[middle:])
        found: dict[int, list[TheirChunk] | Why] = {}
        for message in live:
            why = self._why_not(generation, message, rows.get(message.id, []), is_pending=message.id in pending)
            found[message.id] = why or self._chunks(generation, message.id, rows.get(message.id, []))
        return found

    def _why_not(
        self, generation: TheirGeneration, message: TheirMessage, rows: list[dict[str, Any]], *, is_pending: bool
    ) -> Why | None:
        """None: trusted."""
        if self.shape in ("V2", "V3"):
            return self._why_not_by_stamp(generation, message, rows)
        if not rows:
            return "never embedded"
        if not self.is_pending_known:
            return "not certain"
        return "changed" if is_pending else None

    def _why_not_by_stamp(
        self, generation: TheirGeneration, message: TheirMessage, rows: list[dict[str, Any]]
    ) -> Why | None:
        """By `embed_gen`, and by nothing else: `last_modified` grows with each label, flag and stamp."""
        changed = message.content_changed_at
        embedded = [as_seconds(row["embedded_at"]) for row in rows]
        if message.embed_gen == generation.id:
            # the two files may be of different days
            is_older = changed is not None and any(at is not None and at < changed for at in embedded)
            return "not certain" if is_older else None
        if message.embed_gen is None:
            return "changed" if rows else "never embedded"
        if message.embed_gen not in self._all_ids:
            return "unknown stamp"
        if not rows:
            return "never embedded"
        # stamped with the other generation, the one being built: the vectors here are older, and may be outdated
        if changed is not None and all(at is not None and at > changed for at in embedded):
            return None
        return "not certain"

    def _pending(self, generation: TheirGeneration, ids: Sequence[int]) -> set[int]:
        if not {"generation_id", "message_id"} <= self._db.columns("pending_embeddings"):
            return set()
        return {
            row[0]
            for row in self._db.rows(
                "SELECT message_id FROM pending_embeddings WHERE generation_id = ?"
                " AND message_id IN (SELECT value FROM json_each(?))",
                (generation.id, json.dumps(ids)),
            )
        }

    def _rows(self, generation: TheirGeneration, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        names = (
            "embedding_id",
            "chunk_index",
            "embedded_at",
            "source_char_len",
            "chunk_char_start",
            "chunk_char_end",
            "source_basis",
            "truncated",
        )
        wanted = [name if name in self._columns else "NULL" for name in names]
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for message_id, *values in self._db.rows(
            f"SELECT message_id, {', '.join(wanted)} FROM embeddings WHERE generation_id = ?"
            " AND message_id IN (SELECT value FROM json_each(?)) ORDER BY message_id, 3",
            (generation.id, json.dumps(ids)),
        ):
            found[message_id].append(dict(zip(names, values, strict=True)))
        return found

    def _chunks(
        self, generation: TheirGeneration, message_id: int, rows: list[dict[str, Any]]
    ) -> list[TheirChunk] | Why:
        chunks = []
        for index, row in enumerate(rows):
            if self.shape != "V0" and row["chunk_index"] != index:
                return "vectors missing"  # they are dense: one is lost
            # V0 has one vector a message, under the message's id
            embedding_id = as_integer(row["embedding_id"]) if "embedding_id" in self._columns else message_id
            vector = None if embedding_id is None else self._vector(generation, embedding_id)
            if vector is None or embedding_id is None:
                return "vectors missing"
            if not isinstance(vector, np.ndarray):
                return "vectors unusable"
            length = as_integer(row["source_char_len"])
            start = max(as_integer(row["chunk_char_start"]) or 0, 0)
            end = as_integer(row["chunk_char_end"]) or length or 1
            basis = as_integer(row["source_basis"])
            chunks.append(
                TheirChunk(
                    start,
                    max(end, start + 1),
                    length,
                    None if basis is None else basis == 0,
                    embedding_id,
                    vector,
                    as_seconds(row["embedded_at"]),
                )
            )
        return chunks

    def _vector(
        self, generation: TheirGeneration, embedding_id: int
    ) -> npt.NDArray[np.float32] | Literal[False] | None:
        """None: there is none. False: it is no vector of this generation."""
        table = f"vectors_vec_d{generation.dimension}"
        key = "embedding_id" if "embedding_id" in self._columns else "message_id"
        try:
            rows = self._db.rows(f"SELECT generation_id, embedding FROM {table} WHERE {key} = ?", (embedding_id,))
        except ForeignDamageError:
            return False
        if not rows:
            return None
        generation_id, data = rows[0]
        if generation_id != generation.id or not isinstance(data, bytes) or len(data) != 4 * generation.dimension:
            return False
        vector = np.frombuffer(data, "<f4").astype(np.float64)
        length = float(np.linalg.norm(vector)) if np.isfinite(vector).all() else 0.0
        if not 0 < length < np.inf:
            return False
        return (vector / length).astype(np.float32)


def _shape(vectors: ForeignDatabase, messages: ForeignDatabase) -> Shape:
    embeddings = vectors.columns("embeddings")
    if not {"generation_id", "message_id"} <= embeddings:
        raise ForeignDamageError(
            f"{vectors.path} is no whole vectors.db of msgvault: its table embeddings is missing, or lacks columns",
            "Take it from a backup, or name another file with --vectors.",
        )
    if "embedding_id" not in embeddings:
        return "V0"
    if "embed_gen" not in messages.columns("messages"):
        return "V1"
    if "pending_embeddings" in vectors.tables() and not _has_backfilled(messages):
        return "V2 opened read-only"
    return "V3" if "source_basis" in embeddings else "V2"


def _has_backfilled(messages: ForeignDatabase) -> bool:
    if "name" not in messages.columns("applied_migrations"):
        return False
    return bool(messages.rows("SELECT 1 FROM applied_migrations WHERE name = ?", (BACKFILLED,)))


def _generations(
    vectors: ForeignDatabase,
) -> tuple[tuple[TheirGeneration, ...], tuple[str, ...], tuple[str, ...]]:
    """Those that can be adopted, the one being built first; which are damaged; and which nobody needs: each with the
    reason."""
    columns = vectors.columns("index_generations")
    lacking = sorted({"id", "model", "dimension", "state"} - columns)
    if lacking:
        raise ForeignDamageError(
            f"{vectors.path} is no whole vectors.db of msgvault: index_generations lacks {', '.join(lacking)}",
            "Take it from a backup, or name another file with --vectors.",
        )
    names = ("fingerprint", "started_at", "activated_at")
    wanted = [f"CAST({name} AS BLOB)" if name in columns else "NULL" for name in names]
    found, left_out, passed_over = [], [], []
    for generation_id, model, dimension, state, fingerprint, started_at, activated_at in vectors.rows(
        "SELECT id, CAST(model AS BLOB), dimension, CAST(state AS BLOB),"
        f" {', '.join(wanted)} FROM index_generations ORDER BY id"
    ):
        name = " ".join(as_text(model).split())
        told = f"generation {generation_id} ({name}, {as_text(state)})"
        kind = as_text(state)
        if kind not in ("building", "active"):
            passed_over.append(f"{told}: nothing tells which of its vectors are of texts that have changed since")
        elif not isinstance(dimension, int) or not 0 < dimension <= LARGEST_DIMENSION or dimension % 8:
            left_out.append(f"{told}: its dimension is {dimension!r}")
        elif f"vectors_vec_d{dimension}" not in vectors.tables():
            left_out.append(f"{told}: its table vectors_vec_d{dimension} is missing")
        else:
            found.append(
                TheirGeneration(
                    generation_id,
                    name or "unknown",
                    dimension,
                    " ".join(as_text(fingerprint).split()) or f"{name}:{dimension}",
                    "building" if kind == "building" else "active",
                    as_seconds(started_at) or 0,
                    as_seconds(activated_at),
                )
            )
    found.sort(key=lambda generation: generation.state != "building")
    return tuple(found), tuple(left_out), tuple(passed_over)
