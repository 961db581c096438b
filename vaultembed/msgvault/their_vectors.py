"""Reads vectors.db: its generations, which messages they may be trusted to cover, and the vectors."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vaultembed.archive.generations.adopted import StoredRows
from vaultembed.archive.generations.records import ADOPTED_RECIPE, Generation
from vaultembed.embeddings.verify import LONGEST_ADOPTED, SAME_TENTH
from vaultembed.errors import ModelError
from vaultembed.models.protocol import Embedder
from vaultembed.msgvault.comparing import SAMPLE, cosines_with, open_same
from vaultembed.msgvault.embedded_text import embedded_text
from vaultembed.msgvault.files import ForeignDamageError, ForeignDatabase
from vaultembed.msgvault.their_messages import TheirMessage, read_messages
from vaultembed.msgvault.values import as_integer, as_seconds, as_text

Shape = Literal["V0", "V1", "V2", "V2 opened read-only", "V3"]
BACKFILLED: Final = "embed_gen_backfill_active_v1"
"""Row of msgvault's own ledger: from then on its stamps are the word on what is covered."""
_UPGRADED: Final = "messages_content_changed_at_backfill"
"""Row of that ledger: when an upgrade filled `content_changed_at` of every message with its own moment."""
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
    state: Literal["building", "active", "retired"]
    started_at: int
    activated_at: int | None

    @property
    def longest_chunk(self) -> int:
        """Characters."""
        found = re.search(r":c(\d{1,9})(?::|\Z)", self.fingerprint)
        return int(found[1]) if found else LONGEST_ADOPTED

    @property
    def recipe(self) -> str:
        """How its texts were made and cut, as an outcome here tells it: `msgvault-p1-111111:c32768:e1`."""
        found = re.search(r":(p[^:]*)((?::[^:]+)*)\Z", self.fingerprint)
        return f"{ADOPTED_RECIPE}-{found[1]}{found[2]}" if found else ADOPTED_RECIPE


@dataclass(frozen=True, slots=True)
class TheirChunk:
    char_start: int
    char_end: int
    is_truncated: bool
    """The text may go on, without a vector of what follows."""
    has_subject: bool
    """The text begins with it."""
    embedding_id: int
    vector: npt.NDArray[np.float32]
    """(dimension,), normalised here."""
    embedded_at: int | None
    """None where it is not recorded."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A message whose vectors may be trusted to be of its present text."""

    chunks: Sequence[TheirChunk]
    """None at all: it was skipped, as blank."""
    text: str | None
    """What they were made of, told by its length; None where that cannot be told."""
    is_as_stored: bool = False
    """They are those that are here, as the rows tell: they were not read."""


