-- loses: SELECT format('all %,d messages', count(*)) FROM messages HAVING count(*) > 0
DROP TABLE applied_steps;
DROP TABLE problems;
DROP TABLE attachments;
DROP TABLE message_labels;
DROP TABLE labels;
DROP TABLE message_recipients;
DROP TABLE message_references;
DROP TABLE thread_ids;
DROP TABLE message_sources;
DROP TABLE message_raw;
DROP TABLE message_bodies;
DROP TABLE messages;
DROP TABLE messages_in_the_way;
DROP TABLE participants;
DROP TABLE conversations;
DROP TABLE source_files;
DROP TABLE sources;
