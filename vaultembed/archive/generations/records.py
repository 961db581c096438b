"""Generations: one embedding of the archive under one fingerprint, and how much of the archive it covers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.values import text_of
from vaultembed.archive.generations.scopes import EVERYTHING, Scope, write_scope
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.errors import DamageError, UsageError
from vaultembed.model_facts import ModelFacts

State = Literal["building", "active", "retired", "discarded"]
Verification = Literal["passed", "failed", "outdated"]
"""`outdated`: a vector was written since."""

UNKNOWN_WEIGHTS: Final = ""
"""In place of a sha256: another program made the vectors, and kept only the model's name."""
ADOPTED_RECIPE: Final = "msgvault"
"""Beginning of the recipe of an outcome that was adopted."""


@dataclass(frozen=True, slots=True)
class ModelRecord(ModelFacts):
    """The model of a generation, as the archive keeps it: enough to know it again in twenty years."""

    path: str | None
    """Where a model given by path was; None for one of the registry."""


@dataclass(frozen=True, slots=True)
class Generation:
    id: int
    model: ModelRecord
    dimension: int
    space: str
    recipe: str
    """How its texts are cut now; each outcome records its own."""
    state: State
    created_at: int
    activated_at: int | None
    retired_at: int | None
    """Or discarded."""
    pruned_at: int | None
    """Its vectors are gone, or going."""
    scope: str
    """Readable; "" is every message."""
    canary: bytes | None
    """float16 vector of a fixed text, made when it began."""
    changes: int
    """Grows with every vector that is written to it, whoever writes."""
    verified_at: int | None
    verification: Verification | None
    """None: it was never verified."""
    is_vouched_for: bool
    """With its vectors as they are, it passed its last verification, or was in use and did not fail since. (What
    triggers cannot see: the coarse index, which `doctor` compares with the vectors; a change without SQL.)"""
    model_label: str
    """Its model's name, with what tells it from the others of this archive that have the same name."""

    @property
    def is_checked(self) -> bool:
        """False: it was adopted, and no model here has been found to give the vectors that it has."""
        return self.model.weights_sha256 != UNKNOWN_WEIGHTS

    @property
    def build_command(self) -> str:
        """The command that fills it, also when another one is in use."""
        model = self.model
        if not self.is_checked:
            return "vaultembed embeddings build --model PATH"
        parts = ["vaultembed embeddings build --model", model.path or model.name]
        for flag, prefix in (("--document-prefix", model.document_prefix), ("--query-prefix", model.query_prefix)):
            if prefix:
                parts += [flag, f"'{prefix}'"]
        found = re.search(r":t(\d+)", self.recipe)
        return " ".join([*parts, *(["--chunk-tokens", found[1]] if found else [])])

    @property
    def fingerprint(self) -> str:
        return ":".join(part for part in (self.space, self.recipe, self.scope) if part)


@dataclass(frozen=True, slots=True)
class Coverage:
    """`live = embedded + blank + failed + missing`, always."""

    live: int
    """Messages in its scope that are not deleted."""
    embedded: int
    blank: int
    failed: int
    in_part: int = 0
    """Of the embedded ones, those of which only the beginning is: the rest of so long a text is found by words."""
    outside_scope: int = 0
    """Live messages that it is not to cover; in none of the other numbers."""
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing", self.live - self.embedded - self.blank - self.failed)


