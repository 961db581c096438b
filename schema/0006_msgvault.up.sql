-- Moving in from msgvault: its archives as sources, and its generations as generations here.

-- SQLite has no other way to change a CHECK but to copy the table, and with it all that refers to it.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''eml'')', '''eml'', ''msgvault'')') WHERE type = 'table' AND name = 'sources';
UPDATE sqlite_schema SET sql = replace(sql, '''bcc'')', '''bcc'', ''mention'')')
WHERE type = 'table' AND name = 'message_recipients';
PRAGMA writable_schema = RESET;

-- After the way down and up again.
UPDATE sources SET kind = 'msgvault' WHERE kind = 'eml' AND EXISTS (
    SELECT 1 FROM message_sources x WHERE x.source_id = sources.id
      AND x.locator = substr(identifier, 1, instr(identifier, '#')) || x.source_key);

-- One row is one message of a msgvault archive as it was when last read, so that an unchanged one is passed over.
CREATE TABLE msgvault_messages(
    source_id   INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    source_key  TEXT NOT NULL,            -- as in message_sources
    digest      BLOB NOT NULL,            -- 16 bytes over all that is taken over of it
    content_rev INTEGER NOT NULL,         -- of the message when it was written: an adopted vector is of that text
    PRIMARY KEY(source_id, source_key)
) WITHOUT ROWID;

-- One row is a generation that was made by msgvault. Its vectors are searched with, and added to, only once a model here
-- has been found to give the same ones.
CREATE TABLE adopted_generations(
    generation_id     INTEGER PRIMARY KEY REFERENCES generations,
    origin            TEXT NOT NULL,      -- path of its vectors.db
    origin_generation INTEGER NOT NULL,   -- its id there
    model             TEXT NOT NULL,      -- as it is called there
    fingerprint       TEXT NOT NULL,
    started_at        INTEGER NOT NULL,
    state             TEXT NOT NULL CHECK(state IN ('building', 'active')),   -- there; the backfill puts it in that state here
    checked_at        INTEGER,            -- NULL: no model has been found yet
    median_cosine     REAL,               -- of texts embedded again with the vectors adopted
    least_cosine      REAL,
    sampled           INTEGER,
    UNIQUE(fingerprint, started_at, origin_generation)
);

-- As before, but for an adopted generation whose model is not known by its weights yet: it comes to be known once.
DROP TRIGGER generation_keeps_space;
CREATE TRIGGER generation_keeps_space BEFORE UPDATE OF model_id, dimension, space ON generations
WHEN (new.model_id, new.dimension, new.space) IS NOT (old.model_id, old.dimension, old.space)
 AND (new.dimension <> old.dimension
      OR NOT EXISTS (SELECT 1 FROM models m WHERE m.id = old.model_id AND m.weights_sha256 = ''))
BEGIN
    SELECT RAISE(ABORT, 'the model and the space of a generation never change: make a new one');
END;
