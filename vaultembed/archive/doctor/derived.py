"""Checks of what is made from what was imported: generations, their bookkeeping, and the text index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vaultembed.archive.doctor.findings import EXAMPLES, UNREADABLE, Check, Finding, OnStep, Severity, from_rows
from vaultembed.archive.engine.connection import Archive
from vaultembed.archive.engine.tokenizer import tokenizer_of
from vaultembed.archive.engine.values import text_of
from vaultembed.archive.generations.leases import dead_leases
from vaultembed.archive.mail.fulltext import texts_to_index
from vaultembed.archive.mail.lexical import WORDS_OF_INDEX

_LOOKED_UP: Final = 50
"""One word in so many; a page of the text index has more."""


@dataclass(frozen=True, slots=True)
class GenerationRow:
    id: int
    dimension: int
    state: str
    is_scoped: bool
    is_pruned: bool


def all_generations(archive: Archive) -> list[GenerationRow]:
    return [
        GenerationRow(row[0], row[1], row[2], row[3] != "", row[4] is not None)
        for row in archive.rows("SELECT id, dimension, state, scope, pruned_at FROM generations ORDER BY id")
    ]


def whole_generations(archive: Archive) -> list[GenerationRow]:
    return [generation for generation in all_generations(archive) if not generation.is_pruned]


STRAYS: Final = (
    ("embed_outcomes", "message_id", "messages", "id", "outcome of message"),
    ("embed_outcomes", "generation_id", "generations", "id", "outcome in generation"),
    ("chunks", "message_id", "messages", "id", "chunk of message"),
    ("chunks", "generation_id", "generations", "id", "chunk in generation"),
    ("vectors", "chunk_id", "chunks", "id", "vector of chunk"),
    ("message_texts", "message_id", "messages", "id", "text of message"),
    ("scope_members", "message_id", "messages", "id", "message"),
    ("scope_members", "generation_id", "generations", "id", "generation"),
    ("embed_coverage", "generation_id", "generations", "id", "generation"),
    ("embed_watermark", "generation_id", "generations", "id", "generation"),
    ("embed_leases", "generation_id", "generations", "id", "generation"),
    ("deleted_with_remains", "message_id", "messages", "id", "message"),
    ("vec_orphans", "generation_id", "embed_coverage", "generation_id", "generation"),
)
"""(table, column, table of what it must belong to, its column, in words): derived rows that may be deleted alone."""


def check_strays(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Derived rows whose message, generation or chunk is gone."""
    for table, column, parent, key, words in STRAYS:
        severity: Severity = "leftover" if table == "vec_orphans" else "wrong"
        yield from from_rows(
            archive.stream(
                f"SELECT {text_of(f't.{column}')} FROM {table} t"
                f" WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.{key} = t.{column})"
            ),
            Finding(
                "stray_rows", severity, f"rows of {table} belong to {parent} that are not there", fix="delete them"
            ),
            name=words,
        )


