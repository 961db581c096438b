-- loses: SELECT format('of %,d messages, what they were in msgvault: the next import reads them again, and its vectors, too',
--   count(*)) FROM msgvault_messages HAVING count(*) > 0
DROP TRIGGER source_deleted_msgvault;
DROP TABLE adopted_generations;
DROP TABLE msgvault_messages;
