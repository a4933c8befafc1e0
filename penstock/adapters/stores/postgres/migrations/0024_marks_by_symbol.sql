-- What is remembered of a position is kept by its symbol, and its best price may be a low: a position may be short.

UPDATE position_mark SET asset = asset || '/' || quote FROM account WHERE account.name = position_mark.account;
ALTER TABLE position_mark RENAME COLUMN asset TO symbol;
ALTER TABLE position_mark RENAME COLUMN high TO best;
