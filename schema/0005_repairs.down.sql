DROP TABLE repairs;
DROP TABLE repair_runs;
