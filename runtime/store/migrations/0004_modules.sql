-- Modules: what the tags and commits stood for that stacks take their modules from.

CREATE TABLE modules (
  source   TEXT NOT NULL,
  rev      TEXT NOT NULL,    -- a tag's full name, or a commit's id
  revision TEXT NOT NULL,    -- JSON
  moved    TEXT,             -- the commit that the tag stands for now, where that is another one
  used     INTEGER NOT NULL CHECK (used IN (0, 1)),
  PRIMARY KEY (source, rev)
) STRICT, WITHOUT ROWID;
