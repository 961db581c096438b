"""Generations: one embedding of the archive under one fingerprint, and how much of the archive it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vaultembed.archive.database import Archive
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.errors import DamageError, IncompleteError, VaultembedError

State = Literal["building", "active", "retired", "discarded"]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model of a generation, as the archive keeps it: enough to know it again in twenty years."""

    name: str
    weights_sha256: str
    converter: str
    architecture: str
    dimension: int
    pooling: str
    context_length: int
    document_prefix: str
    query_prefix: str
    licence: str
    path: str | None
    """Where a model given by path was; None for one of the registry."""


@dataclass(frozen=True, slots=True)
class Generation:
    id: int
    model: ModelRecord
    dimension: int
    space: str
    recipe: str
    state: State
    created_at: int
    activated_at: int | None

    @property
    def fingerprint(self) -> str:
        return f"{self.space}:{self.recipe}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """`live = embedded + blank + failed + missing`, always."""

    live: int
    embedded: int
    blank: int
    failed: int

    @property
    def missing(self) -> int:
        return self.live - self.embedded - self.blank - self.failed


_SELECT = """
SELECT g.id, m.name, m.weights_sha256, m.converter, m.architecture, m.dimension, m.pooling, m.context_length,
       m.document_prefix, m.query_prefix, m.licence, m.path,
       g.dimension, g.space, g.recipe, g.state, g.created_at, g.activated_at
FROM generations g JOIN models m ON m.id = g.model_id
"""


def list_generations(archive: Archive) -> list[Generation]:
    return [Generation(row[0], ModelRecord(*row[1:12]), *row[12:]) for row in archive.rows(_SELECT + " ORDER BY g.id")]


def generation_in_state(archive: Archive, state: State) -> Generation | None:
    """The newest generation in a state. (Of building and active ones there is at most one.)"""
    found = [g for g in list_generations(archive) if g.state == state]
    return found[-1] if found else None


def create_generation(archive: Archive, model: ModelRecord, space: str, recipe: str) -> Generation:
    """A new building generation with its vec0 table, in a transaction of its own. Needs `load_vec`.

    If another process created one first, that one is returned, whatever its fingerprint.
    """
    with archive.transaction():
        present = generation_in_state(archive, "building")
        if present is not None:
            return present
        active = generation_in_state(archive, "active")
        if active is not None and (active.space, active.recipe) == (space, recipe):
            return active  # finished by another process since the caller looked
        archive.db.execute(
            "INSERT INTO models(name, weights_sha256, converter, architecture, dimension, pooling, context_length,"
            " document_prefix, query_prefix, licence, path, added_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,unixepoch())"
            " ON CONFLICT DO UPDATE SET path = excluded.path",
            (
                model.name,
                model.weights_sha256,
                model.converter,
                model.architecture,
                model.dimension,
                model.pooling,
                model.context_length,
                model.document_prefix,
                model.query_prefix,
                model.licence,
                model.path,
            ),
        )
        model_id = archive.scalar(
            "SELECT id FROM models WHERE weights_sha256 = ? AND converter = ? AND pooling = ?"
            " AND document_prefix = ? AND query_prefix = ?",
            (model.weights_sha256, model.converter, model.pooling, model.document_prefix, model.query_prefix),
        )
        archive.db.execute(
            "INSERT INTO generations(model_id, dimension, space, recipe, state, created_at)"
            " VALUES (?, ?, ?, ?, 'building', unixepoch())",
            (model_id, model.dimension, space, recipe),
        )
        generation_id = archive.db.last_insert_rowid()
        archive.db.execute("INSERT INTO embed_watermark VALUES (?, 0)", (generation_id,))
        archive.db.execute(vec_table_sql(generation_id, model.dimension))
        created = generation_in_state(archive, "building")
    if created is None:
        raise DamageError(f"{archive.path} lost the generation it was just given")
    return created


def coverage_of(archive: Archive, generation_id: int | None) -> Coverage:
    """Counted from the outcomes, the record; None counts an archive without any generation."""
    counts = dict(
        archive.rows(
            "SELECT coalesce(o.outcome, 'missing'), count(*) FROM messages m LEFT JOIN embed_outcomes o"
            " ON o.generation_id = ? AND o.message_id = m.id AND o.content_rev = m.content_rev"
            " WHERE m.deleted_at IS NULL GROUP BY 1",
            (generation_id,),
        )
    )
    return Coverage(
        live=sum(counts.values()),
        embedded=counts.get("embedded", 0),
        blank=counts.get("blank", 0),
        failed=counts.get("failed", 0),
    )


def activate(archive: Archive, generation_id: int, most_failed: int) -> None:
    """Make a complete building generation the active one, and retire the one before, in one transaction.

    Raises:
        IncompleteError: messages are missing, or more than `most_failed` failed.
        VaultembedError: it covers nothing, or is not being built.
    """
    with archive.transaction():
        state = archive.scalar("SELECT state FROM generations WHERE id = ?", (generation_id,))
        if state == "active":
            return
        if state != "building":
            raise VaultembedError(f"generation {generation_id} is {state}, not being built")
        coverage = coverage_of(archive, generation_id)
        if coverage.missing:
            raise IncompleteError(
                f"generation {generation_id} misses {coverage.missing:,} of {coverage.live:,} messages",
                "Go on with: vaultembed embeddings build",
            )
        if coverage.failed > most_failed:
            raise IncompleteError(
                f"generation {generation_id} failed on {coverage.failed:,} messages, more than {most_failed}",
                "See which and why: vaultembed embeddings. Accept them: vaultembed embeddings build --max-failed N",
            )
        if not coverage.live:
            raise VaultembedError(f"generation {generation_id} is empty: there are no messages", None)
        archive.db.execute("UPDATE generations SET state = 'retired', retired_at = unixepoch() WHERE state = 'active'")
        archive.db.execute(
            "UPDATE generations SET state = 'active', activated_at = unixepoch() WHERE id = ?",
            (generation_id,),
        )