_SELECT = """
SELECT g.id, m.name, m.weights_sha256, m.converter, m.architecture, m.dimension, m.pooling, m.context_length,
       m.document_prefix, m.query_prefix, m.licence, m.path,
       CAST(g.dimension AS INTEGER), g.space, g.recipe, g.state, g.created_at, g.activated_at, g.retired_at,
       g.pruned_at, g.scope, g.canary, g.changes, g.verified_at,
       CASE WHEN g.verified_changes <> g.changes THEN 'outdated' WHEN g.verified_passed THEN 'passed'
            WHEN g.verified_at IS NOT NULL THEN 'failed' END,
       coalesce(CASE WHEN g.verified_changes = g.changes THEN g.verified_passed END, g.served_changes = g.changes, 0),
       CASE WHEN NOT EXISTS (SELECT 1 FROM models WHERE name = m.name AND id <> m.id) THEN m.name
            WHEN m.weights_sha256 = '' THEN m.name || ' (weights unknown)'
            WHEN NOT EXISTS (SELECT 1 FROM models WHERE name = m.name AND id <> m.id
                             AND substr(weights_sha256, 1, 8) = substr(m.weights_sha256, 1, 8))
            THEN m.name || ' (w' || substr(m.weights_sha256, 1, 8) || ')'
            ELSE g.space END
FROM generations g JOIN models m ON m.id = g.model_id
"""


def list_generations(archive: Archive) -> list[Generation]:
    return [Generation(row[0], ModelRecord(*row[1:12]), *row[12:]) for row in archive.rows(_SELECT + " ORDER BY g.id")]


def generation_in_state(archive: Archive, state: State) -> Generation | None:
    """The newest generation in a state. (Of building and active ones there is at most one.)"""
    found = [g for g in list_generations(archive) if g.state == state]
    return found[-1] if found else None


def generation_with_id(archive: Archive, generation_id: int) -> Generation:
    """
    Raises:
        UsageError: there is none with that id.
    """
    found = [g for g in list_generations(archive) if g.id == generation_id]
    if not found:
        raise UsageError(f"there is no generation {generation_id}", "To list them: vaultembed embeddings list")
    return found[0]


def generation_to_fill(archive: Archive) -> Generation | None:
    """The one being built, else the active one: what embed_gen stands for, and what a build goes on with."""
    return generation_in_state(archive, "building") or generation_in_state(archive, "active")


def create_generation(
    archive: Archive,
    model: ModelRecord,
    space: str,
    recipe: str,
    scope: Scope = EVERYTHING,
    canary: bytes | None = None,
    *,
    again: bool = False,
) -> Generation:
    """A new building generation with its vec0 table, in a transaction of its own. Needs `load_vec`.

    Raises:
        UsageError: no message is in its scope.

    If another process created one first, that one is returned, whatever its fingerprint. `again`: also where the active
    one has the same fingerprint.
    """
    with archive.transaction():
        present = generation_in_state(archive, "building")
        if present is not None:
            return present
        active = generation_in_state(archive, "active")
        if (
            not again
            and active is not None
            and (active.space, active.recipe, active.scope) == (space, recipe, scope.tag)
        ):
            return active  # finished by another process since the caller looked
        _insert_building(archive, model, space, recipe, scope, canary)
        created = generation_in_state(archive, "building")
    if created is None:
        raise DamageError(f"{archive.path} lost the generation it was just given")
    return created


def _insert_building(
    archive: Archive, model: ModelRecord, space: str, recipe: str, scope: Scope, canary: bytes | None
) -> None:
    generation_id = archive.insert(
        "INSERT INTO generations(model_id, dimension, space, recipe, state, created_at, scope, scope_after,"
        " scope_before, canary) VALUES (?, ?, ?, ?, 'building', unixepoch(), ?, ?, ?, ?) RETURNING id",
        (
            model_id_of(archive, model),
            model.dimension,
            space,
            recipe,
            scope.tag,
            scope.after,
            scope.before,
            canary,
        ),
    )
    archive.execute("INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (?, 0)", (generation_id,))
    write_scope(archive, generation_id, scope)
    if scope.tag and not coverage_of(archive, generation_id).live:
        # it would be complete with nothing in it, and builds would go on filling it for ever
        raise UsageError(
            f"there is no message in the scope {scope.tag}",
            "What there is: vaultembed stats. No generation was made.",
        )
    archive.execute(vec_table_sql(generation_id, model.dimension))


