"""Generations that msgvault made, as generations of this archive.

An import writes their vectors and outcomes, message by message, and leaves every stamp NULL. A step of its own, once a
generation, then puts them to use: so whatever ends an import, there is either an adopted generation or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.outcomes import (
    ChunkRow,
    MessageOutcome,
    collect_orphans,
    recipe_of,
    write_outcome,
)
from vaultembed.archive.generations.records import (
    ADOPTED_RECIPE,
    UNKNOWN_WEIGHTS,
    Generation,
    ModelRecord,
    generation_to_fill,
    generation_with_id,
    model_id_of,
)
from vaultembed.archive.generations.work import sweep
from vaultembed.archive.schema_files import vec_table_sql
from vaultembed.errors import BusyError
from vaultembed.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class Origin:
    """A generation as msgvault has it."""

    path: str
    """Of its vectors.db."""
    id: int
    model: str
    dimension: int
    fingerprint: str
    started_at: int
    state: Literal["building", "active", "retired"]
    recipe: str


@dataclass(frozen=True, slots=True)
class Checked:
    """How the vectors of a model here compare with the adopted ones, for the same texts."""

    median_cosine: float
    least_cosine: float
    sampled: int


@dataclass(frozen=True, slots=True)
class Adopted:
    generation_id: int
    origin: str
    model: str
    fingerprint: str
    is_retired_there: bool
    """Nothing tells any more which of its vectors are of texts that have changed since."""
    checked: Checked | None


def find_adopted(archive: Archive, generation_id: int) -> Adopted | None:
    """None: it was made here."""
    row = archive.row(
        "SELECT generation_id, origin, model, fingerprint, state = 'retired', median_cosine, least_cosine, sampled"
        " FROM adopted_generations WHERE generation_id = ?",
        (generation_id,),
    )
    if row is None:
        return None
    generation, origin, model, fingerprint, is_retired, *cosines = row
    checked = None if cosines[0] is None else Checked(*cosines)
    return Adopted(generation, origin, model, fingerprint, bool(is_retired), checked)


def find_by_origin(archive: Archive, origin: Origin) -> Generation | None:
    """What it became here; None where it was not adopted yet. Also where its vectors.db lies elsewhere now."""
    found = archive.scalar(
        "SELECT generation_id FROM adopted_generations"
        " WHERE fingerprint = ? AND started_at = ? AND origin_generation = ?",
        (origin.fingerprint, origin.started_at, origin.id),
    )
    return None if found is None else generation_with_id(archive, found)


def list_from(archive: Archive, path: str) -> list[Generation]:
    """Adopted from the vectors.db at a path, those that it does not have any more included."""
    ids = archive.rows("SELECT generation_id FROM adopted_generations WHERE origin = ? ORDER BY 1", (path,))
    return [generation_with_id(archive, row[0]) for row in ids]


def adopt(archive: Archive, origin: Origin) -> Generation:
    """A generation for the vectors of another program's, out of service until its backfill; the one there is, if any.
    In the caller's transaction."""
    present = find_by_origin(archive, origin)
    if present is not None:
        return present
    model = ModelRecord(
        name=origin.model,
        weights_sha256=UNKNOWN_WEIGHTS,
        converter=f"msgvault:{origin.model}:{origin.dimension}",
        architecture="",
        dimension=origin.dimension,
        pooling="",
        context_length=0,
        document_prefix="",
        query_prefix="",
        licence="unknown",
        path=None,
    )
    generation_id = archive.insert(
        "INSERT INTO generations(model_id, dimension, space, recipe, state, created_at, retired_at)"
        " VALUES (?, ?, ?, ?, 'retired', ?, unixepoch()) RETURNING id",
        (model_id_of(archive, model), origin.dimension, _space(origin), origin.recipe, origin.started_at),
    )
    archive.execute("INSERT INTO embed_watermark(generation_id, watermark_id) VALUES (?, 0)", (generation_id,))
    archive.execute(
        "INSERT INTO adopted_generations(generation_id, origin, origin_generation, model, fingerprint, started_at,"
        " state) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (generation_id, origin.path, origin.id, origin.model, origin.fingerprint, origin.started_at, origin.state),
    )
    archive.execute(vec_table_sql(generation_id, origin.dimension))
    return generation_with_id(archive, generation_id)


