-- Text search. Contentless: the text itself is in messages and message_bodies, and is not stored twice.

-- One row is one message; rowid = messages.id. Written by the archive layer alone, which makes the tokens (CJK needs help).
CREATE VIRTUAL TABLE messages_fts USING fts5(
    subject, body, people, files,
    content = '', contentless_delete = 1,
    tokenize = "porter unicode61 remove_diacritics 2"
);

-- One row is one message whose entry in messages_fts is missing or shows an older text. Search leaves these out;
-- the next writable open indexes them. A trigger cannot do that itself: it would have to know the tokens, and
-- a writer whose SQLite cannot open messages_fts would fail.
CREATE TABLE fulltext_stale(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE
);
INSERT INTO fulltext_stale SELECT id FROM messages;   -- none, unless this was migrated down

CREATE TRIGGER fulltext_stale_subject AFTER UPDATE OF subject ON messages WHEN old.subject IS NOT new.subject
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_message AFTER INSERT ON messages
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_body_insert AFTER INSERT ON message_bodies
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_body_update AFTER UPDATE OF body_text ON message_bodies WHEN old.body_text IS NOT new.body_text
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.message_id) ON CONFLICT DO NOTHING;
END;
