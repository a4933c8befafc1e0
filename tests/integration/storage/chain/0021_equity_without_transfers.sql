-- Loss limits compare equities without what was transferred. Each row says itself what is in it, so the highest since a time is
-- one walk from the top of an index.
ALTER TABLE equity ADD COLUMN without_transfers numeric GENERATED ALWAYS AS (equity - transferred) STORED;

CREATE INDEX ON equity (account, without_transfers, at);
DROP INDEX equity_account_equity_at_idx;