def _space(origin: Origin) -> str:
    """As `ModelFacts.space` has it, with what msgvault does not record as "?"."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in origin.model.lower())
    return f"{name.strip('-.') or 'unknown'}:w?:msgvault:{origin.dimension}:?:d-:q-"


def write_adopted(archive: Archive, generation: Generation, recipe: str, outcomes: Sequence[MessageOutcome]) -> None:
    """Write what became of messages in the other program, in the caller's transaction. Needs `load_vec`.

    Stamps are the backfill's; after that, what a later import brings is stamped at once.
    """
    target = generation_to_fill(archive)
    serves = target is not None and target.id == generation.id
    for outcome in outcomes:
        if outcome.text is None:
            # what an earlier text of it was is not what these offsets are into
            archive.execute(
                "DELETE FROM message_texts WHERE message_id = ? AND preparation = ?",
                (outcome.message_id, recipe.partition(":")[0]),
            )
        withdraw(archive, generation.id, outcome.message_id)
        write_outcome(archive, generation, recipe, outcome, stamped=serves)
    collect_orphans(archive, generation.id)
    if serves:
        sweep(archive, generation.id)


def withdraw(archive: Archive, generation_id: int, message_id: int) -> None:
    """The other program does not vouch for its vectors of a message any more: they go, also where another generation
    took them over, and the message is work. In the caller's transaction. Needs `load_vec`."""
    if not archive.scalar(
        "SELECT 1 FROM embed_outcomes WHERE generation_id = ? AND message_id = ?", (generation_id, message_id)
    ):
        return
    _, theirs = _stored_outcome(archive, generation_id, message_id)
    holders = archive.rows(
        "SELECT o.generation_id FROM embed_outcomes o JOIN generations g ON g.id = o.generation_id"
        f" WHERE o.message_id = ?2 AND o.recipe GLOB '{ADOPTED_RECIPE}*' AND (g.id = ?1"
        " OR g.state IN ('building', 'active') OR g.id NOT IN (SELECT generation_id FROM adopted_generations))",
        (generation_id, message_id),
    )
    for (holder,) in holders:
        if _stored_outcome(archive, holder, message_id)[1] == theirs:
            # triggers clear the stamp, and lower the watermark
            archive.execute("DELETE FROM chunks WHERE generation_id = ? AND message_id = ?", (holder, message_id))
            archive.execute(
                "DELETE FROM embed_outcomes WHERE generation_id = ? AND message_id = ?", (holder, message_id)
            )
            collect_orphans(archive, holder)


