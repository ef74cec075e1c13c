-- What the last looks at a source found wrong: kept so that `status` can tell it without asking Git.

CREATE TABLE troubles (
    source  TEXT NOT NULL PRIMARY KEY,
    trouble TEXT NOT NULL    -- JSON: the model's Trouble
) STRICT, WITHOUT ROWID;
