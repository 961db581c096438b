-- The mail: messages, and where they came from.
--
-- Every table is STRICT: a text where a number belongs is refused, whoever writes it, and so no reader has to expect one.

-- One row is one path that was imported with one kind of reader.
CREATE TABLE sources(
    id             INTEGER PRIMARY KEY,
    kind           TEXT NOT NULL CHECK(kind IN ('mbox', 'maildir', 'eml', 'msgvault')),
    identifier     TEXT NOT NULL,            -- absolute path
    added_at       INTEGER NOT NULL,
    last_import_at INTEGER,                  -- NULL until an import has come to its end
    UNIQUE(kind, identifier)
) STRICT;

-- One row is one file as it was when last read, so that an unchanged one is skipped unread.
CREATE TABLE source_files(
    source_id   INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    path        TEXT NOT NULL,               -- below the source's identifier; Maildir: the source_key, which has no flags;
                                             -- "/" and a digest of it, once its message was deleted for ever
    size        INTEGER NOT NULL,            -- -1 while it has not been read to its end
    mtime_ns    INTEGER NOT NULL,
    prefix_hash BLOB NOT NULL,               -- of what was read: tells "appended to" from "rewritten"; empty for one-message files
    read_to     INTEGER NOT NULL,            -- byte offset of a message boundary
    reader      INTEGER NOT NULL,            -- version of the reader: what an earlier one has read is read again
    PRIMARY KEY(source_id, path)
) STRICT, WITHOUT ROWID;

