-- What of an equity was transferred (accepted deposits, withdrawals and other breaks, and what is in doubt; quote units), as of
-- when it was recorded. A slot is recorded under its bar's close, which may lie before an acceptance that its equity has: only
-- the row itself can say what is in it.
ALTER TABLE equity ADD COLUMN transferred numeric NOT NULL DEFAULT 0;

UPDATE equity SET transferred = (
    SELECT sum(b.value) FROM break_acceptance b WHERE b.account = equity.account AND b.at <= equity.at)
WHERE EXISTS (SELECT FROM break_acceptance b WHERE b.account = equity.account AND b.at <= equity.at);
