-- The lifecycle of embeddings: scopes, leases, counters, and what keeps the derived parts true.

ALTER TABLE generations ADD COLUMN scope TEXT NOT NULL DEFAULT '';  -- readable part of the fingerprint; '' = every message
ALTER TABLE generations ADD COLUMN scope_after INTEGER;             -- sent_at >= this
ALTER TABLE generations ADD COLUMN scope_before INTEGER;            -- sent_at < this
ALTER TABLE generations ADD COLUMN canary BLOB;                     -- float16 vector of a fixed text, made when the generation began
ALTER TABLE generations ADD COLUMN pruned_at INTEGER;               -- its vectors are gone, or going
ALTER TABLE generations ADD COLUMN retired_order INTEGER;           -- the last one retired has the highest: seconds cannot tell
-- After the way down and up again: one without its vec table was pruned, and must not be rolled back to.
UPDATE generations SET pruned_at = coalesce(retired_at, created_at)
WHERE state IN ('retired', 'discarded') AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'vec_' || generations.id);

UPDATE generations SET retired_order = (
    SELECT count(*) FROM generations o WHERE o.state = 'retired'
      AND (o.retired_at, o.id) <= (generations.retired_at, generations.id))
WHERE state = 'retired';

-- When the last backstop of this generation came to its end; NULL = never. Per generation: a new one needs its own first.
ALTER TABLE embed_watermark ADD COLUMN last_backstop_at INTEGER;
-- Stamps of ids above this are still to be renewed from the outcomes, after a rollback or a discard; NULL = none.
ALTER TABLE embed_watermark ADD COLUMN restamp_after INTEGER;

-- After the way down and up: where the renewal of stamps was to go on is not known any more.
UPDATE embed_watermark SET watermark_id = 0, restamp_after = 0;

-- True once the message's text has changed since. By itself it decides nothing; it makes the stale ones quick to find.
ALTER TABLE embed_outcomes ADD COLUMN is_stale INTEGER NOT NULL DEFAULT 0;
UPDATE embed_outcomes SET is_stale = 1
WHERE content_rev <> (SELECT content_rev FROM messages m WHERE m.id = embed_outcomes.message_id);
CREATE INDEX embed_outcomes_stale ON embed_outcomes(generation_id, message_id) WHERE is_stale;

-- A run is one worker: who it is, so that others can see whether it still lives.
ALTER TABLE embed_runs ADD COLUMN host TEXT;
ALTER TABLE embed_runs ADD COLUMN pid INTEGER;
ALTER TABLE embed_runs ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;   -- by the backstop

-- One row is a source, or a message type, that a generation is limited to. None of a kind = no limit of that kind.
CREATE TABLE generation_sources(
    generation_id INTEGER NOT NULL REFERENCES generations,
    source_id     INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    PRIMARY KEY(generation_id, source_id)
) WITHOUT ROWID;
CREATE TABLE generation_types(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_type  TEXT NOT NULL,
    PRIMARY KEY(generation_id, message_type)
) WITHOUT ROWID;

-- One row is a message in the scope of a generation that has one. Kept by triggers, so that coverage can be.
CREATE TABLE scope_members(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_id    INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    PRIMARY KEY(generation_id, message_id)
) WITHOUT ROWID;
CREATE INDEX scope_members_by_message ON scope_members(message_id);

-- The definition of scope_members.
CREATE VIEW messages_in_scope(generation_id, message_id) AS
SELECT g.id, m.id FROM messages m CROSS JOIN generations g
WHERE g.scope <> '' AND g.pruned_at IS NULL
  AND (g.scope_after IS NULL OR m.sent_at >= g.scope_after)
  AND (g.scope_before IS NULL OR m.sent_at < g.scope_before)
  AND (NOT EXISTS (SELECT 1 FROM generation_types t WHERE t.generation_id = g.id)
       OR EXISTS (SELECT 1 FROM generation_types t WHERE t.generation_id = g.id AND t.message_type = m.message_type))
  AND (NOT EXISTS (SELECT 1 FROM generation_sources s WHERE s.generation_id = g.id)
       OR EXISTS (SELECT 1 FROM generation_sources s JOIN message_sources x ON x.source_id = s.source_id
                  WHERE s.generation_id = g.id AND x.message_id = m.id));

