-- Plans, effects and lines of intents are packed: see `packed/mod.rs`, whose function is
-- `pack` here.

ALTER TABLE plans ADD COLUMN packed BLOB NOT NULL DEFAULT x'';
UPDATE plans SET packed = pack(plan);
ALTER TABLE plans DROP COLUMN plan;

ALTER TABLE intents ADD COLUMN packed BLOB NOT NULL DEFAULT x'';  -- the effects, in order
UPDATE intents SET packed = pack(effects);
ALTER TABLE intents DROP COLUMN effects;

ALTER TABLE intent_changes ADD COLUMN packed BLOB;  -- null: the ledger's line goes
UPDATE intent_changes SET packed = pack(entry) WHERE entry IS NOT NULL;
ALTER TABLE intent_changes DROP COLUMN entry;
