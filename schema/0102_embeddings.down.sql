-- loses: SELECT format('all embeddings, %,d vectors, and each message''s outcome', count(*))
--   FROM vectors HAVING count(*) > 0
-- drops: SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%USING vec0(%'
DROP TRIGGER content_changed_header;
DROP TRIGGER content_changed_body_insert;
DROP TRIGGER content_changed_body_update;
DROP TRIGGER content_changed_body_delete;
DROP TRIGGER work_appeared;
DROP TRIGGER work_appeared_insert;
DROP TRIGGER content_rev_only_grows;
DROP TRIGGER stamp_needs_outcome;
DROP TRIGGER stamp_needs_outcome_insert;
DROP TRIGGER revision_clears_stamp;
DROP TRIGGER coverage_message_insert;
DROP TRIGGER coverage_message_update;
DROP TRIGGER coverage_message_delete;
DROP TRIGGER scope_message_insert;
DROP TRIGGER scope_source_insert;
DROP TRIGGER scope_source_update;
DROP TRIGGER scope_source_delete;
DROP TRIGGER remains_of_deleted;
DROP TRIGGER source_in_scope;
DROP TRIGGER source_deleted_scopes;
DROP TRIGGER message_deleted_embeddings;
DROP TRIGGER gone_message_remembered;
DROP TRIGGER content_rev_of_message_that_comes_back;
DROP INDEX messages_by_embed_gen;
DROP INDEX messages_deleted;
-- Only now, that no trigger counts and remembers each of them.
UPDATE messages SET embed_gen = NULL WHERE embed_gen IS NOT NULL;
DROP VIEW stale_vectors;
DROP VIEW messages_in_scope;
DROP TABLE gone_messages;
DROP TABLE embed_coverage;
DROP TABLE live_count;
DROP TABLE embed_leases;
DROP TABLE embed_runs;
DROP TABLE embed_watermark;
DROP TABLE deleted_with_remains;
DROP TABLE vec_orphans;
DROP TABLE vectors;
DROP TABLE chunks;
DROP TABLE message_texts;
DROP TABLE embed_outcomes;
DROP TABLE scope_members;
DROP TABLE generation_types;
DROP TABLE generation_sources;
DROP TABLE generations;
DROP TABLE models;