BLANK: Final = Covered((), None)
_AS_STORED: Final = Covered((), None, is_as_stored=True)


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
        every, self.left_out, self.passed_over = _generations(vectors)
        self.generations = tuple(generation for generation in every if generation.state != "retired")
        self.retired = tuple(generation for generation in every if generation.state == "retired")
        if not self.is_pending_known:
            self.left_out += ("all vectors: pending_embeddings is missing, and with it which texts have changed since",)
        if not self.generations and "embed_gen" in messages.columns("messages"):
            stamped = messages.rows("SELECT count(*) FROM messages WHERE embed_gen IS NOT NULL")[0][0]
            self.passed_over += (without_vectors(stamped),) if stamped else ()
        self.origin = vectors.path
        self._all_ids = {row[0] for row in vectors.rows("SELECT id FROM index_generations")}
        self._columns = vectors.columns("embeddings")
        self._messages = messages
        self._upgraded_at = _ledger(messages, _UPGRADED) or 0
        self._models: dict[int, Embedder | None] = {}
        """By generation, once asked for; None: none is here that gives its vectors."""

    def close(self) -> None:
        for model in self._models.values():
            if model is not None:
                model.close()

    def check_unchanged(self) -> None:
        self._db.check_unchanged()

    def count_beyond(self, last: int) -> int:
        """Messages that it has vectors of, with ids above `last`."""
        sql = "SELECT count(DISTINCT message_id) FROM embeddings WHERE generation_id = ? AND message_id > ?"
        with suppress(ForeignDamageError):  # which is told where vectors are read
            return max((int(self._db.rows(sql, (each.id, last))[0][0]) for each in self.generations), default=0)
        return 0

    def read(
        self,
        generation: TheirGeneration,
        messages: Sequence[TheirMessage],
        here: Generation | None,
        stored: Mapping[int, StoredRows] = MappingProxyType({}),
    ) -> dict[int, Covered | Why]:
        """By id of each live message: its vectors, if they may be trusted to be of its present text; or why it is to be
        embedded again. `here`: what the generation is in this archive. `stored`: what it has of messages whose text has
        not changed since."""
        live = [message for message in messages if message.deleted_at is None]
        ids = [message.id for message in live]
        try:
            pending = self._pending(generation, ids)
            rows = self._rows(generation, ids)
        except ForeignDamageError:
            if len(live) == 1:
                return {live[0].id: "vectors unusable"}
            middle = len(live) // 2
            return self.read(generation, live[:middle], here, stored) | self.read(
                generation, live[middle:], here, stored
            )
        return {
            message.id: self._why_not(generation, message, rows[message.id], is_pending=message.id in pending)
            or self._as_stored(generation, message, rows[message.id], stored.get(message.id))
            or self._covered(generation, message, rows[message.id], here)
            for message in live
        }

    def _as_stored(
        self, generation: TheirGeneration, message: TheirMessage, rows: list[dict[str, Any]], stored: StoredRows | None
    ) -> Covered | None:
        """Without reading vectors and making texts, where the rows are the same and the text that they are of is known:
        nearly always. None: it is to be looked at."""
        if stored is None or stored.text_length is None or len(rows) != len(stored.spans):
            return None
        for row, (start, end, embedded_at) in zip(rows, stored.spans, strict=True):
            if _span(row) != (start, end) or (as_seconds(row["embedded_at"]) or embedded_at) != embedded_at:
                return None
        is_truncated = any(as_integer(row["truncated"]) for row in rows)
        if stored.recipe != generation.recipe + (":truncated" if is_truncated else ""):
            return None
        length, end = stored.text_length, max(end for _, end, _ in stored.spans)
        if length != end and not (is_truncated and length > end):
            return None
        is_sure = self.shape not in ("V2", "V3") or (message.embed_gen == generation.id and not is_truncated)
        return _AS_STORED if is_sure or not self._is_older(message, [at for *_, at in stored.spans]) else None

    def _why_not(
        self, generation: TheirGeneration, message: TheirMessage, rows: list[dict[str, Any]], *, is_pending: bool
    ) -> Why | None:
        """None: msgvault counts it as embedded. `last_modified` says nothing: it grows with each label, flag and
        stamp."""
        if self.shape in ("V2", "V3"):
            if message.embed_gen is None:
                return "changed" if rows else "never embedded"
            if message.embed_gen not in self._all_ids:
                return "unknown stamp"
            return None if rows or message.embed_gen == generation.id else "never embedded"
        if not rows:
            return "never embedded"
        if not self.is_pending_known:
            return "not certain"
        return "changed" if is_pending else None

    def _covered(
        self, generation: TheirGeneration, message: TheirMessage, rows: list[dict[str, Any]], here: Generation | None
    ) -> Covered | Why:
        chunks = self._chunks(generation, message.id, rows)
        if isinstance(chunks, str):
            return chunks
        text = _text_of(generation, message, chunks)
        is_told = _is_told(text, chunks)
        if chunks and self.shape in ("V2", "V3") and not self._is_sure(generation, message, chunks, is_told=is_told):
            # msgvault makes a text of its own of HTML: there is none to ask about
            answer = self._is_of(generation, text, chunks[-1], here) if message.body_text else None
            if answer is False:
                return "changed"
            if answer is None and not self._is_vouched_for(generation, message, chunks):
                return "not certain"
        return Covered(tuple(chunks), text if is_told else None)

    def _is_sure(
        self, generation: TheirGeneration, message: TheirMessage, chunks: Sequence[TheirChunk], *, is_told: bool
    ) -> bool:
        """Of a message with a stamp. A time says less than a length: it moves with dates, labels and deletions, too."""
        is_length_known = message.embed_gen == generation.id and not chunks[-1].is_truncated
        return is_told and (is_length_known or not self._is_older(message, [c.embedded_at for c in chunks]))

    def _is_vouched_for(self, generation: TheirGeneration, message: TheirMessage, chunks: Sequence[TheirChunk]) -> bool:
        """By stamp and times alone. The two files may be of different days; and where the stamp is that of the other
        generation, the one being built, the vectors here are older, and may be of an older text."""
        changed = message.content_changed_at
        if changed is not None and all(c.embedded_at is not None and c.embedded_at > changed for c in chunks):
            return True
        return message.embed_gen == generation.id and not self._is_older(message, [c.embedded_at for c in chunks])

    def _is_older(self, message: TheirMessage, embedded_at: Sequence[int | None]) -> bool:
        """Than a change of the message, as far as that is recorded: an upgrade filled in its own moment."""
        changed = message.content_changed_at
        if changed is None or changed <= self._upgraded_at:
            return False
        return any(at is not None and at < changed for at in embedded_at)

    def _is_of(self, generation: TheirGeneration, text: str, last: TheirChunk, here: Generation | None) -> bool | None:
        """Whether the end of a text is what the last of its vectors is of, as a model says; None without one. (A draft
        that was gone on with begins as it did.)"""
        stop = last.char_end if last.is_truncated else last.char_start + generation.longest_chunk
        end = text[last.char_start : stop]
        if not end:
            return False
        model = self._model(generation, here) if len(end) <= LONGEST_ADOPTED else None
        try:
            cosines = cosines_with(model, [(end, last.vector)]) if model is not None else []
        except ModelError:
            return None
        return cosines[0] >= SAME_TENTH if cosines else None

    def _model(self, generation: TheirGeneration, here: Generation | None) -> Embedder | None:
        if generation.id not in self._models:
            known = partial(self._known, generation)
            self._models[generation.id] = open_same(generation.model, generation.dimension, here, known)
        return self._models[generation.id]

    def _known(self, generation: TheirGeneration) -> list[tuple[str, npt.NDArray[np.float32]]]:
        """Some texts, and the vectors that they have."""
        sql = "SELECT DISTINCT message_id FROM embeddings WHERE generation_id = ? LIMIT ?"
        known = []
        try:
            ids = [row[0] for row in self._db.rows(sql, (generation.id, SAMPLE))]
            rows = self._rows(generation, ids)
            for message in read_messages(self._messages, ids):
                chunks = self._chunks(generation, message.id, rows[message.id])
                if not isinstance(chunks, str) and _is_told(text := _text_of(generation, message, chunks), chunks):
                    known.append((text[chunks[0].char_start : chunks[0].char_end], chunks[0].vector))
        except ForeignDamageError:
            return []  # which pages are damaged is found out where they are read
        return [each for each in known if len(each[0]) <= LONGEST_ADOPTED]

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
        chunks: list[TheirChunk] = []
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
            chunks.append(
                TheirChunk(
                    *_span(row),
                    bool(as_integer(row["truncated"])),
                    as_integer(row["source_basis"]) != 1,
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


def _span(row: dict[str, Any]) -> tuple[int, int]:
    start = max(as_integer(row["chunk_char_start"]) or 0, 0)
    # V0 has one, of the beginning of the text; later ones record the length of the chunk as source_char_len
    end = as_integer(row["chunk_char_end"]) or as_integer(row["source_char_len"]) or 1
    return start, max(end, start + 1)


def without_vectors(messages: int) -> str:
    has = (
        "1 message that msgvault counts as embedded has"
        if messages == 1
        else (f"{messages:,} messages that msgvault counts as embedded have")
    )
    return f"{has} no vectors in vectors.db. If it is a copy: was vectors.db-wal copied with it?"


def _text_of(generation: TheirGeneration, message: TheirMessage, chunks: Sequence[TheirChunk]) -> str:
    """What msgvault makes of the message now, to be embedded."""
    subject = message.subject if all(chunk.has_subject for chunk in chunks) else b""
    return embedded_text(subject, message.body_text or b"", generation.recipe)


def _is_told(text: str, chunks: Sequence[TheirChunk]) -> bool:
    """Whether a text has the length of the one that these were cut from."""
    if not chunks:
        return False
    end = max(chunk.char_end for chunk in chunks)
    return len(text) == end or (chunks[-1].is_truncated and len(text) > end)


def _shape(vectors: ForeignDatabase, messages: ForeignDatabase) -> Shape:
    embeddings = vectors.columns("embeddings")
    if not {"generation_id", "message_id"} <= embeddings:
        raise ForeignDamageError(
            f"{vectors.path} is no whole vectors.db of msgvault: its table embeddings is missing, or lacks columns."
            " If it is a copy: was vectors.db-wal copied with it?",
            "Take it from a backup, or name another file with --vectors.",
        )
    if "embedding_id" not in embeddings:
        return "V0"
    if "embed_gen" not in messages.columns("messages"):
        return "V1"
    if "pending_embeddings" in vectors.tables() and _ledger(messages, BACKFILLED) is None:
        return "V2 opened read-only"
    return "V3" if "source_basis" in embeddings else "V2"


def _ledger(messages: ForeignDatabase, step: str) -> int | None:
    """When msgvault took a step; 0 where that is not recorded, None where it has not."""
    columns = messages.columns("applied_migrations")
    if "name" not in columns:
        return None
    at = "CAST(applied_at AS BLOB)" if "applied_at" in columns else "NULL"
    rows = messages.rows(f"SELECT {at} FROM applied_migrations WHERE name = ?", (step,))
    return as_seconds(rows[0][0]) or 0 if rows else None


def _generations(
    vectors: ForeignDatabase,
) -> tuple[tuple[TheirGeneration, ...], tuple[str, ...], tuple[str, ...]]:
    """All that are whole, the one being built first; which are damaged; and which nobody needs: each with a reason."""
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
        is_served = kind in ("building", "active")
        if not is_served:
            passed_over.append(f"{told}: nothing tells which of its vectors are of texts that have changed since")
        if not isinstance(dimension, int) or not 0 < dimension <= LARGEST_DIMENSION or dimension % 8:
            left_out += [f"{told}: its dimension is {dimension!r}"] if is_served else []
        elif is_served and f"vectors_vec_d{dimension}" not in vectors.tables():
            left_out.append(f"{told}: its table vectors_vec_d{dimension} is missing")
        else:
            found.append(
                TheirGeneration(
                    generation_id,
                    name or "unknown",
                    dimension,
                    " ".join(as_text(fingerprint).split()) or f"{name}:{dimension}",
                    "building" if kind == "building" else "active" if kind == "active" else "retired",
                    as_seconds(started_at) or 0,
                    as_seconds(activated_at),
                )
            )
    found.sort(key=lambda generation: generation.state != "building")
    return tuple(found), tuple(left_out), tuple(passed_over)