-- One row is a range of ids that one worker is embedding. Without an owner it is free: left by a worker that died, or split
-- off a range whose workers keep dying.
CREATE TABLE embed_leases(
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    generation_id  INTEGER NOT NULL REFERENCES generations,
    first_id       INTEGER NOT NULL,
    last_id        INTEGER NOT NULL CHECK(last_id >= first_id),
    owner          TEXT,                     -- of the worker, unlike any other's
    run_id         INTEGER REFERENCES embed_runs,
    host           TEXT NOT NULL,
    boot_id        TEXT NOT NULL,            -- with pid and pid_started_at: a process that was, whatever has its number now
    pid            INTEGER NOT NULL,
    pid_started_at TEXT NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,   -- workers that died over it since it last came forward
    heartbeat_at   INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL
);
CREATE INDEX embed_leases_by_range ON embed_leases(generation_id, first_id);

-- Live messages, and what a generation makes of those in its scope. Counting takes 73-162 ms at 10^6; this 0.004.
CREATE TABLE live_count(
    id   INTEGER PRIMARY KEY CHECK(id = 1),
    live INTEGER NOT NULL
);
-- missing = live - embedded - blank - failed. Outcomes count while they are current.
CREATE TABLE embed_coverage(
    generation_id INTEGER PRIMARY KEY REFERENCES generations,
    is_scoped     INTEGER NOT NULL,
    live          INTEGER NOT NULL,
    embedded      INTEGER NOT NULL DEFAULT 0,
    blank         INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    chunks        INTEGER NOT NULL DEFAULT 0    -- all of the generation's, current or not
);

-- One row is a row of vec_<generation> whose chunk is gone. Search joins with chunks and never shows it; the next build or
-- prune deletes it. No trigger may do that itself: a writer without sqlite-vec would fail.
CREATE TABLE vec_orphans(
    generation_id INTEGER NOT NULL,
    chunk_id      INTEGER NOT NULL,
    PRIMARY KEY(generation_id, chunk_id)
) WITHOUT ROWID;

-- One row is a deleted message with vectors or outcomes: the next build takes them out. Kept by triggers: asking every
-- deleted message for what is left of it takes 0.7 ms a thousand of them, at each build.
CREATE TABLE deleted_with_remains(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE
);

CREATE INDEX messages_deleted ON messages(id) WHERE deleted_at IS NOT NULL;
CREATE INDEX embed_outcomes_failed ON embed_outcomes(generation_id, message_id) WHERE outcome = 'failed';
CREATE INDEX embed_outcomes_by_recipe ON embed_outcomes(generation_id, recipe);

-- Vectors of texts that have changed since, of whatever generation: through the index on what is stale, then by key.
CREATE VIEW stale_vectors(chunk_id, generation_id, message_id) AS
SELECT c.id, c.generation_id, c.message_id FROM generations g
CROSS JOIN embed_outcomes o INDEXED BY embed_outcomes_stale ON o.generation_id = g.id AND o.is_stale
CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev <> o.content_rev AND m.deleted_at IS NULL
CROSS JOIN chunks c ON c.generation_id = o.generation_id AND c.message_id = o.message_id;

INSERT INTO deleted_with_remains SELECT m.id FROM messages m INDEXED BY messages_deleted WHERE m.deleted_at IS NOT NULL
  AND (EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.message_id = m.id)
       OR EXISTS (SELECT 1 FROM chunks c WHERE c.message_id = m.id));
INSERT INTO live_count SELECT 1, count(*) FROM messages WHERE deleted_at IS NULL;
INSERT INTO embed_coverage
SELECT g.id, 0, (SELECT live FROM live_count),
       (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev
        WHERE o.generation_id = g.id AND m.deleted_at IS NULL AND o.outcome = 'embedded'),
       (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev
        WHERE o.generation_id = g.id AND m.deleted_at IS NULL AND o.outcome = 'blank'),
       (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id AND m.content_rev = o.content_rev
        WHERE o.generation_id = g.id AND m.deleted_at IS NULL AND o.outcome = 'failed'),
       (SELECT count(*) FROM chunks c WHERE c.generation_id = g.id)
FROM generations g WHERE g.pruned_at IS NULL;

-- Counters ----------------------------------------------------------------------------------------------------------

CREATE TRIGGER coverage_of_new_generation AFTER INSERT ON generations
BEGIN
    INSERT INTO embed_coverage(generation_id, is_scoped, live)
    VALUES (new.id, new.scope <> '', CASE WHEN new.scope <> '' THEN 0 ELSE (SELECT live FROM live_count) END);
END;

CREATE TRIGGER coverage_message_insert AFTER INSERT ON messages WHEN new.deleted_at IS NULL
BEGIN
    UPDATE live_count SET live = live + 1;
    UPDATE embed_coverage SET live = live + 1 WHERE NOT is_scoped;