def model_id_of(archive: Archive, model: ModelRecord) -> int:
    """The model's row, made if new."""
    archive.execute(
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
    return int(
        archive.scalar(
            "SELECT id FROM models WHERE weights_sha256 = ? AND converter = ? AND pooling = ?"
            " AND document_prefix = ? AND query_prefix = ?",
            (model.weights_sha256, model.converter, model.pooling, model.document_prefix, model.query_prefix),
        )
    )


def set_model_path(archive: Archive, generation: Generation, path: str | None) -> None:
    """The same model, byte for byte, lies elsewhere now."""
    archive.execute(
        "UPDATE models SET path = ?1 WHERE id = (SELECT model_id FROM generations WHERE id = ?2) AND path IS NOT ?1",
        (path, generation.id),
    )


def set_canary(archive: Archive, generation_id: int, canary: bytes) -> None:
    """For a generation that was begun before canaries were kept."""
    archive.execute("UPDATE generations SET canary = ? WHERE id = ? AND canary IS NULL", (canary, generation_id))


def record_verification(archive: Archive, generation_id: int, changes: int, *, passed: bool) -> None:
    """`changes`: as they were in the snapshot in which it was verified."""
    archive.execute(
        "UPDATE generations SET verified_at = unixepoch(), verified_changes = ?, verified_passed = ? WHERE id = ?",
        (changes, passed, generation_id),
    )


def set_recipe(archive: Archive, generation_id: int, recipe: str) -> None:
    """Texts are cut by another recipe from now on; the outcomes there are keep theirs."""
    archive.execute("UPDATE generations SET recipe = ? WHERE id = ? AND recipe <> ?", (recipe, generation_id, recipe))


def recipe_mix(archive: Archive, generation_id: int) -> dict[str, int]:
    """How many outcomes there are of each recipe; empty where all have the generation's own.

    Two seeks tell whether there is a mix at all: counting takes long at 10^6 messages.
    """
    lowest, highest, own = archive.rows(
        f"SELECT {text_of('(SELECT min(recipe) FROM embed_outcomes WHERE generation_id = ?1)')},"
        f" {text_of('(SELECT max(recipe) FROM embed_outcomes WHERE generation_id = ?1)')},"
        f" {text_of('(SELECT recipe FROM generations WHERE id = ?1)')}",
        (generation_id,),
    )[0]
    if lowest == highest and lowest in (None, own):
        return {}
    return dict(
        archive.rows(
            f"SELECT {text_of('recipe')}, count(*) FROM embed_outcomes WHERE generation_id = ? GROUP BY 1 ORDER BY 1",
            (generation_id,),
        )
    )


def coverage_of(archive: Archive, generation_id: int | None) -> Coverage:
    """From the counters that triggers keep; None tells of an archive without any generation."""
    row = None
    if generation_id is not None:
        row = archive.row(
            "SELECT c.live, embedded, blank, failed, (SELECT count(*) FROM embed_outcomes o"
            "  INDEXED BY embed_outcomes_in_part CROSS JOIN messages m ON m.id = o.message_id"
            "  WHERE o.generation_id = c.generation_id AND o.is_in_part AND o.content_rev = m.content_rev"
            "  AND m.deleted_at IS NULL AND (NOT c.is_scoped OR EXISTS (SELECT 1 FROM scope_members s"
            "   WHERE s.generation_id = o.generation_id AND s.message_id = o.message_id))),"
            " is_scoped * max((SELECT live FROM live_count) - c.live, 0)"
            " FROM embed_coverage c WHERE generation_id = ?",
            (generation_id,),
        )
    if row is None:
        return Coverage(int(archive.scalar("SELECT live FROM live_count") or 0), 0, 0, 0)
    return Coverage(*row)


def count_chunks(archive: Archive, generation_id: int) -> int:
    """All of the generation's, current or not."""
    return int(archive.scalar("SELECT chunks FROM embed_coverage WHERE generation_id = ?", (generation_id,)) or 0)
