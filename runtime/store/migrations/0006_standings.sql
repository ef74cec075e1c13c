-- Where lanes stand is asked for by each lane of a rollout about all the others: the ids
-- of their revisions in columns of their own, not dug out of JSON each time.

ALTER TABLE lanes ADD COLUMN applied_id TEXT;
ALTER TABLE lanes ADD COLUMN planned_id TEXT;
UPDATE lanes SET applied_id = applied ->> 'id', planned_id = planned ->> 'id';