END;

-- One trigger for all that an UPDATE may change at once: the counters as of the scopes that were, then the scopes, whose own
-- triggers count what comes and goes as the message is now. Two triggers would fire in whatever order.
CREATE TRIGGER coverage_message_update AFTER UPDATE OF deleted_at, content_rev, sent_at, message_type ON messages
WHEN (new.deleted_at IS NULL) <> (old.deleted_at IS NULL) OR new.content_rev <> old.content_rev
  OR new.sent_at IS NOT old.sent_at OR new.message_type <> old.message_type
BEGIN
    UPDATE live_count SET live = live + (new.deleted_at IS NULL) - (old.deleted_at IS NULL);
    UPDATE embed_coverage SET
        live = live + (new.deleted_at IS NULL) - (old.deleted_at IS NULL),
        embedded = embedded + coalesce((
            SELECT (o.outcome = 'embedded') * ((new.deleted_at IS NULL AND o.content_rev = new.content_rev)
                                              - (old.deleted_at IS NULL AND o.content_rev = old.content_rev))
            FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id AND o.message_id = new.id), 0),
        blank = blank + coalesce((
            SELECT (o.outcome = 'blank') * ((new.deleted_at IS NULL AND o.content_rev = new.content_rev)
                                           - (old.deleted_at IS NULL AND o.content_rev = old.content_rev))
            FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id AND o.message_id = new.id), 0),
        failed = failed + coalesce((
            SELECT (o.outcome = 'failed') * ((new.deleted_at IS NULL AND o.content_rev = new.content_rev)
                                            - (old.deleted_at IS NULL AND o.content_rev = old.content_rev))
            FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id AND o.message_id = new.id), 0)
    WHERE NOT is_scoped OR EXISTS (
        SELECT 1 FROM scope_members s WHERE s.generation_id = embed_coverage.generation_id AND s.message_id = new.id);
    UPDATE embed_outcomes SET is_stale = 1 WHERE new.content_rev <> old.content_rev
      AND message_id = new.id AND generation_id IN (SELECT id FROM generations);
    DELETE FROM scope_members WHERE (new.sent_at IS NOT old.sent_at OR new.message_type <> old.message_type)
      AND message_id = new.id AND generation_id NOT IN (
        SELECT generation_id FROM messages_in_scope WHERE message_id = new.id);
    INSERT INTO scope_members SELECT * FROM messages_in_scope
    WHERE (new.sent_at IS NOT old.sent_at OR new.message_type <> old.message_type) AND message_id = new.id
      AND EXISTS (SELECT 1 FROM generations WHERE scope <> '') ON CONFLICT DO NOTHING;
END;

-- Before, while the outcomes are still there; when their own deletion follows, they find no message to be current for.
CREATE TRIGGER coverage_message_delete BEFORE DELETE ON messages WHEN old.deleted_at IS NULL
BEGIN
    UPDATE live_count SET live = live - 1;
    UPDATE embed_coverage SET
        live = live - 1,
        embedded = embedded - (SELECT count(*) FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id
            AND o.message_id = old.id AND o.content_rev = old.content_rev AND o.outcome = 'embedded'),
        blank = blank - (SELECT count(*) FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id
            AND o.message_id = old.id AND o.content_rev = old.content_rev AND o.outcome = 'blank'),
        failed = failed - (SELECT count(*) FROM embed_outcomes o WHERE o.generation_id = embed_coverage.generation_id
            AND o.message_id = old.id AND o.content_rev = old.content_rev AND o.outcome = 'failed')
    WHERE NOT is_scoped OR EXISTS (
        SELECT 1 FROM scope_members s WHERE s.generation_id = embed_coverage.generation_id AND s.message_id = old.id);
END;

CREATE TRIGGER coverage_outcome_insert AFTER INSERT ON embed_outcomes
BEGIN
    UPDATE embed_coverage SET embedded = embedded + (new.outcome = 'embedded'), blank = blank + (new.outcome = 'blank'),
        failed = failed + (new.outcome = 'failed')
    WHERE generation_id = new.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = new.message_id AND m.deleted_at IS NULL AND m.content_rev = new.content_rev)
      AND (NOT is_scoped OR EXISTS (
          SELECT 1 FROM scope_members s WHERE s.generation_id = new.generation_id AND s.message_id = new.message_id));
END;

