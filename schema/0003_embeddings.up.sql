-- Embeddings: what was embedded with what, and the rules that keep that true whoever writes.

-- One row is a model whose vectors stand, or stood, in this archive.
CREATE TABLE models(
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    converter      TEXT NOT NULL,
    architecture   TEXT NOT NULL,
    dimension      INTEGER NOT NULL,
    pooling        TEXT NOT NULL,
    context_length INTEGER NOT NULL,
    document_prefix TEXT NOT NULL,
    query_prefix   TEXT NOT NULL,
    licence        TEXT NOT NULL,
    path           TEXT,                     -- where a model given by path was; NULL = from the registry
    added_at       INTEGER NOT NULL,
    UNIQUE(weights_sha256, converter, pooling, document_prefix, query_prefix)
);

-- One row is one embedding of the archive under one fingerprint. Never deleted: an outcome or a bug report may name it.
CREATE TABLE generations(
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    model_id     INTEGER NOT NULL REFERENCES models,
    dimension    INTEGER NOT NULL,
    space        TEXT NOT NULL,              -- vectors are comparable only where it is equal
    recipe       TEXT NOT NULL,              -- how text becomes chunks
    state        TEXT NOT NULL CHECK(state IN ('building', 'active', 'retired', 'discarded')),
    created_at   INTEGER NOT NULL,
    activated_at INTEGER,
    retired_at   INTEGER
);
CREATE UNIQUE INDEX generations_one_building ON generations(state) WHERE state = 'building';
CREATE UNIQUE INDEX generations_one_active ON generations(state) WHERE state = 'active';

-- One row is what became of a message in a generation. The record; embed_gen is only the cursor over it.
CREATE TABLE embed_outcomes(
    generation_id INTEGER NOT NULL REFERENCES generations,
    message_id    INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    content_rev   INTEGER NOT NULL,          -- current only while it equals the message's
    recipe        TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK(outcome IN ('embedded', 'blank', 'failed')),
    reason        TEXT CHECK((outcome = 'failed') = (reason IS NOT NULL)),
    attempts      INTEGER NOT NULL DEFAULT 1,
    at            INTEGER NOT NULL,
    PRIMARY KEY(generation_id, message_id)
) WITHOUT ROWID;
CREATE INDEX embed_outcomes_by_message ON embed_outcomes(message_id);

-- One row is the embeddable text of a message as it was embedded. Offsets of chunks are code points into it.
CREATE TABLE message_texts(
    message_id  INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    preparation TEXT NOT NULL,               -- the part of a recipe that makes the text: 'p1'
    text        TEXT NOT NULL,
    PRIMARY KEY(message_id, preparation)
);

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
);
CREATE INDEX chunks_by_text ON chunks(generation_id, text_hash);
CREATE INDEX chunks_by_message ON chunks(message_id);

-- One row is one vector: float16, normalised, little-endian. The truth; the vec_<generation> tables are an index over it.
CREATE TABLE vectors(
    chunk_id  INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    embedding BLOB NOT NULL,
    checksum  INTEGER NOT NULL               -- CRC-32 of embedding: SQLite has no page checksums
);

-- One row a generation: every message id at or below watermark_id has been swept. May only be wrong low.
CREATE TABLE embed_watermark(
    generation_id INTEGER PRIMARY KEY REFERENCES generations,
    watermark_id  INTEGER NOT NULL
);

-- One row is one run of `embeddings build`.
CREATE TABLE embed_runs(
    id            INTEGER PRIMARY KEY,
    generation_id INTEGER NOT NULL REFERENCES generations,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER,                   -- NULL: running, or killed
    embedded      INTEGER NOT NULL DEFAULT 0,
    blank         INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    chunks        INTEGER NOT NULL DEFAULT 0,
    tokens        INTEGER NOT NULL DEFAULT 0,
    seconds       REAL NOT NULL DEFAULT 0,
    outcome       TEXT CHECK(outcome IN ('complete', 'interrupted', 'stopped'))
);

-- "Which live message above this id has no stamp, or that of generation g" is one seek, in well under a millisecond at 10^6
-- messages; a scan takes 83.
CREATE INDEX messages_by_embed_gen ON messages(embed_gen, id) WHERE deleted_at IS NULL;

-- A change to an input of the embeddable text is work, in the transaction that makes it. Nothing else is: labels, flags
-- and dates are no inputs.
CREATE TRIGGER content_changed_subject AFTER UPDATE OF subject ON messages WHEN old.subject IS NOT new.subject
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

CREATE TRIGGER work_appeared_insert AFTER INSERT ON messages
BEGIN
    UPDATE embed_watermark SET watermark_id = new.id - 1 WHERE watermark_id >= new.id;
END;

-- An old revision that came back would make an old outcome current again.
CREATE TRIGGER content_rev_only_grows BEFORE UPDATE OF content_rev ON messages WHEN new.content_rev < old.content_rev
BEGIN
    SELECT RAISE(ABORT, 'content_rev only grows');
END;

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

-- "Embedded" without chunks, or with a chunk that has no vector, would be a lie.
CREATE TRIGGER embedded_needs_vectors BEFORE INSERT ON embed_outcomes WHEN new.outcome = 'embedded' AND (
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