def is_as_stored(archive: Archive, generation_id: int, recipe: str, outcome: MessageOutcome) -> bool:
    """Whether what there is of a message in a generation was made of the same rows of the other program."""
    stored_recipe, stored = _stored_outcome(archive, generation_id, outcome.message_id)
    if (stored_recipe, len(stored.chunks)) != (recipe_of(recipe, outcome), len(outcome.chunks)):
        return False
    pairs = zip(stored.chunks, outcome.chunks, strict=True)
    return all(replace(new, embedded_at=new.embedded_at or old.embedded_at) == old for old, new in pairs)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Of what rows of the other program an outcome was made."""

    recipe: str
    text_length: int | None
    """Of the text that they were told to be of."""
    spans: tuple[tuple[int, int, int], ...]
    """Each with when it was embedded."""


def stored_rows(
    archive: Archive, generation_id: int, preparation: str, messages: Sequence[int]
) -> dict[int, StoredRows]:
    """By message, for those that are embedded."""
    found: dict[int, StoredRows] = {}
    for message_id, recipe, length, *span in archive.rows(
        "SELECT o.message_id, o.recipe, (SELECT length(t.text) FROM message_texts t WHERE t.message_id = o.message_id"
        " AND t.preparation = ?2), c.char_start, c.char_end, c.embedded_at FROM json_each(?3) j"
        " CROSS JOIN embed_outcomes o ON o.generation_id = ?1 AND o.message_id = j.value"
        " CROSS JOIN chunks c ON c.generation_id = ?1 AND c.message_id = j.value ORDER BY j.id, c.chunk_index",
        (generation_id, preparation, json.dumps(messages)),
    ):
        spans = found[message_id].spans if message_id in found else ()
        found[message_id] = StoredRows(recipe, length, (*spans, tuple(span)))
    return found


Standing = Literal["covered", "adopted", "open", "edited here", "deleted here"]


def standing(archive: Archive, generation_id: int | None, message_id: int, content_rev: int) -> Standing:
    """Whether another program's vectors of a message may stand for its text here. `open`: they may, for its text is
    that which came from there (`content_rev`), nobody has repaired that since, and there is no outcome of it yet;
    `adopted`: they do."""
    row = archive.row(
        "SELECT m.deleted_at IS NOT NULL, (SELECT o.recipe FROM embed_outcomes o WHERE o.generation_id = ?1"
        " AND o.message_id = m.id AND o.content_rev = m.content_rev), m.content_rev <> ?3 OR EXISTS (SELECT 1 FROM"
        " repairs r WHERE r.message_id = m.id AND r.undone_at IS NULL AND r.field IN ('subject', 'body'))"
        " FROM messages m WHERE m.id = ?2",
        (generation_id, message_id, content_rev),
    )
    if row is None or row[0]:
        return "deleted here"
    if row[1] is not None:
        return "adopted" if str(row[1]).startswith(ADOPTED_RECIPE) and not row[2] else "covered"
    return "edited here" if row[2] else "open"


def bind_model(
    archive: Archive, generation: Generation, model: ModelRecord, space: str, recipe: str, canary: bytes, found: Checked
) -> Generation:
    """From now on an adopted generation is of this model's space: it is searched with it, and topped up by `recipe`.

    Raises:
        BusyError: another process has bound it to another model meanwhile.
    """
    with archive.transaction():
        present = generation_with_id(archive, generation.id)
        if present.is_checked:
            if present.space != space:
                raise BusyError(
                    f"another process has found generation {generation.id} to be of {present.space} meanwhile",
                    "To see what it is: vaultembed embeddings",
                )
            return present
        failpoint("adopt.bind")
        archive.execute(
            "UPDATE generations SET model_id = ?, space = ?, recipe = ?, canary = ? WHERE id = ?",
            (model_id_of(archive, model), space, recipe, canary, generation.id),
        )
        archive.execute(
            "UPDATE adopted_generations SET checked_at = unixepoch(), median_cosine = ?, least_cosine = ?, sampled = ?"
            " WHERE generation_id = ?",
            (found.median_cosine, found.least_cosine, found.sampled, generation.id),
        )
        failpoint("adopt.bind")
    return generation_with_id(archive, generation.id)


def take_over(
    archive: Archive, source: Generation, target: Generation, should_stop: Callable[[], bool] = lambda: False
) -> int:
    """Let a generation have what another of its space covers and it does not, or in part only; returns how many
    messages. Each keeps the recipe that it was made with. Needs `load_vec`.

    Raises:
        ValueError: the two are not of one space.
    """
    if (source.space, source.model.weights_sha256) != (target.space, target.model.weights_sha256):
        raise ValueError(f"generations {source.id} and {target.id} are of different spaces")
    taken, after = 0, 0
    while not should_stop():
        with archive.transaction():
            ids = [row[0] for row in archive.rows(_COVERED_ALONE, (source.id, target.id, after, _BATCH))]
            if not ids:
                return taken
            filled = generation_to_fill(archive)
            for message_id in ids:
                recipe, outcome = _stored_outcome(archive, source.id, message_id)
                write_outcome(archive, target, recipe, outcome, stamped=filled is not None and filled.id == target.id)
            collect_orphans(archive, target.id)
            sweep(archive, target.id)
            failpoint("adopt.take_over")
        taken, after = taken + len(ids), ids[-1]
    return taken


_BATCH: Final = 500
_COVERED_ALONE: Final = """
SELECT o.message_id FROM embed_outcomes o
CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev AND m.deleted_at IS NULL
WHERE o.generation_id = ?1 AND o.message_id > ?3 AND o.outcome IN ('embedded', 'blank')
  AND NOT EXISTS (SELECT 1 FROM embed_outcomes x WHERE x.generation_id = ?2 AND x.message_id = m.id
                  AND x.content_rev = m.content_rev
                  AND NOT (x.is_in_part AND NOT o.is_in_part))
  AND (NOT EXISTS (SELECT 1 FROM embed_coverage c WHERE c.generation_id = ?2 AND c.is_scoped)
       OR EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = ?2 AND s.message_id = m.id))
ORDER BY o.message_id LIMIT ?4
"""


def _stored_outcome(archive: Archive, generation_id: int, message_id: int) -> tuple[str, MessageOutcome]:
    key = (generation_id, message_id)
    recipe, content_rev, outcome = archive.rows(
        "SELECT recipe, content_rev, outcome FROM embed_outcomes WHERE generation_id = ? AND message_id = ?", key
    )[0]
    chunks = archive.rows(
        "SELECT c.char_start, c.char_end, c.text_hash, v.embedding, c.embedded_at FROM chunks c"
        " JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ? AND c.message_id = ? ORDER BY c.chunk_index",
        key,
    )
    rows = tuple(ChunkRow(*chunk) for chunk in chunks)
    return recipe, MessageOutcome(message_id, content_rev, outcome, None, None, rows)
