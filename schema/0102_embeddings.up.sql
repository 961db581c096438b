-- Embeddings: what was embedded with what, how much of the mail that covers, and the rules that keep it true whoever writes.

-- Models and generations ---------------------------------------------------------------------------------------------

-- One row is a model whose vectors stand, or stood, in this archive.
CREATE TABLE models(
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL,
    weights_sha256  TEXT NOT NULL,           -- '' = not known yet: another program's, whose vectors were adopted
    converter       TEXT NOT NULL,           -- what made our model file of the weights: another one may give other vectors
    architecture    TEXT NOT NULL,
    dimension       INTEGER NOT NULL,
    pooling         TEXT NOT NULL,
    context_length  INTEGER NOT NULL,
    document_prefix TEXT NOT NULL,
    query_prefix    TEXT NOT NULL,
    licence         TEXT NOT NULL,
    path            TEXT,                    -- where a model given by path was; NULL = from the registry
    added_at        INTEGER NOT NULL,
    UNIQUE(weights_sha256, converter, pooling, document_prefix, query_prefix)
) STRICT;

-- One row is one embedding of the archive under one fingerprint. Never deleted: an outcome or a bug report may name it.
CREATE TABLE generations(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    model_id      INTEGER NOT NULL REFERENCES models,
    dimension     INTEGER NOT NULL,
    space         TEXT NOT NULL,             -- vectors are comparable only where it is equal
    recipe        TEXT NOT NULL,             -- how text becomes chunks
    scope         TEXT NOT NULL DEFAULT '',  -- readable part of the fingerprint; '' = every message
    scope_after   INTEGER,                   -- sent_at >= this
    scope_before  INTEGER,                   -- sent_at < this
    canary        BLOB,                      -- float16 vector of a fixed text, made when the generation began
    state         TEXT NOT NULL CHECK(state IN ('building', 'active', 'retired', 'discarded')),
    created_at    INTEGER NOT NULL,
    activated_at  INTEGER,
    retired_at    INTEGER,
    retired_order INTEGER,                   -- the last one retired has the highest: seconds cannot tell
    pruned_at     INTEGER,                   -- its vectors are gone, or going
    changes          INTEGER NOT NULL DEFAULT 0,   -- grows with every vector that is written to it, whoever writes. (One that goes
                                                   -- leaves the others as good as they were.)
    served_changes   INTEGER,                -- changes when it last went out of use; NULL = it was never in use
    verified_at      INTEGER,                -- its last verification, which says something while changes is what it was then
    verified_changes INTEGER,
    verified_passed  INTEGER CHECK(verified_passed IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX generations_one_building ON generations(state) WHERE state = 'building';
CREATE UNIQUE INDEX generations_one_active ON generations(state) WHERE state = 'active';

-- One row is a source that a generation is limited to. None = no limit of that kind.
CREATE TABLE generation_sources(
    generation_id INTEGER NOT NULL REFERENCES generations,
    source_id     INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    PRIMARY KEY(generation_id, source_id)
) STRICT, WITHOUT ROWID;

-- One row is a message type that a generation is limited to. None = no limit of that kind.
CREATE TABLE generation_types(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_type  TEXT NOT NULL,
    PRIMARY KEY(generation_id, message_type)
) STRICT, WITHOUT ROWID;

-- One row is a message in the scope of a generation that has one. Kept by triggers, so that coverage can be.
CREATE TABLE scope_members(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_id    INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    PRIMARY KEY(generation_id, message_id)
) STRICT, WITHOUT ROWID;
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

-- What was embedded --------------------------------------------------------------------------------------------------

-- One row is what became of a message in a generation. The record; embed_gen is only the cursor over it.
CREATE TABLE embed_outcomes(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_id    INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    content_rev   INTEGER NOT NULL,          -- current only while it equals the message's
    recipe        TEXT NOT NULL,             -- 'p1:t256o32', 'msgvault-p1-111111:c1000:e1'
    outcome       TEXT NOT NULL CHECK(outcome IN ('embedded', 'blank', 'failed')),
    reason        TEXT CHECK((outcome = 'failed') = (reason IS NOT NULL)),
    attempts      INTEGER NOT NULL DEFAULT 1,
    at            INTEGER NOT NULL,
    is_stale      INTEGER NOT NULL DEFAULT 0,   -- the text has changed since. Decides nothing; makes the stale quick to find
    -- the text goes on where the chunks end, as the recipe says: 'p1:t256o32c64' has 64 chunks; msgvault has no number
    is_in_part    INTEGER NOT NULL AS (recipe GLOB 'p*:t*c*' OR recipe GLOB 'msgvault*:truncated'),
    PRIMARY KEY(generation_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX embed_outcomes_by_message ON embed_outcomes(message_id);
CREATE INDEX embed_outcomes_by_recipe ON embed_outcomes(generation_id, recipe);
CREATE INDEX embed_outcomes_in_part ON embed_outcomes(generation_id, message_id) WHERE is_in_part;
CREATE INDEX embed_outcomes_failed ON embed_outcomes(generation_id, message_id) WHERE outcome = 'failed';
CREATE INDEX embed_outcomes_stale ON embed_outcomes(generation_id, message_id) WHERE is_stale;

-- One row is the embeddable text of a message as it was embedded. Offsets of chunks are code points into it.
CREATE TABLE message_texts(
    message_id  INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    preparation TEXT NOT NULL,               -- the part of a recipe that makes the text: 'p1'
    text        TEXT NOT NULL,
    PRIMARY KEY(message_id, preparation)
) STRICT;

-- One row is one chunk: a span of the embeddable text with one vector.
CREATE TABLE chunks(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,       -- never reused: a cached index cannot confuse two chunks
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_id    INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    chunk_index   INTEGER NOT NULL,          -- dense, from 0
    char_start    INTEGER NOT NULL,
    char_end      INTEGER NOT NULL CHECK(char_end > char_start),
    text_hash     BLOB NOT NULL,             -- 16 bytes: equal text in a generation is embedded once
    embedded_at   INTEGER NOT NULL,
    UNIQUE(generation_id, message_id, chunk_index)
) STRICT;
CREATE INDEX chunks_by_text ON chunks(generation_id, text_hash);
CREATE INDEX chunks_by_message ON chunks(message_id);

-- One row is one vector: float16, normalised, little-endian. The truth; the vec_<generation> tables are an index over it.
CREATE TABLE vectors(
    chunk_id  INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    embedding BLOB NOT NULL,
    checksum  INTEGER NOT NULL               -- CRC-32 of embedding: SQLite has no page checksums
) STRICT;

-- Vectors of texts that have changed since, of whatever generation: through the index on what is stale, then by key.
CREATE VIEW stale_vectors(chunk_id, generation_id, message_id) AS
SELECT c.id, c.generation_id, c.message_id FROM generations g
CROSS JOIN embed_outcomes o INDEXED BY embed_outcomes_stale ON o.generation_id = g.id AND o.is_stale
CROSS JOIN messages m ON m.id = o.message_id AND m.content_rev <> o.content_rev AND m.deleted_at IS NULL
CROSS JOIN chunks c ON c.generation_id = o.generation_id AND c.message_id = o.message_id;

-- One row is a row of vec_<generation> whose chunk is gone. Search joins with chunks and never shows it; the next build or
-- prune deletes it. No trigger may do that itself: a writer without sqlite-vec would fail.
CREATE TABLE vec_orphans(
    generation_id INTEGER NOT NULL,
    chunk_id      INTEGER NOT NULL,
    PRIMARY KEY(generation_id, chunk_id)
) STRICT, WITHOUT ROWID;

-- One row is a deleted message with vectors or outcomes: the next build takes them out. Kept by triggers: asking every
-- deleted message for what is left of it takes 0.7 ms a thousand of them, at each build.
CREATE TABLE deleted_with_remains(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE
) STRICT;
CREATE INDEX messages_deleted ON messages(id) WHERE deleted_at IS NOT NULL;

-- The work that is left, and who does it -----------------------------------------------------------------------------

-- "Which live message above this id has no stamp, or that of generation g" is one seek, in well under a millisecond at 10^6
-- messages; a scan takes 83.
CREATE INDEX messages_by_embed_gen ON messages(embed_gen, id) WHERE deleted_at IS NULL;

-- One row a generation: every message id at or below watermark_id has been swept. May only be wrong low.
CREATE TABLE embed_watermark(
    generation_id    INTEGER PRIMARY KEY REFERENCES generations,
    watermark_id     INTEGER NOT NULL,
    last_backstop_at INTEGER,                -- when its last backstop came to an end; NULL, or in the future = never: a new one needs its own first
    restamp_after    INTEGER                 -- stamps of ids above this are still to be renewed from the outcomes, after a
                                             -- rollback or a discard; NULL = none
) STRICT;

-- One row is one run of `embeddings build`: one worker.
CREATE TABLE embed_runs(
    id            INTEGER PRIMARY KEY,
    generation_id INTEGER NOT NULL REFERENCES generations,
    host          TEXT,                      -- with pid: who it is, so that others can see whether it still lives
    pid           INTEGER,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER,                   -- NULL: running, or killed
    embedded      INTEGER NOT NULL DEFAULT 0,
    blank         INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    recovered     INTEGER NOT NULL DEFAULT 0,   -- by the backstop
    chunks        INTEGER NOT NULL DEFAULT 0,
    tokens        INTEGER NOT NULL DEFAULT 0,
    seconds       REAL NOT NULL DEFAULT 0,
    outcome       TEXT CHECK(outcome IN ('complete', 'limited', 'interrupted', 'stopped'))   -- 'limited': with more to do
) STRICT;
CREATE INDEX embed_runs_by_generation ON embed_runs(generation_id);

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
    attempts       INTEGER NOT NULL DEFAULT 0,   -- workers that died over it, and it has not been seen since to be harmless
    heartbeat_at   INTEGER NOT NULL,         -- others only look whether it changes: clocks differ
    expires_at     INTEGER NOT NULL          -- by the clock of who wrote it, for people; decides nothing
) STRICT;
CREATE INDEX embed_leases_by_range ON embed_leases(generation_id, first_id);

-- One row in all: how many messages are live. Counting takes 73-162 ms at 10^6; this and embed_coverage 0.004.
CREATE TABLE live_count(
    id   INTEGER PRIMARY KEY CHECK(id = 1),
    live INTEGER NOT NULL
) STRICT;
INSERT INTO live_count SELECT 1, count(*) FROM messages WHERE deleted_at IS NULL;

-- One row is what a generation that is not pruned makes of the live messages in its scope: missing = live - embedded -
-- blank - failed. Outcomes count while they are current.
CREATE TABLE embed_coverage(
    generation_id INTEGER PRIMARY KEY REFERENCES generations,
    is_scoped     INTEGER NOT NULL,
    live          INTEGER NOT NULL,
    embedded      INTEGER NOT NULL DEFAULT 0,
    blank         INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    chunks        INTEGER NOT NULL DEFAULT 0    -- all of the generation's, current or not
) STRICT;

-- What is work -------------------------------------------------------------------------------------------------------

-- A change to an input of the embeddable text is work, in the transaction that makes it. Nothing else is: labels, flags
-- and dates are no inputs. Of what a message answers, that it does: then unmarked quotations at its end are none of it.
CREATE TRIGGER content_changed_header AFTER UPDATE OF subject, in_reply_to ON messages
WHEN old.subject IS NOT new.subject OR (old.in_reply_to IS NULL) <> (new.in_reply_to IS NULL)
BEGIN
    UPDATE messages SET content_rev = content_rev + 1, embed_gen = NULL WHERE id = new.id;
END;

CREATE TRIGGER content_changed_body_insert AFTER INSERT ON message_bodies
BEGIN
    UPDATE messages SET content_rev = content_rev + 1, embed_gen = NULL WHERE id = new.message_id;
END;

CREATE TRIGGER content_changed_body_update AFTER UPDATE ON message_bodies
WHEN old.body_text IS NOT new.body_text OR old.message_id <> new.message_id
BEGIN
    UPDATE messages SET content_rev = content_rev + 1, embed_gen = NULL WHERE id IN (old.message_id, new.message_id);
END;

CREATE TRIGGER content_changed_body_delete AFTER DELETE ON message_bodies
BEGIN
    UPDATE messages SET content_rev = content_rev + 1, embed_gen = NULL WHERE id = old.message_id;
END;

-- Whatever makes a message work lowers every watermark below it. Also where the stamp was NULL already: or an edit
-- between read and commit of a new message would be lost below the watermark.
CREATE TRIGGER work_appeared AFTER UPDATE OF content_rev, embed_gen, deleted_at ON messages
WHEN new.content_rev <> old.content_rev
  OR (old.embed_gen IS NOT NULL AND new.embed_gen IS NOT old.embed_gen)
  OR (new.deleted_at IS NULL AND old.deleted_at IS NOT NULL)
BEGIN
    UPDATE embed_watermark SET watermark_id = new.id - 1 WHERE watermark_id >= new.id;
END;

CREATE TRIGGER work_appeared_insert AFTER INSERT ON messages
BEGIN
    UPDATE embed_watermark SET watermark_id = new.id - 1 WHERE watermark_id >= new.id;
END;

-- An old revision that came back would make an old outcome current again.
CREATE TRIGGER content_rev_only_grows BEFORE UPDATE OF content_rev ON messages WHEN new.content_rev < old.content_rev
BEGIN
    SELECT RAISE(ABORT, 'content_rev only grows');
END;

-- Stamps -------------------------------------------------------------------------------------------------------------

-- A stamp without a current outcome would count a message as covered that is not.
CREATE TRIGGER stamp_needs_outcome BEFORE UPDATE OF embed_gen ON messages
WHEN new.embed_gen IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM embed_outcomes o
    WHERE o.generation_id = new.embed_gen AND o.message_id = new.id AND o.content_rev = new.content_rev)
BEGIN
    SELECT RAISE(ABORT, 'embed_gen needs a current outcome');
END;

CREATE TRIGGER stamp_needs_outcome_insert BEFORE INSERT ON messages WHEN new.embed_gen IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a new message has no outcome yet: embed_gen must be NULL');
END;

-- A stamp does not outlive what it stands for, whoever takes that away.
CREATE TRIGGER revision_clears_stamp AFTER UPDATE OF content_rev ON messages
WHEN new.content_rev <> old.content_rev AND new.embed_gen IS NOT NULL
BEGIN
    UPDATE messages SET embed_gen = NULL WHERE id = new.id;
END;

CREATE TRIGGER lost_outcome_clears_stamp AFTER DELETE ON embed_outcomes
BEGIN
    UPDATE messages SET embed_gen = NULL WHERE id = old.message_id AND embed_gen = old.generation_id;
END;

CREATE TRIGGER outdated_outcome_clears_stamp AFTER UPDATE OF generation_id, message_id, content_rev ON embed_outcomes
BEGIN
    UPDATE messages SET embed_gen = NULL WHERE id = old.message_id AND embed_gen = old.generation_id AND NOT EXISTS (
        SELECT 1 FROM embed_outcomes o WHERE o.generation_id = old.generation_id AND o.message_id = old.message_id
          AND o.content_rev = messages.content_rev);
END;

-- Outcomes, chunks and vectors ---------------------------------------------------------------------------------------

-- "Embedded" without chunks, or with a chunk that has no vector, would be a lie.
CREATE TRIGGER embedded_needs_vectors BEFORE INSERT ON embed_outcomes WHEN new.outcome = 'embedded' AND (
    NOT EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id)
    OR EXISTS (SELECT 1 FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id
               WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id AND v.chunk_id IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'an embedded outcome needs a vector for every chunk');
END;

CREATE TRIGGER embedded_needs_vectors_update BEFORE UPDATE OF outcome, content_rev ON embed_outcomes
WHEN new.outcome = 'embedded' AND (
    NOT EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id)
    OR EXISTS (SELECT 1 FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id
               WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id AND v.chunk_id IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'an embedded outcome needs a vector for every chunk');
END;

-- A vector of another length belongs to another space.
CREATE TRIGGER vector_has_dimension BEFORE INSERT ON vectors
WHEN length(new.embedding) IS NOT (
    SELECT 2 * g.dimension FROM chunks c JOIN generations g ON g.id = c.generation_id WHERE c.id = new.chunk_id)
BEGIN
    SELECT RAISE(ABORT, 'the vector does not have the dimension of its generation');
END;

CREATE TRIGGER vector_keeps_dimension BEFORE UPDATE ON vectors
WHEN length(new.embedding) IS NOT (
    SELECT 2 * g.dimension FROM chunks c JOIN generations g ON g.id = c.generation_id WHERE c.id = new.chunk_id)
BEGIN
    SELECT RAISE(ABORT, 'the vector does not have the dimension of its generation');
END;

-- Not only an UPDATE: REPLACE writes over a vector, too, and shows as an INSERT.
CREATE TRIGGER vector_written AFTER INSERT ON vectors
BEGIN
    UPDATE generations SET changes = changes + 1 WHERE id = (SELECT generation_id FROM chunks WHERE id = new.chunk_id);
END;

CREATE TRIGGER vector_rewritten AFTER UPDATE ON vectors
BEGIN
    UPDATE generations SET changes = changes + 1 WHERE id = (SELECT generation_id FROM chunks WHERE id = new.chunk_id);
END;

-- A vector that is said to be of another text.
CREATE TRIGGER chunk_rewritten AFTER UPDATE ON chunks
BEGIN
    UPDATE generations SET changes = changes + 1 WHERE id = new.generation_id;
END;

-- What a vector is attributed to never changes under it.
CREATE TRIGGER chunk_stays_in_generation BEFORE UPDATE ON chunks   -- not "OF id": that does not see "SET rowid = "
WHEN (new.id, new.generation_id, new.message_id) IS NOT (old.id, old.generation_id, old.message_id)
BEGIN
    SELECT RAISE(ABORT, 'a chunk belongs to its generation and its message for good');
END;

CREATE TRIGGER chunk_is_not_replaced BEFORE INSERT ON chunks
WHEN EXISTS (SELECT 1 FROM chunks WHERE id = new.id)
  OR EXISTS (SELECT 1 FROM chunks c WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id
             AND c.chunk_index = new.chunk_index)
BEGIN
    SELECT RAISE(ABORT, 'there is such a chunk: its vector would be the new one''s');
END;

CREATE TRIGGER chunk_is_not_replaced_by_update BEFORE UPDATE OF chunk_index ON chunks
WHEN new.chunk_index <> old.chunk_index AND EXISTS (
    SELECT 1 FROM chunks c WHERE c.generation_id = new.generation_id AND c.message_id = new.message_id
      AND c.chunk_index = new.chunk_index)
BEGIN
    SELECT RAISE(ABORT, 'there is such a chunk: its vector would be the new one''s');
END;

CREATE TRIGGER vector_stays_with_chunk BEFORE UPDATE ON vectors WHEN new.chunk_id <> old.chunk_id
BEGIN
    SELECT RAISE(ABORT, 'a vector belongs to its chunk for good');
END;

-- Vectors of two spaces in one generation could not be told apart. The one exception is an adopted generation whose model is
-- not known by its weights yet: it comes to be known once.
CREATE TRIGGER generation_keeps_space BEFORE UPDATE OF model_id, dimension, space ON generations
WHEN (new.model_id, new.dimension, new.space) IS NOT (old.model_id, old.dimension, old.space)
 AND (new.dimension <> old.dimension
      OR NOT EXISTS (SELECT 1 FROM models m WHERE m.id = old.model_id AND m.weights_sha256 = ''))
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
    DELETE FROM vectors WHERE chunk_id = old.id;   -- gone already, unless foreign keys are off
END;

CREATE TRIGGER vector_deleted AFTER DELETE ON vectors
BEGIN
    DELETE FROM chunks WHERE id = old.chunk_id;
END;

-- One that was reopened and given up again keeps its place in the order, and what it served with.
CREATE TRIGGER retirement_has_order AFTER UPDATE OF state ON generations WHEN new.state = 'retired' AND old.state = 'active'
BEGIN
    UPDATE generations SET retired_order = (SELECT coalesce(max(retired_order), 0) + 1 FROM generations),
        served_changes = changes WHERE id = new.id;
END;

-- What is never deleted or replaced ----------------------------------------------------------------------------------

CREATE TRIGGER generation_is_not_deleted BEFORE DELETE ON generations
BEGIN
    SELECT RAISE(ABORT, 'a generation is never deleted: vaultembed embeddings prune');
END;

-- By REPLACE the generation that is active, or being built, would go.
CREATE TRIGGER generation_is_not_replaced BEFORE INSERT ON generations WHEN EXISTS (
    SELECT 1 FROM generations g WHERE g.id = new.id OR (g.state = new.state AND new.state IN ('building', 'active')))
BEGIN
    SELECT RAISE(ABORT, 'there is such a generation');
END;

CREATE TRIGGER generation_is_not_replaced_by_update BEFORE UPDATE OF state ON generations
WHEN new.state <> old.state AND new.state IN ('building', 'active') AND EXISTS (
    SELECT 1 FROM generations g WHERE g.state = new.state AND g.id <> old.id)
BEGIN
    SELECT RAISE(ABORT, 'another generation is in that state');
END;

CREATE TRIGGER generation_in_use_is_not_pruned BEFORE UPDATE OF state, pruned_at ON generations
WHEN new.pruned_at IS NOT NULL AND new.state IN ('building', 'active')
BEGIN
    SELECT RAISE(ABORT, 'a generation that is pruned has no vectors to use');
END;

CREATE TRIGGER generation_stays_pruned BEFORE UPDATE OF pruned_at ON generations
WHEN old.pruned_at IS NOT NULL AND new.pruned_at IS NULL
BEGIN
    SELECT RAISE(ABORT, 'the vectors of this generation are gone, or going');
END;

CREATE TRIGGER generation_keeps_id BEFORE UPDATE ON generations WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER model_keeps_id BEFORE UPDATE ON models WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER model_in_use BEFORE DELETE ON models WHEN EXISTS (SELECT 1 FROM generations WHERE model_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'a generation was made with this model');
END;

CREATE TRIGGER model_is_not_replaced AFTER INSERT ON models
WHEN EXISTS (SELECT 1 FROM generations WHERE model_id NOT IN (SELECT id FROM models))
BEGIN
    SELECT RAISE(ABORT, 'a generation was made with the model that this would replace');
END;

CREATE TRIGGER model_is_not_replaced_by_update AFTER UPDATE ON models
WHEN EXISTS (SELECT 1 FROM generations WHERE model_id NOT IN (SELECT id FROM models))
BEGIN
    SELECT RAISE(ABORT, 'a generation was made with the model that this would replace');
END;

-- Without it, the scope would be every source.
CREATE TRIGGER source_in_scope BEFORE DELETE ON sources WHEN EXISTS (
    SELECT 1 FROM generation_sources s JOIN generations g ON g.id = s.generation_id
    WHERE s.source_id = old.id AND g.pruned_at IS NULL)
BEGIN
    SELECT RAISE(ABORT, 'a generation is limited to this source');
END;

-- What foreign keys do, for writers that have them off. The message is gone by now, so that nothing here is counted twice.
CREATE TRIGGER message_deleted_embeddings AFTER DELETE ON messages
BEGIN
    DELETE FROM chunks WHERE message_id = old.id;
    DELETE FROM embed_outcomes WHERE message_id = old.id;
    DELETE FROM message_texts WHERE message_id = old.id;
    DELETE FROM scope_members WHERE message_id = old.id;
    DELETE FROM deleted_with_remains WHERE message_id = old.id;
END;

CREATE TRIGGER source_deleted_scopes AFTER DELETE ON sources
BEGIN
    DELETE FROM generation_sources WHERE source_id = old.id;
END;

-- One row in all: the highest id, and the highest revision, of a message that is gone. A message that comes back by its id
-- begins above it: a build that has read the old one would stamp the new one.
CREATE TABLE gone_messages(
    id                  INTEGER PRIMARY KEY CHECK(id = 1),
    highest_id          INTEGER NOT NULL,
    highest_content_rev INTEGER NOT NULL
) STRICT;
INSERT INTO gone_messages VALUES (1, 0, 0);

CREATE TRIGGER gone_message_remembered AFTER DELETE ON messages
BEGIN
    UPDATE gone_messages SET highest_id = max(highest_id, old.id), highest_content_rev = max(highest_content_rev, old.content_rev);
END;

CREATE TRIGGER content_rev_of_message_that_comes_back AFTER INSERT ON messages
WHEN EXISTS (SELECT 1 FROM gone_messages WHERE new.id <= highest_id AND new.content_rev <= highest_content_rev)
BEGIN
    UPDATE messages SET content_rev = (SELECT highest_content_rev + 1 FROM gone_messages) WHERE id = new.id;
END;

CREATE TRIGGER gone_messages_stay BEFORE DELETE ON gone_messages
BEGIN
    SELECT RAISE(ABORT, 'an old content_rev could come back');
END;

CREATE TRIGGER gone_messages_are_one_row BEFORE INSERT ON gone_messages
BEGIN
    SELECT RAISE(ABORT, 'an old content_rev could come back');
END;

CREATE TRIGGER gone_messages_only_grow BEFORE UPDATE ON gone_messages
WHEN new.id <> old.id OR new.highest_id < old.highest_id OR new.highest_content_rev < old.highest_content_rev
BEGIN
    SELECT RAISE(ABORT, 'an old content_rev could come back');
END;

-- Counters -----------------------------------------------------------------------------------------------------------

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

-- Members of scopes --------------------------------------------------------------------------------------------------

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

-- What is left of deleted messages -----------------------------------------------------------------------------------

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
