-- loses: SELECT format('what %,d repaired texts were before: their repair cannot be undone any more', count(*))
--   FROM repairs WHERE undone_at IS NULL HAVING count(*) > 0
DROP TRIGGER message_deleted_repairs;
DROP TABLE repairs;
DROP TABLE repair_runs;
