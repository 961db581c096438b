-- Text search. Contentless: the text itself is in messages and message_bodies, and is not stored twice.

-- One row is one message; rowid = messages.id. Written by the archive layer alone, which makes the tokens (CJK needs help).
CREATE VIRTUAL TABLE messages_fts USING fts5(
    subject, body, people, files,
    content = '', contentless_delete = 1,
    tokenize = "porter unicode61 remove_diacritics 2 categories 'L* N* Co M*'"   -- M*: the vowels of Hindi and Thai
);

-- One row is one message whose entry in messages_fts is missing, shows an older text, or outlived it. Search leaves these out;
-- the next import or build indexes them, or deletes the entry. A trigger cannot do that itself: it would have to know the
-- tokens, and a writer whose SQLite cannot open messages_fts would fail.
CREATE TABLE fulltext_stale(
    message_id INTEGER PRIMARY KEY           -- no foreign key: the message may be gone
) STRICT;
INSERT INTO fulltext_stale SELECT id FROM messages;   -- none, unless this was migrated down

CREATE TRIGGER fulltext_stale_subject AFTER UPDATE OF subject, sender_id ON messages
WHEN old.subject IS NOT new.subject OR old.sender_id IS NOT new.sender_id
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_chat AFTER UPDATE OF conversation_id ON messages
WHEN old.conversation_id IS NOT new.conversation_id
 AND EXISTS (SELECT 1 FROM conversations WHERE id IN (old.conversation_id, new.conversation_id) AND is_chat)
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_chat_name AFTER UPDATE OF subject, is_chat ON conversations
WHEN (old.is_chat OR new.is_chat) AND (old.subject IS NOT new.subject OR old.is_chat IS NOT new.is_chat)
BEGIN
    INSERT INTO fulltext_stale(message_id)
    SELECT id FROM messages WHERE conversation_id = new.id ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_message AFTER INSERT ON messages
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_delete AFTER DELETE ON messages
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (old.id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_body_insert AFTER INSERT ON message_bodies
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_body_update AFTER UPDATE ON message_bodies
WHEN old.body_text IS NOT new.body_text OR old.message_id <> new.message_id
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (old.message_id), (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_body_delete AFTER DELETE ON message_bodies
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (old.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_person AFTER UPDATE OF address, name ON participants
WHEN old.address IS NOT new.address OR old.name IS NOT new.name
BEGIN
    INSERT INTO fulltext_stale(message_id)
    SELECT id FROM messages WHERE sender_id = new.id
    UNION SELECT message_id FROM message_recipients WHERE participant_id = new.id ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_recipient AFTER UPDATE ON message_recipients
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (old.message_id), (new.message_id) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER fulltext_stale_file AFTER UPDATE ON attachments
BEGIN
    INSERT INTO fulltext_stale(message_id) VALUES (old.message_id), (new.message_id) ON CONFLICT DO NOTHING;
END;
