-- The loop: why a lane waits and since when, what people put in its way, and the no
-- beside the yes.

ALTER TABLE lanes ADD COLUMN since    TEXT;
ALTER TABLE lanes ADD COLUMN digest   TEXT;
ALTER TABLE lanes ADD COLUMN waits    TEXT NOT NULL DEFAULT '[]';  -- JSON
ALTER TABLE lanes ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN retry_at TEXT;
ALTER TABLE lanes ADD COLUMN checked  TEXT;

ALTER TABLE approvals ADD COLUMN yes INTEGER NOT NULL DEFAULT 1 CHECK (yes IN (0, 1));

-- A row stays when its hold has ended: who stopped what is asked for long after.
CREATE TABLE holds (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  kind     TEXT NOT NULL,
  scope    TEXT NOT NULL,   -- JSON
  who      TEXT NOT NULL,
  at       TEXT NOT NULL,
  until    TEXT,
  reason   TEXT,
  ended    TEXT,
  ended_by TEXT
) STRICT;
CREATE INDEX holds_open ON holds (id) WHERE ended IS NULL;

CREATE TABLE pins (
  source TEXT NOT NULL,
  stack  TEXT NOT NULL,
  pin    TEXT NOT NULL,     -- JSON
  PRIMARY KEY (source, stack)
) STRICT, WITHOUT ROWID;

CREATE TABLE shown_policies (
  source TEXT NOT NULL,
  stack  TEXT NOT NULL,
  target TEXT NOT NULL,
  policy TEXT NOT NULL,     -- JSON
  PRIMARY KEY (source, stack, target)
) STRICT, WITHOUT ROWID;

-- Sources that cannot be asked.
CREATE TABLE stale (
  source TEXT PRIMARY KEY,
  since  TEXT NOT NULL,
  why    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- For what is dropped by age.
CREATE INDEX runs_by_end ON runs (ended);
CREATE INDEX plans_by_time ON plans (at);
