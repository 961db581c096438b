-- loses: SELECT 'the index for search by words (the next import makes it again)'
DROP TRIGGER fulltext_stale_body_update;
DROP TRIGGER fulltext_stale_body_insert;
DROP TRIGGER fulltext_stale_message;
DROP TRIGGER fulltext_stale_subject;
DROP TABLE fulltext_stale;
DROP TABLE messages_fts;
