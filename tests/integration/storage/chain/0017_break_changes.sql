-- What accepting a break would book, by asset: an operator accepts the figures that were recorded, not those of a later look.
-- NULL: the break was opened before they were kept.

ALTER TABLE account_break ADD COLUMN changes jsonb;