def check_states(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """At most one generation is being built, at most one active; once one was active, one is."""
    generations = all_generations(archive)
    for state, otherwise in (("active", "retired"), ("building", "discarded")):
        ids = [generation.id for generation in generations if generation.state == state]
        if len(ids) > 1:
            what = f"more than one generation is {state}"
            examples = tuple(f"generation {i}" for i in ids[:EXAMPLES])
            fix = f"leave the newest one {state} and make the others {otherwise}; nothing of theirs is deleted"
            yield Finding("states", "wrong", what, len(ids), examples, fix=fix)
    was_active = archive.scalar("SELECT count(*) FROM generations WHERE activated_at IS NOT NULL")
    if was_active and not any(generation.state == "active" for generation in generations):
        yield Finding(
            "none_active",
            "leftover",
            "no generation is active, though one was: search by meaning has nothing to go by",
            1,
            way_out="If that was not meant: vaultembed embeddings rollback, or vaultembed embeddings activate ID",
        )


def check_stamps(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """A stamp stands for a current outcome in a generation that is there."""
    fix = "clear them: the next build looks at these messages"
    yield from from_rows(
        archive.stream(
            "SELECT m.id FROM messages m WHERE m.embed_gen IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM generations g WHERE g.id = m.embed_gen)"
        ),
        Finding("stamps_unknown", "wrong", "messages are stamped with a generation that does not exist", fix=fix),
    )
    yield from from_rows(
        archive.stream(
            "SELECT m.id FROM messages m JOIN generations g ON g.id = m.embed_gen WHERE NOT EXISTS (SELECT 1 FROM"
            " embed_outcomes o WHERE o.generation_id = m.embed_gen AND o.message_id = m.id"
            " AND o.content_rev = m.content_rev)"
        ),
        Finding("stamps", "wrong", "messages are stamped as done without a current outcome", fix=fix),
    )


def check_outcomes(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Embedded is what has chunks, and every chunk has a vector."""
    for generation in whole_generations(archive):
        key = (generation.id,)
        fix = "forget them: the next build embeds these messages"
        yield from from_rows(
            archive.stream(
                "SELECT o.message_id FROM embed_outcomes o WHERE o.generation_id = ?1 AND o.outcome = 'embedded' AND"
                " NOT EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = ?1 AND c.message_id = o.message_id)",
                key,
            ),
            Finding(
                "embedded_without_chunks",
                "wrong",
                f"messages count as embedded in generation {generation.id} and have no chunks",
                generation=generation.id,
                fix=fix,
            ),
        )
        yield from from_rows(
            archive.stream(
                "SELECT c.message_id, c.id FROM chunks c WHERE c.generation_id = ?1 AND NOT EXISTS (SELECT 1 FROM"
                " embed_outcomes o WHERE o.generation_id = ?1 AND o.message_id = c.message_id"
                " AND o.outcome = 'embedded')",
                key,
            ),
            Finding(
                "chunks_without_outcome",
                "wrong",
                f"chunks of generation {generation.id} are of messages that do not count as embedded in it",
                generation=generation.id,
                fix="delete them",
            ),
            name=lambda row: f"chunk {row[1]} of message {row[0]}",
        )
        yield from from_rows(
            archive.stream(
                "SELECT c.message_id, c.id FROM chunks c WHERE c.generation_id = ? AND NOT EXISTS (SELECT 1 FROM"
                " vectors v WHERE v.chunk_id = c.id)",
                key,
            ),
            Finding(
                "chunks_without_vector",
                "wrong",
                f"chunks of generation {generation.id} have no vector",
                generation=generation.id,
                fix=fix,
            ),
            name=lambda row: f"chunk {row[1]} of message {row[0]}",
        )


def check_scopes(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """scope_members is what messages_in_scope says."""
    for generation in whole_generations(archive):
        if not generation.is_scoped:
            continue
        for what, query in (
            (f"messages in the scope of generation {generation.id} do not count as such", MEMBERS_MISSING),
            (f"messages count as in the scope of generation {generation.id} and are not", MEMBERS_TOO_MANY),
        ):
            yield from from_rows(
                archive.stream(query, (generation.id,)),
                Finding("scope", "wrong", what, generation=generation.id, fix="find the members of the scope again"),
            )


MEMBERS_MISSING: Final = (
    "SELECT v.message_id FROM messages_in_scope v WHERE v.generation_id = ?1 AND NOT EXISTS (SELECT 1 FROM"
    " scope_members s WHERE s.generation_id = ?1 AND s.message_id = v.message_id)"
)
MEMBERS_TOO_MANY: Final = (
    "SELECT s.message_id FROM scope_members s WHERE s.generation_id = ?1 AND NOT EXISTS (SELECT 1 FROM"
    " messages_in_scope v WHERE v.generation_id = ?1 AND v.message_id = s.message_id)"
)


def check_counters(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """What triggers count is what there is."""
    live = count_live(archive)
    stored = archive.rows("SELECT live FROM live_count")
    fix = "count them again"
    if stored != [(live,)]:
        said = stored[0][0] if stored else "nothing"  # whatever stands there: it may be a text
        yield Finding("counters", "wrong", f"live messages are {live:,}; the counter says {said}", 1, fix=fix)
    for generation in whole_generations(archive):
        true = count_generation(archive, generation.id)
        row = archive.row(
            "SELECT is_scoped, live, embedded, blank, failed, chunks FROM embed_coverage WHERE generation_id = ?",
            (generation.id,),
        )
        names = ("is_scoped", "live", "embedded", "blank", "failed", "chunks")
        said_wrong = tuple(
            f"{name} is {value:,}, not {told}"
            for name, value, told in zip(names, true, row or ("there",) * len(names), strict=True)
            if value != told
        )
        if said_wrong:
            what = f"the counters of generation {generation.id} are wrong"
            yield Finding("counters", "wrong", what, len(said_wrong), said_wrong, generation.id, fix)


SET_ASIDE_WRONG: Final = (
    "SELECT m.id FROM messages m JOIN messages_by_places p ON p.message_id = m.id AND p.set_aside <> m.set_aside"
    " WHERE m.set_aside <> 0 OR m.id IN (SELECT message_id FROM message_sources WHERE set_aside <> '')"
)


def check_set_aside(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """A message is in trash or spam if all of its places say so."""
    what = "messages are in trash or spam, or are not, against what their places say"
    finding = Finding("set_aside", "wrong", what, fix="ask their places again")
    yield from from_rows(archive.stream(SET_ASIDE_WRONG), finding)


def count_live(archive: Archive) -> int:
    return int(archive.scalar("SELECT count(*) FROM messages NOT INDEXED WHERE deleted_at IS NULL"))


def count_generation(archive: Archive, generation_id: int) -> tuple[int, int, int, int, int, int]:
    """What its row of embed_coverage should say after its id."""
    is_scoped = int(archive.scalar("SELECT scope <> '' FROM generations WHERE id = ?", (generation_id,)))
    member = (
        " JOIN scope_members s ON s.generation_id = ?1 AND s.message_id = m.id"
        if is_scoped
        else " WHERE ?1 IS NOT NULL"
    )
    live = int(
        archive.scalar(
            f"SELECT count(*) FROM (SELECT 1 FROM messages m{member}"
            f"{' WHERE' if is_scoped else ' AND'} m.deleted_at IS NULL)",
            (generation_id,),
        )
    )
    outcomes = dict(
        archive.rows(
            "SELECT o.outcome, count(*) FROM embed_outcomes o CROSS JOIN messages m ON m.id = o.message_id"
            " AND m.content_rev = o.content_rev AND m.deleted_at IS NULL WHERE o.generation_id = ?1"
            + (
                " AND EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = ?1 AND s.message_id = m.id)"
                if is_scoped
                else ""
            )
            + " GROUP BY o.outcome",
            (generation_id,),
        )
    )
    chunks = int(archive.scalar("SELECT count(*) FROM chunks WHERE generation_id = ?", (generation_id,)))
    counted = [int(outcomes.get(outcome, 0)) for outcome in ("embedded", "blank", "failed")]
    return (is_scoped, live, counted[0], counted[1], counted[2], chunks)


def check_watermark(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Nothing below the watermark of the generation that is being filled is work."""
    by_state = {generation.state: generation for generation in all_generations(archive)}
    filled = by_state.get("building") or by_state.get("active")
    if filled is None:
        return
    scoped = "AND EXISTS (SELECT 1 FROM scope_members s WHERE s.generation_id = ?1 AND s.message_id = m.id)"
    yield from from_rows(
        archive.stream(
            "SELECT m.id FROM messages m JOIN embed_watermark w ON w.generation_id = ?1 AND m.id <= w.watermark_id"
            f" WHERE m.deleted_at IS NULL AND m.embed_gen IS NOT ?1 {scoped if filled.is_scoped else ''}",
            (filled.id,),
        ),
        Finding(
            "watermark",
            "wrong",
            f"messages that generation {filled.id} still needs lie below its watermark, where a build does not look",
            generation=filled.id,
            fix="set the watermark to 0",
        ),
    )


def check_leases(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Ranges held by workers that are dead."""
    dead = dead_leases(archive)
    what = "leases are held by workers that are gone; the next build takes them over"
    yield from from_rows(dead, Finding("leases", "leftover", what, fix="free them"), name="lease")


REMAINS: Final = ("chunks", "embed_outcomes", "scope_members", "embed_watermark", "embed_coverage", "embed_leases")


def check_pruned(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Nothing is left of a pruned generation; no vec0 table is there without a generation."""
    tables = vec_tables(archive)
    pruned = {generation.id for generation in all_generations(archive) if generation.is_pruned}
    for generation_id in sorted(pruned):
        left = [
            table
            for table in REMAINS
            if archive.scalar(f"SELECT 1 FROM {table} WHERE generation_id = ? LIMIT 1", (generation_id,)) is not None
        ]
        left += [f"vec_{generation_id}"] * (generation_id in tables)
        if left:
            what = f"the pruning of generation {generation_id} did not come to its end"
            examples = tuple(left[:EXAMPLES])
            yield Finding("pruning", "leftover", what, len(left), examples, generation_id, "finish it")
    known = {generation.id for generation in all_generations(archive)}
    yield from from_rows(
        ((f"vec_{i}",) for i in sorted(tables - known)),
        Finding(
            "coarse_index_unknown", "leftover", "coarse indexes are of generations that do not exist", fix="drop them"
        ),
        name="table",
    )


def vec_tables(archive: Archive) -> set[int]:
    """Generations that have a vec0 table, or a part of one: while it is there, none can be made."""
    names = archive.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'vec_[0-9]*'")
    return {int(found[1]) for (name,) in names if (found := re.fullmatch(r"vec_(\d+)(_.*)?", str(name)))}


def check_deleted(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """What is left of deleted messages; search never shows it."""
    yield from from_rows(
        archive.stream(
            "SELECT d.id FROM messages d INDEXED BY messages_deleted WHERE d.deleted_at IS NOT NULL"
            " AND (EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.message_id = d.id)"
            " OR EXISTS (SELECT 1 FROM chunks c WHERE c.message_id = d.id))"
        ),
        Finding(
            "deleted",
            "leftover",
            "deleted messages still have vectors or outcomes; the next build collects them",
            fix="collect them",
        ),
    )


# Text index ----------------------------------------------------------------------------------------------------------


def check_text_index(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """Every message is in the text index, or noted as to be indexed; and nothing else is."""
    yield from from_rows(
        archive.stream("SELECT message_id FROM fulltext_stale"),
        Finding(
            "text_stale",
            "leftover",
            "messages wait to be indexed for search by words, or taken out of it; the next import or build does it",
            fix="index them",
        ),
    )
    # of a contentless table this one has a row a message
    yield from from_rows(
        archive.stream(TEXT_MISSING),
        Finding("text_missing", "wrong", "messages are missing from the text index", fix="index them"),
    )
    yield from from_rows(
        archive.stream(TEXT_GONE),
        Finding("text_gone", "leftover", "entries of the text index are of messages that are gone", fix="delete them"),
    )


def check_words(archive: Archive, _on_step: OnStep) -> Iterator[Finding]:
    """The text index has as many words as it lists, some of each message that has any, and finds them."""
    fix = "index all messages again"
    words, is_lost = 0, False
    totals: Counter[int] = Counter()  # of messages, then of words by column
    emptied: list[tuple[int]] = []
    try:
        archive.execute(WORDS_OF_INDEX)
        for number, (word, count) in enumerate(archive.stream("SELECT term, cnt FROM temp.fulltext_terms")):
            words += count
            if number % _LOOKED_UP == 0:
                is_lost |= archive.row("SELECT 1 FROM temp.fulltext_terms WHERE term = ?", (word,)) is None
        tokens = tokenizer_of(archive)
        for message_id, sizes in archive.stream("SELECT id, CAST(sz AS BLOB) FROM messages_fts_docsize"):
            totals.update(dict(enumerate((1, *_varints(sizes)))))
            texts = None if any(_varints(sizes)) else texts_to_index(archive, message_id)
            if texts is not None and any(map(tokens, texts.folded())):
                emptied.append((message_id,))
        # what a ranking goes by: FTS5 calls the file malformed where it is cut off
        noted = archive.scalar("SELECT CAST(block AS BLOB) FROM messages_fts_data WHERE id = 1")
    except UNREADABLE as error:
        yield Finding("text_index", "damage", f"the text index cannot be read ({error})", 1, fix=fix)
        return
    what = "messages have words, and the text index has none of them"
    yield from from_rows(emptied, Finding("text_index", "wrong", what, fix=fix))
    listed = totals.total() - totals[0]
    if words != listed or is_lost:
        what = f"the text index lists {listed:,} words and has {words:,}{', not all of which it finds' * is_lost}"
        yield Finding("text_index", "wrong", what, 1, fix=fix)
    if totals[0] and list(_varints(noted or b"")) != [totals[column] for column in sorted(totals)]:
        yield Finding("text_index", "wrong", "the text index does not say how many words it lists", 1, fix=fix)


def _varints(stored: bytes) -> Iterator[int]:
    """As SQLite writes numbers, of up to eight bytes."""
    value = 0
    for byte in stored:
        value = value << 7 | byte & 127
        if byte < 128:
            yield value
            value = 0


TEXT_MISSING: Final = (
    "SELECT m.id FROM messages m WHERE NOT EXISTS (SELECT 1 FROM messages_fts_docsize d WHERE d.id = m.id)"
    " AND NOT EXISTS (SELECT 1 FROM fulltext_stale s WHERE s.message_id = m.id)"
)
TEXT_GONE: Final = (
    "SELECT d.id FROM messages_fts_docsize d WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = d.id)"
    " AND NOT EXISTS (SELECT 1 FROM fulltext_stale s WHERE s.message_id = d.id)"
)


DERIVED_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("derived rows", check_strays),
    ("states of generations", check_states),
    ("pruned generations", check_pruned),
    ("stamps", check_stamps),
    ("outcomes", check_outcomes),
    ("scopes", check_scopes),
    ("counters", check_counters),
    ("trash and spam", check_set_aside),
    ("the watermark", check_watermark),
    ("leases", check_leases),
    ("deleted messages", check_deleted),
    ("the text index", check_text_index),
    ("words of the text index", check_words),
)
