-- What was paid for the positions held, counted up to a fill: the newer ones are added to it, so that a slot does not read all.
-- A read model of the fills alone, kept where entries are read: rows may be dropped at any time.
-- `at` and `trade_id` name the last fill counted in the venue's order, `sequence` the newest that was known then.

CREATE TABLE entry_checkpoint (
    account  text NOT NULL REFERENCES account,
    symbol   text NOT NULL,
    quantity numeric NOT NULL,
    cost     numeric NOT NULL,
    at       timestamptz NOT NULL,
    trade_id text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (account, symbol)
);
CREATE INDEX fill_by_time ON fill (account, symbol, at);

-- Which of the newer fills belong before a checkpoint is read from the index alone.
CREATE INDEX fill_by_arrival ON fill (account, symbol, sequence) INCLUDE (at, trade_id);
DROP INDEX fill_by_symbol;
