-- Who asked for a judgement is kept with its verdicts.

ALTER TABLE promotion_verdict ADD COLUMN asked_by text NOT NULL DEFAULT '';
ALTER TABLE promotion_verdict ALTER COLUMN asked_by DROP DEFAULT;
