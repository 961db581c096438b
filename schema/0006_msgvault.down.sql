DROP TRIGGER generation_keeps_space;
CREATE TRIGGER generation_keeps_space BEFORE UPDATE OF model_id, dimension, space ON generations
WHEN (new.model_id, new.dimension, new.space) IS NOT (old.model_id, old.dimension, old.space)
BEGIN
    SELECT RAISE(ABORT, 'the model and the space of a generation never change: make a new one');
END;
DROP TABLE adopted_generations;
DROP TABLE msgvault_messages;
-- The mail stays. An older schema knows neither the kind of source nor the kind of recipient.
UPDATE sources SET kind = 'eml' WHERE kind = 'msgvault';
UPDATE message_recipients SET kind = 'cc', position = position + 1000000 WHERE kind = 'mention';
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ', ''msgvault'')', ')') WHERE type = 'table' AND name = 'sources';
UPDATE sqlite_schema SET sql = replace(sql, ', ''mention'')', ')') WHERE type = 'table' AND name = 'message_recipients';
PRAGMA writable_schema = RESET;
