-- Moving in from msgvault: its archives as sources, and its generations as generations here.

-- One row is one message of a msgvault archive as it was when last read, so that an unchanged one is passed over.
CREATE TABLE msgvault_messages(
    source_id   INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    source_key  TEXT NOT NULL,            -- as in message_sources
    digest      BLOB NOT NULL,            -- 24 bytes over all that is taken over of it; none: it is to be read anew
    content_rev INTEGER NOT NULL,         -- of the message when it was written: an adopted vector is of that text
    reply_to    TEXT,                     -- source_key of the message that it answers: which may come later, or never
    PRIMARY KEY(source_id, source_key)
) STRICT, WITHOUT ROWID;

-- One row is a generation that was made by msgvault. Its vectors are searched with, and added to, only once a model here
-- has been found to give the same ones.
CREATE TABLE adopted_generations(
    generation_id     INTEGER PRIMARY KEY REFERENCES generations,
    origin            TEXT NOT NULL,      -- path of its vectors.db
    origin_generation INTEGER NOT NULL,   -- its id there
    model             TEXT NOT NULL,      -- as it is called there
    fingerprint       TEXT NOT NULL,
    started_at        INTEGER NOT NULL,
    state             TEXT NOT NULL CHECK(state IN ('building', 'active', 'retired')),   -- there, when last read
    checked_at        INTEGER,            -- NULL: no model has been found yet
    median_cosine     REAL,               -- of texts embedded again with the vectors adopted
    least_cosine      REAL,
    sampled           INTEGER,
    UNIQUE(fingerprint, started_at, origin_generation)
) STRICT;

-- What foreign keys do, for writers that have them off.
CREATE TRIGGER source_deleted_msgvault AFTER DELETE ON sources
BEGIN
    DELETE FROM msgvault_messages WHERE source_id = old.id;
END;