-- One row is one conversation.
CREATE TABLE conversations(
    id         INTEGER PRIMARY KEY,
    thread_key TEXT NOT NULL,                -- base subject, casefolded: joins replies whose References are gone; '' of a chat
    subject    TEXT NOT NULL,                -- of a chat: its name; '' where it has none
    is_chat    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX conversations_by_key ON conversations(thread_key);

-- One row is one address with a name, as they stood together in some header. A tracker's address bears many names, and
-- each message shows the one it came with.
CREATE TABLE participants(
    id      INTEGER PRIMARY KEY,
    address TEXT NOT NULL,                   -- lower case
    name    TEXT NOT NULL,
    domain  TEXT NOT NULL,
    UNIQUE(address, name)
) STRICT;

-- One row is one message. Narrow, because scans walk it: what is wide lives in tables of its own.
CREATE TABLE messages(
    id                INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: a watermark or a cache may still name an old one
    rfc822_message_id TEXT,                  -- without brackets. Not unique: real mail repeats them
    content_hash      BLOB UNIQUE,           -- 16 bytes over the raw message's lasting parts: duplicates are one message
    conversation_id   INTEGER REFERENCES conversations,
    in_reply_to       TEXT,
    sender_id         INTEGER REFERENCES participants,
    message_type      TEXT NOT NULL DEFAULT 'email',
    sent_at           INTEGER CHECK(sent_at BETWEEN -62135596800 AND 253402300799),   -- years 1 to 9999, as calendars have
    zone_minutes      INTEGER CHECK(zone_minutes BETWEEN -1439 AND 1439),             -- the sender's offset from UTC
    subject           TEXT NOT NULL DEFAULT '',
    snippet           TEXT NOT NULL DEFAULT '',
    list_id           TEXT,
    size_bytes        INTEGER NOT NULL DEFAULT 0,
    has_attachments   INTEGER NOT NULL DEFAULT 0,
    added_at          INTEGER NOT NULL DEFAULT (unixepoch()),
    deleted_at        INTEGER,               -- NULL = live
    set_aside         INTEGER NOT NULL DEFAULT 0,          -- 1: in trash or spam wherever it stands; kept by triggers
    content_rev       INTEGER NOT NULL DEFAULT 1,          -- grows when an input of the embeddable text changes; see 0102
    embed_gen         INTEGER REFERENCES generations       -- generation this message has its outcome in; NULL = needs work
) STRICT;
CREATE INDEX messages_by_message_id ON messages(rfc822_message_id);
CREATE INDEX messages_by_conversation ON messages(conversation_id);
CREATE INDEX messages_by_sent_at ON messages(sent_at);
CREATE INDEX messages_by_sender ON messages(sender_id);
CREATE INDEX messages_set_aside ON messages(id) WHERE set_aside <> 0 AND deleted_at IS NULL;

-- One row is the visible text of a message: quotes and signature included, HTML as text.
CREATE TABLE message_bodies(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    body_text  TEXT NOT NULL
) STRICT;

-- One row is a message as it was sent. Missing where import ran with --raw none.
CREATE TABLE message_raw(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    encoding   TEXT NOT NULL CHECK(encoding IN ('zlib')),
    mime       BLOB NOT NULL
) STRICT;

-- One row is how a message was last read from what was sent. Missing of what another program kept of one.
CREATE TABLE message_readings(
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    reader     INTEGER NOT NULL,             -- its version; what an earlier one has read is read again
    digests    BLOB NOT NULL                 -- of what it found, 4 bytes a part: where another text stands here, somebody wrote it
) STRICT;
CREATE INDEX message_readings_by_reader ON message_readings(reader);

-- One row is one place where a message stands. One message may stand in several.
CREATE TABLE message_sources(
    source_id  INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    source_key TEXT NOT NULL,                -- the same on every import; see each reader
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    locator    TEXT NOT NULL,                -- for a person: path, or path@offset
    folder     TEXT NOT NULL,
    flags      TEXT NOT NULL,                -- sorted, space-separated: 'answered seen'
    gone_at    INTEGER,                      -- no longer there when last looked; the message stays
    labels     TEXT NOT NULL DEFAULT '[]' CHECK(json_valid(labels) AND json_type(labels) = 'array'),   -- of this copy: the next may have lost some
    set_aside  TEXT NOT NULL DEFAULT '' CHECK(set_aside IN ('', 'trash', 'spam')),   -- what folder, labels and flags say
    PRIMARY KEY(source_id, source_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_sources_by_message ON message_sources(message_id);
CREATE INDEX message_sources_set_aside ON message_sources(set_aside, message_id) WHERE set_aside <> '';

-- The definition of messages.set_aside: every place says so that is not gone; where all are, every one that went last. Mail
-- in a trash that was emptied stays where it was.
CREATE VIEW messages_by_places(message_id, set_aside) AS
SELECT m.id, coalesce((
    SELECT min(x.set_aside <> '') FROM message_sources x
    WHERE x.message_id = m.id AND ifnull(x.gone_at, 9e18) = (
        SELECT max(ifnull(y.gone_at, 9e18)) FROM message_sources y WHERE y.message_id = m.id)), 0)
FROM messages m;

-- A place that says nothing of the kind only ever brings a message back.
CREATE TRIGGER set_aside_by_new_place AFTER INSERT ON message_sources
WHEN new.set_aside <> '' OR (SELECT set_aside FROM messages WHERE id = new.message_id)
BEGIN
    UPDATE messages SET set_aside = (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id)
    WHERE id = new.message_id
      AND set_aside <> (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id);
END;

CREATE TRIGGER set_aside_by_place AFTER UPDATE OF message_id, gone_at, set_aside ON message_sources
WHEN new.message_id <> old.message_id OR new.gone_at IS NOT old.gone_at OR new.set_aside <> old.set_aside
BEGIN
    UPDATE messages SET set_aside = (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id)
    WHERE id IN (old.message_id, new.message_id)
      AND set_aside <> (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id);
END;

CREATE TRIGGER set_aside_by_lost_place AFTER DELETE ON message_sources
BEGIN
    UPDATE messages SET set_aside = (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id)
    WHERE id = old.message_id
      AND set_aside <> (SELECT p.set_aside FROM messages_by_places p WHERE p.message_id = messages.id);
END;

-- One row is one Message-ID that was seen in whatever header, also of a message that is not here, or the name that a chat has in
-- msgvault: its conversation.
CREATE TABLE thread_ids(
    id                INTEGER PRIMARY KEY,
    rfc822_message_id TEXT NOT NULL UNIQUE,
    conversation_id   INTEGER NOT NULL REFERENCES conversations
) STRICT;
CREATE INDEX thread_ids_by_conversation ON thread_ids(conversation_id);

-- One row is one entry of a References header, oldest first.
CREATE TABLE message_references(
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    thread_id  INTEGER NOT NULL REFERENCES thread_ids,
    PRIMARY KEY(message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_references_by_thread ON message_references(thread_id);

-- One row is one address that a message is to, or that it names.
CREATE TABLE message_recipients(
    message_id     INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    kind           TEXT NOT NULL CHECK(kind IN ('to', 'cc', 'bcc', 'mention')),   -- 'mention': in a chat that msgvault kept
    position       INTEGER NOT NULL,
    participant_id INTEGER NOT NULL REFERENCES participants,
    PRIMARY KEY(message_id, kind, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_recipients_by_participant ON message_recipients(participant_id);

-- One row is one label, or one folder of a source.
CREATE TABLE labels(
    id   INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK(kind IN ('label', 'folder')),
    name TEXT NOT NULL,
    UNIQUE(kind, name)
) STRICT;

-- One row is one label on one message.
CREATE TABLE message_labels(
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    label_id   INTEGER NOT NULL REFERENCES labels,
    PRIMARY KEY(message_id, label_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_labels_by_label ON message_labels(label_id);

-- One row is one part with a file name, or that is not text. Its bytes are in the raw message.
CREATE TABLE attachments(
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    filename   TEXT NOT NULL,
    mime_type  TEXT NOT NULL,
    size       INTEGER NOT NULL,
    sha256     BLOB NOT NULL,
    inline     INTEGER NOT NULL,             -- 1: a picture that the HTML shows, or a signature; counted nowhere
    PRIMARY KEY(message_id, position)
) STRICT, WITHOUT ROWID;

-- One row is one reaction to a message of a chat. It is no part of the message's text.
CREATE TABLE reactions(
    message_id     INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    position       INTEGER NOT NULL,
    reaction       TEXT NOT NULL,            -- an emoji, or its name: as its source has it
    participant_id INTEGER REFERENCES participants,
    PRIMARY KEY(message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX reactions_by_participant ON reactions(participant_id);

-- One row is one thing that could not be read as it should.
CREATE TABLE problems(
    id         INTEGER PRIMARY KEY,
    source_id  INTEGER REFERENCES sources ON DELETE CASCADE,
    message_id INTEGER REFERENCES messages ON DELETE CASCADE,   -- NULL where no message could be made of it
    locator    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    detail     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    told_at    INTEGER,                      -- when the first import ended that says at its end that this was not read
    UNIQUE(locator, kind, detail)
) STRICT;
CREATE INDEX problems_by_message ON problems(message_id);

-- One row is one step that must run once in the life of this file; written in the transaction of the step.
CREATE TABLE applied_steps(
    name       TEXT PRIMARY KEY,
    applied_at INTEGER NOT NULL,
    detail     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What foreign keys do, for writers that have them off, as the sqlite3 shell does ---------------------------------------

-- After, as foreign keys do: no trigger of these tables finds the message any more. With foreign keys on, nothing is left here.
CREATE TRIGGER message_deleted AFTER DELETE ON messages
BEGIN
    DELETE FROM message_bodies WHERE message_id = old.id;
    DELETE FROM message_raw WHERE message_id = old.id;
    DELETE FROM message_readings WHERE message_id = old.id;
    DELETE FROM message_sources WHERE message_id = old.id;
    DELETE FROM message_references WHERE message_id = old.id;
    DELETE FROM message_recipients WHERE message_id = old.id;
    DELETE FROM message_labels WHERE message_id = old.id;
    DELETE FROM attachments WHERE message_id = old.id;
    DELETE FROM reactions WHERE message_id = old.id;
    DELETE FROM problems WHERE message_id = old.id;
END;

CREATE TRIGGER source_deleted AFTER DELETE ON sources
BEGIN
    DELETE FROM source_files WHERE source_id = old.id;
    DELETE FROM message_sources WHERE source_id = old.id;
    DELETE FROM problems WHERE source_id = old.id;
END;

CREATE TRIGGER conversation_in_use BEFORE DELETE ON conversations
WHEN EXISTS (SELECT 1 FROM messages WHERE conversation_id = old.id)
  OR EXISTS (SELECT 1 FROM thread_ids WHERE conversation_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'messages name this conversation');
END;

CREATE TRIGGER participant_in_use BEFORE DELETE ON participants
WHEN EXISTS (SELECT 1 FROM messages WHERE sender_id = old.id)
  OR EXISTS (SELECT 1 FROM message_recipients WHERE participant_id = old.id)
  OR EXISTS (SELECT 1 FROM reactions WHERE participant_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'messages name this address');
END;

CREATE TRIGGER thread_id_in_use BEFORE DELETE ON thread_ids
WHEN EXISTS (SELECT 1 FROM message_references WHERE thread_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'messages refer to this Message-ID');
END;

CREATE TRIGGER label_in_use BEFORE DELETE ON labels
WHEN EXISTS (SELECT 1 FROM message_labels WHERE label_id = old.id)
BEGIN
    SELECT RAISE(ABORT, 'messages bear this label');
END;

-- What names an id would name another row, or none. Not "UPDATE OF id": that does not see "SET rowid = ".
CREATE TRIGGER message_keeps_id BEFORE UPDATE ON messages WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER source_keeps_id BEFORE UPDATE ON sources WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER conversation_keeps_id BEFORE UPDATE ON conversations WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER participant_keeps_id BEFORE UPDATE ON participants WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER thread_id_keeps_id BEFORE UPDATE ON thread_ids WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

CREATE TRIGGER label_keeps_id BEFORE UPDATE ON labels WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'an id is for good');
END;

-- One row is a message that was in the way of the last INSERT into messages. REPLACE deletes it, and no trigger hears of that:
-- its rows would be the new message's, and an old content_rev would come back. Of INSERTs that find something in their way,
-- only REPLACE has an "after", so that an upsert passes.
CREATE TABLE messages_in_the_way(
    message_id INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER replace_is_noticed BEFORE INSERT ON messages
WHEN EXISTS (SELECT 1 FROM messages WHERE id = new.id) OR EXISTS (SELECT 1 FROM messages WHERE content_hash = new.content_hash)
  OR EXISTS (SELECT 1 FROM messages_in_the_way)
BEGIN
    DELETE FROM messages_in_the_way;
    INSERT INTO messages_in_the_way SELECT id FROM messages WHERE id = new.id OR content_hash = new.content_hash;
END;

CREATE TRIGGER replace_is_refused AFTER INSERT ON messages WHEN EXISTS (SELECT 1 FROM messages_in_the_way)
BEGIN
    SELECT RAISE(ABORT, 'a message is never replaced: UPDATE it, or INSERT with ON CONFLICT DO UPDATE');
END;

CREATE TRIGGER replace_by_update_is_refused BEFORE UPDATE OF content_hash ON messages
WHEN new.content_hash IS NOT old.content_hash
 AND EXISTS (SELECT 1 FROM messages m WHERE m.content_hash = new.content_hash AND m.id <> old.id)
BEGIN
    SELECT RAISE(ABORT, 'another message has this content_hash');
END;
