-- A word on a plan counts until the plan was done, or until somebody took back what it was about.
-- What counts no more is kept: who said what, and what became of it.

ALTER TABLE approvals ADD COLUMN ended TEXT CHECK (ended IN ('spent', 'revoked'));
-- Under what was done already nothing is left to say yes to.
UPDATE approvals SET ended = 'spent' WHERE EXISTS (
  SELECT 1 FROM runs WHERE runs.digest = approvals.digest AND runs.source = approvals.source
    AND runs.stack = approvals.stack AND runs.target = approvals.target
    AND runs.outcome = 'done' AND runs.ended >= approvals.at);
CREATE INDEX approvals_open ON approvals (source, stack, target) WHERE ended IS NULL;