CREATE TRIGGER coverage_outcome_delete AFTER DELETE ON embed_outcomes
BEGIN
    UPDATE embed_coverage SET embedded = embedded - (old.outcome = 'embedded'), blank = blank - (old.outcome = 'blank'),
        failed = failed - (old.outcome = 'failed')
    WHERE generation_id = old.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = old.message_id AND m.deleted_at IS NULL AND m.content_rev = old.content_rev)
      AND (NOT is_scoped OR EXISTS (
          SELECT 1 FROM scope_members s WHERE s.generation_id = old.generation_id AND s.message_id = old.message_id));
END;

CREATE TRIGGER coverage_outcome_update AFTER UPDATE ON embed_outcomes
BEGIN
    UPDATE embed_coverage SET embedded = embedded - (old.outcome = 'embedded'), blank = blank - (old.outcome = 'blank'),
        failed = failed - (old.outcome = 'failed')
    WHERE generation_id = old.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = old.message_id AND m.deleted_at IS NULL AND m.content_rev = old.content_rev)
      AND (NOT is_scoped OR EXISTS (
          SELECT 1 FROM scope_members s WHERE s.generation_id = old.generation_id AND s.message_id = old.message_id));
    UPDATE embed_coverage SET embedded = embedded + (new.outcome = 'embedded'), blank = blank + (new.outcome = 'blank'),
        failed = failed + (new.outcome = 'failed')
    WHERE generation_id = new.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = new.message_id AND m.deleted_at IS NULL AND m.content_rev = new.content_rev)
      AND (NOT is_scoped OR EXISTS (
          SELECT 1 FROM scope_members s WHERE s.generation_id = new.generation_id AND s.message_id = new.message_id));
END;

CREATE TRIGGER coverage_member_insert AFTER INSERT ON scope_members
BEGIN
    UPDATE embed_coverage SET
        live = live + 1,
        embedded = embedded + (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = new.generation_id AND o.message_id = new.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'embedded'),
        blank = blank + (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = new.generation_id AND o.message_id = new.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'blank'),
        failed = failed + (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = new.generation_id AND o.message_id = new.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'failed')
    WHERE generation_id = new.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = new.message_id AND m.deleted_at IS NULL);
    -- a message that comes into scope is work
    UPDATE embed_watermark SET watermark_id = new.message_id - 1
    WHERE generation_id = new.generation_id AND watermark_id >= new.message_id;
END;

CREATE TRIGGER coverage_member_delete AFTER DELETE ON scope_members
BEGIN
    UPDATE embed_coverage SET
        live = live - 1,
        embedded = embedded - (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = old.generation_id AND o.message_id = old.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'embedded'),
        blank = blank - (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = old.generation_id AND o.message_id = old.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'blank'),
        failed = failed - (SELECT count(*) FROM embed_outcomes o JOIN messages m ON m.id = o.message_id
            WHERE o.generation_id = old.generation_id AND o.message_id = old.message_id
              AND o.content_rev = m.content_rev AND o.outcome = 'failed')
    WHERE generation_id = old.generation_id
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = old.message_id AND m.deleted_at IS NULL);
END;

-- A stamp does not outlive what it stands for; a deleted outcome clears it likewise.
CREATE TRIGGER outdated_outcome_clears_stamp AFTER UPDATE OF generation_id, message_id, content_rev ON embed_outcomes
BEGIN
    UPDATE messages SET embed_gen = NULL WHERE id = old.message_id AND embed_gen = old.generation_id AND NOT EXISTS (
        SELECT 1 FROM embed_outcomes o WHERE o.generation_id = old.generation_id AND o.message_id = old.message_id
          AND o.content_rev = messages.content_rev);
END;

-- Scope -------------------------------------------------------------------------------------------------------------

CREATE TRIGGER scope_message_insert AFTER INSERT ON messages WHEN EXISTS (SELECT 1 FROM generations WHERE scope <> '')
BEGIN
    INSERT INTO scope_members SELECT * FROM messages_in_scope WHERE message_id = new.id ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER scope_source_insert AFTER INSERT ON message_sources WHEN EXISTS (SELECT 1 FROM generation_sources)
BEGIN
    INSERT INTO scope_members SELECT * FROM messages_in_scope WHERE message_id = new.message_id ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER scope_source_update AFTER UPDATE OF source_id, message_id ON message_sources
WHEN EXISTS (SELECT 1 FROM generation_sources)
BEGIN
    DELETE FROM scope_members WHERE message_id = old.message_id AND generation_id NOT IN (
        SELECT generation_id FROM messages_in_scope WHERE message_id = old.message_id);
    INSERT INTO scope_members SELECT * FROM messages_in_scope WHERE message_id = new.message_id ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER scope_source_delete AFTER DELETE ON message_sources WHEN EXISTS (SELECT 1 FROM generation_sources)
