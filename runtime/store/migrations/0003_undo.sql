-- Undo: resources that are kept as they were, and when a content was last kept for that.

CREATE TABLE undos (
  target   TEXT NOT NULL,
  identity TEXT NOT NULL,
  source   TEXT NOT NULL,
  stack    TEXT NOT NULL,
  undo     TEXT NOT NULL,   -- JSON
  PRIMARY KEY (target, identity)
) STRICT, WITHOUT ROWID;

ALTER TABLE blobs ADD COLUMN at TEXT NOT NULL DEFAULT '';
CREATE INDEX blobs_by_time ON blobs (at);
