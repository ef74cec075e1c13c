-- The spine. Texts that only the store compares are columns; whole values of the
-- model are JSON in one column, so that a new optional field needs no migration.
-- Times are RFC 3339 texts; order comes from `seq`, never from a clock.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- leases ----------------------------------------------------------------
-- A row stays when its lease is given back: the token may only grow.

CREATE TABLE leases (
  key     TEXT PRIMARY KEY,
  token   INTEGER NOT NULL CHECK (token > 0),
  holder  TEXT,             -- null: free
  pid     INTEGER,
  started INTEGER,          -- of the process, in clock ticks since boot
  machine TEXT,             -- boot and pid namespace: where `pid` means something
  since   TEXT,
  expires INTEGER NOT NULL  -- ms since 1970
) STRICT, WITHOUT ROWID;

-- ---- what is known of lanes, targets and sources -----------------------------

CREATE TABLE lanes (
  source    TEXT NOT NULL,
  stack     TEXT NOT NULL,
  target    TEXT NOT NULL,
  status    TEXT NOT NULL,
  why       TEXT,
  applied   TEXT,           -- revision, JSON
  planned   TEXT,           -- revision, JSON
  plugins   TEXT NOT NULL,  -- JSON
  contacted INTEGER NOT NULL CHECK (contacted IN (0, 1)),
  seen      TEXT,
  last_run  TEXT,
  PRIMARY KEY (source, stack, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE fingerprints (
  target      TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Revisions in force.
CREATE TABLE revisions (
  source   TEXT PRIMARY KEY,
  revision TEXT NOT NULL    -- JSON
) STRICT, WITHOUT ROWID;

-- ---- ownership ---------------------------------------------------------------

CREATE TABLE inventory (
  seq      INTEGER PRIMARY KEY,
  target   TEXT NOT NULL,
  identity TEXT NOT NULL,
  source   TEXT NOT NULL,
  stack    TEXT NOT NULL,
  resource TEXT NOT NULL,   -- kind/name
  entry    TEXT NOT NULL,   -- JSON
  UNIQUE (target, identity)
) STRICT;

CREATE TABLE claim_sets (
  source   TEXT NOT NULL,
  stack    TEXT NOT NULL,
  target   TEXT NOT NULL,
  revision TEXT NOT NULL,
  digest   TEXT NOT NULL,   -- of the claims: an equal set is not written again
  PRIMARY KEY (source, stack, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
  target   TEXT NOT NULL,
  identity TEXT NOT NULL,
  source   TEXT NOT NULL,
  stack    TEXT NOT NULL,
  resource TEXT NOT NULL,
  PRIMARY KEY (target, identity, source, stack, resource),
  FOREIGN KEY (source, stack, target) REFERENCES claim_sets (source, stack, target) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_set ON claims (source, stack, target);

-- ---- what was about to happen, and what did ------------------------------------

CREATE TABLE runs (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  id       TEXT NOT NULL UNIQUE,
  source   TEXT NOT NULL,
  stack    TEXT NOT NULL,
  target   TEXT NOT NULL,
  began    TEXT NOT NULL,
  ended    TEXT,
  outcome  TEXT,
  who      TEXT NOT NULL,
  revision TEXT NOT NULL,
  author   TEXT NOT NULL,
  signer   TEXT,
  approver TEXT,
  digest   TEXT NOT NULL,
  done     INTEGER NOT NULL,
  failed   INTEGER NOT NULL,
  skipped  INTEGER NOT NULL,
  unknown  INTEGER NOT NULL,
  fault    TEXT,
  pid      INTEGER,         -- the process that began it, to tell the dead from the slow
  started  INTEGER,
  machine  TEXT
) STRICT;
CREATE INDEX runs_by_lane ON runs (source, stack, target);

CREATE TABLE intents (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  run     TEXT NOT NULL REFERENCES runs (id),
  grp     INTEGER NOT NULL, -- the group
  source  TEXT NOT NULL,
  stack   TEXT NOT NULL,
  target  TEXT NOT NULL,
  effects TEXT NOT NULL,    -- JSON, in order; kept after the outcome, for undo
  settled TEXT,
  UNIQUE (run, grp)
) STRICT;
CREATE INDEX intents_open ON intents (source, stack, target) WHERE settled IS NULL;

CREATE TABLE intent_changes (
  intent     INTEGER NOT NULL REFERENCES intents (id),
  n          INTEGER NOT NULL,
  address    TEXT NOT NULL,
  identity   TEXT NOT NULL,
  action     TEXT NOT NULL,
  cause      TEXT NOT NULL,
  entry      TEXT,          -- JSON; null: the ledger's line goes
  moved_from TEXT,
  outcome    TEXT CHECK (outcome IN ('done', 'failed', 'unknown', 'not-begun')),
  UNIQUE (intent, n)
) STRICT;

CREATE TABLE triggers (
  intent        INTEGER NOT NULL REFERENCES intents (id),
  n             INTEGER NOT NULL,
  source        TEXT NOT NULL,
  stack         TEXT NOT NULL,
  target        TEXT NOT NULL,
  to_address    TEXT NOT NULL,
  ask           TEXT NOT NULL,
  from_resource TEXT NOT NULL,
  fate          TEXT NOT NULL CHECK (fate IN ('due', 'done', 'cancelled')),
  PRIMARY KEY (intent, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX triggers_due ON triggers (source, stack, target, to_address) WHERE fate = 'due';

-- Revision, author, signer, who and approver are the run's.
CREATE TABLE history (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  at         TEXT NOT NULL,
  run        TEXT NOT NULL REFERENCES runs (id),
  source     TEXT NOT NULL,
  stack      TEXT NOT NULL,
  target     TEXT NOT NULL,
  address    TEXT NOT NULL,
  identity   TEXT NOT NULL,
  action     TEXT NOT NULL,
  cause      TEXT NOT NULL,
  outcome    TEXT NOT NULL,
  moved_from TEXT,
  plugin     TEXT,          -- name, version and digest
  fault      TEXT
) STRICT;
CREATE INDEX history_by_run ON history (run);
CREATE INDEX history_by_address ON history (address);

-- `seq` has no gaps: it is given and committed in one transaction, and SQLite
-- has one writer.
CREATE TABLE events (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at      TEXT NOT NULL,
  run     TEXT,
  source  TEXT,
  stack   TEXT,
  target  TEXT,
  address TEXT,
  event   TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX events_by_run ON events (run);

-- ---- plans and who said yes ------------------------------------------------------

CREATE TABLE plans (
  digest TEXT PRIMARY KEY,
  at     TEXT NOT NULL,
  plan   TEXT NOT NULL      -- JSON
) STRICT;

CREATE TABLE approvals (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  digest  TEXT NOT NULL,    -- the lane's
  source  TEXT NOT NULL,
  stack   TEXT NOT NULL,
  target  TEXT NOT NULL,
  who     TEXT NOT NULL,
  at      TEXT NOT NULL,
  how     TEXT NOT NULL,
  comment TEXT
) STRICT;
CREATE INDEX approvals_by_digest ON approvals (digest);

-- ---- contents ----------------------------------------------------------------------

CREATE TABLE renders (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  key      TEXT NOT NULL UNIQUE,
  bytes    INTEGER NOT NULL,
  rendered TEXT NOT NULL    -- JSON
) STRICT;

CREATE TABLE blobs (
  digest  TEXT PRIMARY KEY,
  content BLOB NOT NULL
) STRICT;
