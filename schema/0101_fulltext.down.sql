-- loses: SELECT 'the index for search by words (the next import makes it again)'
DROP TRIGGER fulltext_stale_person;
DROP TRIGGER fulltext_stale_recipient;
DROP TRIGGER fulltext_stale_file;
DROP TRIGGER fulltext_stale_body_delete;
DROP TRIGGER fulltext_stale_body_update;
DROP TRIGGER fulltext_stale_body_insert;
DROP TRIGGER fulltext_stale_delete;
DROP TRIGGER fulltext_stale_message;
DROP TRIGGER fulltext_stale_chat_name;
DROP TRIGGER fulltext_stale_chat;
DROP TRIGGER fulltext_stale_subject;
DROP TABLE fulltext_stale;
DROP TABLE messages_fts;
