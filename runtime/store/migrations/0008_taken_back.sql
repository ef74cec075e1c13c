-- Commit-confirm: what a guard watches over, the ledger's line that stood there before, and when the
-- guard took it back.

ALTER TABLE intent_changes ADD COLUMN guarded INTEGER NOT NULL DEFAULT 0 CHECK (guarded IN (0, 1));
ALTER TABLE intent_changes ADD COLUMN before BLOB;      -- packed; of what is guarded; null: there was no line
ALTER TABLE intent_changes ADD COLUMN taken_back TEXT;
