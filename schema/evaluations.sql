-- The file beside an archive in which `vaultembed eval` keeps its runs. It holds words of mail: the queries of the sets.

-- One row is one judged set, as it was when it was first asked; edited, it is another.
CREATE TABLE sets(
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE         -- SHA-256 over queries and judgements
) STRICT;

-- One row is one query of a set.
CREATE TABLE queries(
    id     INTEGER PRIMARY KEY,
    set_id INTEGER NOT NULL REFERENCES sets,
    name   TEXT NOT NULL,                    -- its id in the set
    text   TEXT NOT NULL,
    UNIQUE(set_id, name)
) STRICT;

-- One row is how well a document answers a query.
CREATE TABLE judgements(
    query_id INTEGER NOT NULL REFERENCES queries,
    document TEXT NOT NULL,                  -- as the set names it, without angle brackets
    grade    INTEGER NOT NULL,               -- 1 or more: it answers it
    PRIMARY KEY(query_id, document)
) STRICT, WITHOUT ROWID;

-- One row is what a query is one of: the queries of one length, those about one source.
CREATE TABLE cohorts(
    query_id INTEGER NOT NULL REFERENCES queries,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY(query_id, name)
) STRICT, WITHOUT ROWID;

-- One row is one set asked of the archive in one mode.
CREATE TABLE runs(
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    set_id      INTEGER NOT NULL REFERENCES sets,
    mode        TEXT NOT NULL,
    setting     TEXT NOT NULL,               -- what was being tried, in the words of who tried it
    version     TEXT NOT NULL,               -- of vaultembed
    generation  INTEGER,                     -- that answered; NULL in text mode
    building    INTEGER,                     -- the one being built that answered beside it; NULL where there was none
    fingerprint TEXT,                        -- of that generation
    model       TEXT,
    messages    INTEGER NOT NULL,            -- live ones
    not_covered INTEGER,                     -- of these, by meaning
    absent      INTEGER NOT NULL,            -- documents that answer a query and are not in the archive
    ended_at    INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

-- One row is how well a run answered one query. A run that was interrupted has fewer than its set has queries.
CREATE TABLE answers(
    run_id                INTEGER NOT NULL REFERENCES runs,
    query_id              INTEGER NOT NULL REFERENCES queries,
    seconds               REAL NOT NULL,
    recall_1              REAL NOT NULL,
    recall_3              REAL NOT NULL,
    recall_5              REAL NOT NULL,
    recall_10             REAL NOT NULL,
    recall_100            REAL NOT NULL,
    mrr_10                REAL NOT NULL,
    ndcg_10               REAL NOT NULL,
    conversation_recall_5 REAL NOT NULL,
    PRIMARY KEY(run_id, query_id)
) STRICT, WITHOUT ROWID;

-- One row is one result of a query.
CREATE TABLE results(
    run_id          INTEGER NOT NULL REFERENCES runs,
    query_id        INTEGER NOT NULL REFERENCES queries,
    rank            INTEGER NOT NULL,        -- from 1
    message_id      INTEGER NOT NULL,        -- of the archive
    conversation_id INTEGER,
    document        TEXT,                    -- as the set names it; NULL where it judges no such document
    score           REAL NOT NULL,
    PRIMARY KEY(run_id, query_id, rank)
) STRICT, WITHOUT ROWID;
