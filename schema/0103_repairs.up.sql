-- Texts that were stored wrongly and have been repaired, so that each repair can be looked at, and undone.

-- One row is one run of `repair-encoding` that changed something.
CREATE TABLE repair_runs(
    id         INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: a person may have written one down
    started_at INTEGER NOT NULL,
    ended_at   INTEGER                              -- NULL: running, or killed; what it has repaired is complete in itself
) STRICT;

-- One row is one text of one message that was changed.
CREATE TABLE repairs(
    id         INTEGER PRIMARY KEY,
    run_id     INTEGER NOT NULL REFERENCES repair_runs,
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    field      TEXT NOT NULL CHECK(field IN ('subject', 'body', 'snippet', 'name', 'label', 'file', 'conversation')),
    place      TEXT NOT NULL,             -- which of them: 'sender', 'to 0', the position of an attachment, the kind of a label
    before     BLOB NOT NULL,             -- as it was stored, UTF-8 or not
    after      TEXT NOT NULL,
    method     TEXT NOT NULL,
    confidence REAL NOT NULL,
    at         INTEGER NOT NULL,
    undone_at  INTEGER
) STRICT;
CREATE INDEX repairs_by_run ON repairs(run_id);
CREATE INDEX repairs_by_message ON repairs(message_id, field, place);

-- What foreign keys do, for writers that have them off.
CREATE TRIGGER message_deleted_repairs AFTER DELETE ON messages
BEGIN
    DELETE FROM repairs WHERE message_id = old.id;
END;

CREATE TRIGGER repair_run_in_use BEFORE DELETE ON repair_runs WHEN EXISTS (SELECT 1 FROM repairs WHERE run_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'there are repairs of this run');
END;

CREATE TRIGGER repair_run_keeps_id BEFORE UPDATE ON repair_runs WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;
