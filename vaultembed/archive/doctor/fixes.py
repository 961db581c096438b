"""Repairs what is derived and takes out rows that belong to nothing, each kind in transactions of its own, and never
deletes a message.

What is wrong is looked up again under the transaction: others may have written since it was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import apsw

from vaultembed.archive.backup import Stopped
from vaultembed.archive.doctor.derived import (
    MEMBERS_MISSING,
    MEMBERS_TOO_MANY,
    SET_ASIDE_WRONG,
    STRAYS,
    TEXT_GONE,
    TEXT_MISSING,
    all_generations,
    count_generation,
    count_live,
    vec_tables,
    whole_generations,
)
from vaultembed.archive.doctor.findings import Finding, OnStep
from vaultembed.archive.doctor.schema_fixes import (
    make_indexes,
    make_missing,
    make_text_index,
    take_out,
    take_out_strange,
    write_record,
)
from vaultembed.archive.doctor.stored import mail_columns, mended_references
from vaultembed.archive.doctor.vectors import bad_vectors
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.generations.leases import dead_leases
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.archive.upkeep.pruning import collect_garbage, prune_generation, remove_orphans
from vaultembed.archive.vectors.coarse_table import rebuild

_BATCH: Final = 500
_PARTS: Final = ("info", "chunks", "rowids", "vector_chunks00")
"""Tables that a vec0 table with one column consists of."""


def fix_findings(
    archive: Archive,
    findings: Iterable[Finding],
    on_step: OnStep = lambda _what, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Repair what can be; returns sentences that say what was done, or could not be. Needs `load_vec_unchecked`.

    Raises:
        Stopped: `should_stop` said so, between two repairs; those before it stand.
    """
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.fix is not None:
            kinds.setdefault(finding.kind, []).append(finding)
    done: list[str] = []
    for wanted, repair in _REPAIRS:
        archive.db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, repair is not take_out_strange)
        archive.db.pragma("foreign_keys", repair is not take_out_strange)
        archive.db.pragma("writable_schema", repair is take_out_strange)
        found = [finding for kind in wanted for finding in kinds.get(kind, [])]
        if not found:
            continue
        if should_stop():
            raise Stopped
        on_step(f"repairing {found[0].what}", 0, 0)
        try:
            done += repair(archive, found)
        except (apsw.CorruptError, apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, ValueError) as error:
            done.append(f"Not repaired: {found[0].what} ({error})")
            if repair is take_out_strange:
                break  # no trigger of somebody else's may fire
    return done


def _states(archive: Archive, _found: list[Finding]) -> list[str]:
    done = []
    for state, otherwise in (("active", "retired"), ("building", "discarded")):
        with archive.transaction():
            ids = [
                row[0]
                for row in archive.rows(
                    "SELECT id FROM generations NOT INDEXED WHERE state = ? ORDER BY coalesce(activated_at, 0), id",
                    (state,),
                )
            ]
            for generation_id in ids[:-1]:
                archive.execute(
                    "UPDATE generations SET state = ?, retired_at = unixepoch() WHERE id = ?",
                    (otherwise, generation_id),
                )
                done.append(f"Generation {generation_id} is {otherwise} now; generation {ids[-1]} stays {state}")
            if len(ids) > 1:
                archive.execute("UPDATE embed_watermark SET watermark_id = 0, restamp_after = 0")
    return done


def _ids(archive: Archive, found: list[Finding]) -> list[str]:
    with archive.transaction():
        for finding in found:
            (table,) = finding.examples
            archive.execute(
                f"UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM {table}) WHERE name = ?", (table,)
            )
    return [f"Set the number from which rows of {finding.examples[0]} are counted" for finding in found]


def _odd_values(archive: Archive, _found: list[Finding]) -> list[str]:
    done = []
    for column in mail_columns(archive):
        if column.right is None:
            continue
        with archive.transaction():
            # OR IGNORE: the text may be there already, as a text
            changed = archive.execute(
                f"UPDATE OR IGNORE {column.table} SET {column.name} = {column.right} WHERE {column.repairable}"
            )
        if changed:
            done.append(f"Put {changed:,} values of {column.table}.{column.name} right")
    return done


def _strays(archive: Archive, _found: list[Finding]) -> list[str]:
    done = []
    for table, column, parent, key, _ in STRAYS:
        with archive.transaction():
            removed = archive.execute(
                f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.{key} = {table}.{column})"
            )
        if removed:
            done.append(f"Deleted {removed:,} rows of {table} whose {parent} were gone")
    return done