BEGIN
    DELETE FROM scope_members WHERE message_id = old.message_id AND generation_id NOT IN (
        SELECT generation_id FROM messages_in_scope WHERE message_id = old.message_id);
END;

-- One that was reopened and given up again keeps its place in the order.
CREATE TRIGGER retirement_has_order AFTER UPDATE OF state ON generations WHEN new.state = 'retired' AND old.state = 'active'
BEGIN
    UPDATE generations SET retired_order = (SELECT coalesce(max(retired_order), 0) + 1 FROM generations) WHERE id = new.id;
END;

-- Chunks and vectors ------------------------------------------------------------------------------------------------

-- Insertion is guarded already. What a vector is attributed to never changes under it.
CREATE TRIGGER vector_keeps_dimension BEFORE UPDATE ON vectors
WHEN length(new.embedding) IS NOT (
    SELECT 2 * g.dimension FROM chunks c JOIN generations g ON g.id = c.generation_id WHERE c.id = new.chunk_id)
BEGIN
    SELECT RAISE(ABORT, 'the vector does not have the dimension of its generation');
END;

CREATE TRIGGER chunk_stays_in_generation BEFORE UPDATE OF id, generation_id, message_id ON chunks
WHEN (new.id, new.generation_id, new.message_id) IS NOT (old.id, old.generation_id, old.message_id)
BEGIN
    SELECT RAISE(ABORT, 'a chunk belongs to its generation and its message for good');
END;

CREATE TRIGGER generation_keeps_space BEFORE UPDATE OF model_id, dimension, space ON generations
WHEN (new.model_id, new.dimension, new.space) IS NOT (old.model_id, old.dimension, old.space)
BEGIN
    SELECT RAISE(ABORT, 'the model and the space of a generation never change: make a new one');
END;

CREATE TRIGGER chunk_inserted AFTER INSERT ON chunks
BEGIN
    UPDATE embed_coverage SET chunks = chunks + 1 WHERE generation_id = new.generation_id;
END;

-- "Embedded" does not outlive its chunks, whoever deletes one.
CREATE TRIGGER chunk_deleted AFTER DELETE ON chunks
BEGIN
    UPDATE embed_coverage SET chunks = chunks - 1 WHERE generation_id = old.generation_id;
    INSERT INTO vec_orphans SELECT old.generation_id, old.id
    WHERE EXISTS (SELECT 1 FROM embed_coverage WHERE generation_id = old.generation_id) ON CONFLICT DO NOTHING;
    DELETE FROM embed_outcomes
    WHERE generation_id = old.generation_id AND message_id = old.message_id AND outcome = 'embedded';
END;

-- An inserted outcome is guarded already.
CREATE TRIGGER embedded_needs_vectors_update BEFORE UPDATE OF outcome, content_rev ON embed_outcomes
WHEN new.outcome = 'embedded' AND (
    NOT EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id)
    OR EXISTS (SELECT 1 FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id
               WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id AND v.chunk_id IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'an embedded outcome needs a vector for every chunk');
END;

CREATE TRIGGER remains_of_deleted AFTER UPDATE OF deleted_at ON messages
WHEN (new.deleted_at IS NULL) <> (old.deleted_at IS NULL)
BEGIN
    DELETE FROM deleted_with_remains WHERE message_id = new.id;
    INSERT INTO deleted_with_remains SELECT new.id WHERE new.deleted_at IS NOT NULL
      AND (EXISTS (SELECT 1 FROM embed_outcomes o WHERE o.message_id = new.id)
           OR EXISTS (SELECT 1 FROM chunks c WHERE c.message_id = new.id));
END;

CREATE TRIGGER remains_chunk_insert AFTER INSERT ON chunks
WHEN EXISTS (SELECT 1 FROM messages m WHERE m.id = new.message_id AND m.deleted_at IS NOT NULL)
BEGIN
    INSERT INTO deleted_with_remains VALUES (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER remains_outcome_insert AFTER INSERT ON embed_outcomes
WHEN EXISTS (SELECT 1 FROM messages m WHERE m.id = new.message_id AND m.deleted_at IS NOT NULL)
BEGIN
    INSERT INTO deleted_with_remains VALUES (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER vector_deleted AFTER DELETE ON vectors
BEGIN
    DELETE FROM chunks WHERE id = old.chunk_id;
END;
