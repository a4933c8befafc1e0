-- What a slot asks of its account must not grow with the account's age: a year of minute slots is half a million of them.

-- Counts of the orders of the last minute and day.
CREATE INDEX ON orders (account, created_at);

-- The orders of a symbol of which the venue may have filled more than the ledger knows.
CREATE INDEX orders_short ON orders (account, symbol, sequence) WHERE filled_quantity < quantity;

-- The highest equity since a time, read from the top.
CREATE INDEX ON equity (account, equity, at);

-- A symbol's fills that were not compared yet, with their times: without those the planner walks the newer fills of all symbols.
CREATE INDEX fill_by_symbol ON fill (account, symbol, sequence) INCLUDE (at);
DROP INDEX fill_account_symbol_sequence_idx;