def _references(archive: Archive, _found: list[Finding]) -> list[str]:
    done: Counter[tuple[str, str]] = Counter()
    with archive.transaction():
        archive.execute("PRAGMA defer_foreign_keys = ON")  # one that goes may itself be referred to
        changed = True
        while changed:
            changed = False
            for table, parent, statement in mended_references(archive):
                mended = archive.execute(statement)
                done[table, parent] += mended
                changed = changed or bool(mended)
    return [
        f"Mended {mended:,} references of {table} to {parent} that were gone"
        for (table, parent), mended in done.items()
        if mended
    ]


def _vectors(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for generation_id, dimension in _of(archive, found):
        messages = sorted({row[0] for row in bad_vectors(archive, generation_id, dimension, lambda _a, _b, _c: None)})
        _forget(archive, generation_id, messages)
        if messages:
            done.append(
                f"{len(messages):,} messages of generation {generation_id} with bad vectors are to be embedded again"
            )
    return done


def _outcomes(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for generation_id, _ in _of(archive, found):
        messages = [
            row[0]
            for row in archive.rows(
                "SELECT o.message_id FROM embed_outcomes o WHERE o.generation_id = ?1 AND o.outcome = 'embedded'"
                " AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = ?1 AND c.message_id = o.message_id)"
                " UNION SELECT c.message_id FROM chunks c WHERE c.generation_id = ?1"
                " AND (NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk_id = c.id)"
                " OR NOT EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.generation_id = ?1"
                " AND o.message_id = c.message_id AND o.outcome = 'embedded'))",
                (generation_id,),
            )
        ]
        _forget(archive, generation_id, messages)
        if messages:
            what = "messages whose outcome, chunks and vectors did not agree are to be embedded again"
            done.append(f"{len(messages):,} {what} in generation {generation_id}")
    return done


def _forget(archive: Archive, generation_id: int, message_ids: list[int]) -> None:
    """Take the chunks and what became of messages out; a blank or failed outcome may stay, it needs no chunks."""
    for start in range(0, len(message_ids), _BATCH):
        with archive.transaction():
            for message_id in message_ids[start : start + _BATCH]:
                key = (generation_id, message_id)
                archive.execute("DELETE FROM chunks WHERE generation_id = ? AND message_id = ?", key)
                archive.execute(
                    "DELETE FROM embed_outcomes WHERE generation_id = ? AND message_id = ? AND outcome = 'embedded'",
                    key,
                )


def _stamps(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        cleared = archive.execute(
            "UPDATE messages SET embed_gen = NULL WHERE embed_gen IS NOT NULL AND NOT EXISTS (SELECT 1 FROM"
            " embed_outcomes o JOIN generations g ON g.id = o.generation_id WHERE o.generation_id = messages.embed_gen"
            " AND o.message_id = messages.id AND o.content_rev = messages.content_rev)"
        )
        archive.execute("UPDATE embed_watermark SET watermark_id = 0")
    return [f"Cleared {cleared:,} stamps that stood for nothing"]


def _scopes(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for generation_id, _ in _of(archive, found):
        with archive.transaction():
            key = (generation_id,)
            changed = archive.execute(
                f"DELETE FROM scope_members WHERE generation_id = ?1 AND message_id IN ({MEMBERS_TOO_MANY})", key
            )
            missing = archive.rows(MEMBERS_MISSING, key)
            for (message_id,) in missing:
                archive.execute("INSERT INTO scope_members VALUES (?, ?)", (generation_id, message_id))
        done.append(
            f"Found the members of the scope of generation {generation_id} again: {changed + len(missing):,} changed"
        )
    return done


def _counters(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        archive.execute("DELETE FROM live_count")
        archive.execute("INSERT INTO live_count VALUES (1, ?)", (count_live(archive),))
        for generation in whole_generations(archive):
            archive.execute("DELETE FROM embed_coverage WHERE generation_id = ?", (generation.id,))
            archive.execute(
                "INSERT INTO embed_coverage(generation_id, is_scoped, live, embedded, blank, failed, chunks)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (generation.id, *count_generation(archive, generation.id)),
            )
    return ["Counted the counters again"]


def _set_aside(archive: Archive, _found: list[Finding]) -> list[str]:
    changed = archive.execute(f"UPDATE messages SET set_aside = 1 - (set_aside <> 0) WHERE id IN ({SET_ASIDE_WRONG})")
    return [f"Asked the places of {changed:,} messages whether they are in trash or spam"]


def _watermark(archive: Archive, _found: list[Finding]) -> list[str]:
    archive.execute("UPDATE embed_watermark SET watermark_id = 0")
    return ["Set the watermark to 0: the next build looks at every message"]


def _coarse(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for generation_id, _ in _of(archive, found):
        try:
            with archive.transaction():
                _drop_coarse_index(archive, generation_id)
            rows = rebuild(archive, generation_id)
        except (apsw.CorruptError, apsw.SQLError) as error:
            done.append(f"Not repaired: the coarse index of generation {generation_id} ({error})")
        else:
            done.append(f"Made the coarse index of generation {generation_id} again from {rows:,} vectors")
    return done


def _drop_coarse_index(archive: Archive, generation_id: int) -> None:
    """All there is of it, without sqlite-vec: that drops a table with all of its parts or not at all."""
    for name in (f"vec_{generation_id}", *(f"vec_{generation_id}_{part}" for part in _PARTS)):
        take_out(archive, "table", name)


def _orphans_alive(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        struck = archive.execute(
            "DELETE FROM vec_orphans WHERE EXISTS (SELECT 1 FROM chunks c WHERE c.id = vec_orphans.chunk_id"
            " AND c.generation_id = vec_orphans.generation_id)"
        )
    return [f"Struck {struck:,} notes of chunks as gone that are there"]


def _orphans(archive: Archive, _found: list[Finding]) -> list[str]:
    removed = 0
    while True:
        with archive.transaction():
            step = remove_orphans(archive, _BATCH)
        if not step:
            return [f"Deleted {removed:,} rows of coarse indexes whose chunks were gone"]
        removed += step


def _deleted(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        archive.execute(
            "INSERT INTO deleted_with_remains SELECT m.id FROM messages m INDEXED BY messages_deleted"
            " WHERE m.deleted_at IS NOT NULL AND (EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.message_id = m.id)"
            " OR EXISTS (SELECT 1 FROM chunks c WHERE c.message_id = m.id)) ON CONFLICT DO NOTHING"
        )
    collected = collect_garbage(archive)
    return [f"Collected {collected.vectors:,} vectors of {collected.messages:,} deleted messages"]


def _pruning(archive: Archive, found: list[Finding]) -> list[str]:
    done = []
    for finding in found:
        if finding.generation is not None:
            with archive.transaction():
                _drop_coarse_index(archive, finding.generation)
            prune_generation(archive, finding.generation)
            done.append(f"Finished the pruning of generation {finding.generation}")
    return done


def _unknown_tables(archive: Archive, _found: list[Finding]) -> list[str]:
    done = []
    with archive.transaction():
        for generation_id in sorted(vec_tables(archive) - {generation.id for generation in all_generations(archive)}):
            _drop_coarse_index(archive, generation_id)
            done.append(f"Dropped vec_{generation_id}, which no generation owned")
    return done


def _leases(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        dead = dead_leases(archive)
        for lease in dead:
            # counted as a takeover would: of a range that kills its workers it must be known
            archive.execute("UPDATE embed_leases SET owner = NULL, attempts = attempts + 1 WHERE id = ?", lease)
    return [f"Freed {len(dead):,} leases of workers that were gone"]


def _text(archive: Archive, _found: list[Finding]) -> list[str]:
    with archive.transaction():
        gone = archive.rows(TEXT_GONE)
        for row in gone:
            archive.execute("DELETE FROM messages_fts WHERE rowid = ?", row)
        archive.execute(f"INSERT INTO fulltext_stale {TEXT_MISSING} ON CONFLICT DO NOTHING")
    indexed = refresh_stale(archive)
    return [
        f"Indexed {indexed:,} messages for search by words, deleted {len(gone):,} entries of messages that are gone"
    ]


def _of(archive: Archive, found: list[Finding]) -> list[tuple[int, int]]:
    """(id, dimension) of the generations that findings are about."""
    wanted = {finding.generation for finding in found}
    return [(g.id, g.dimension) for g in whole_generations(archive) if g.id in wanted]


Repair = Callable[[Archive, list[Finding]], list[str]]

# In this order: what is not ours before anything else; an index, for the others go by it; triggers before the rows that
# they keep; vectors before the coarse index that is made from them; counters after what they count.
_REPAIRS: Final[tuple[tuple[tuple[str, ...], Repair], ...]] = (
    (("schema",), take_out_strange),
    (("index",), make_indexes),
    (("states",), _states),
    (("schema",), make_missing),
    (("migrations",), write_record),
    (("ids",), _ids),
    (("stray_rows",), _strays),
    (("odd_values",), _odd_values),
    (("references",), _references),
    (("coarse_index_unknown",), _unknown_tables),
    (("vector_altered", "vector_malformed"), _vectors),
    (("embedded_without_chunks", "chunks_without_outcome", "chunks_without_vector"), _outcomes),
    (("stamps", "stamps_unknown"), _stamps),
    (("scope",), _scopes),
    (("counters",), _counters),
    (("set_aside",), _set_aside),
    (("watermark",), _watermark),
    (("orphans_alive",), _orphans_alive),
    (("coarse_index",), _coarse),
    (("pruning",), _pruning),
    (("leases",), _leases),
    (("text_index",), make_text_index),
    (("text_stale", "text_missing", "text_gone"), _text),
    (("deleted",), _deleted),
    (("orphans",), _orphans),
)
