-- How far each symbol's fills were compared with the venue's trades, one by one: up to which fill, and when that was traded.

CREATE TABLE compared_trades (
    account  text NOT NULL REFERENCES account,
    symbol   text NOT NULL,
    sequence bigint NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (account, symbol)
);
CREATE INDEX ON fill (account, symbol, sequence);

-- What was booked before this table existed counts as compared: its balances agreed, or a break was open.
INSERT INTO compared_trades (account, symbol, sequence, at)
SELECT DISTINCT ON (account, symbol) account, symbol, sequence, at FROM fill ORDER BY account, symbol, sequence DESC;

CREATE INDEX orders_overfilled ON orders (account, sequence) WHERE filled_quantity > quantity;

-- False where the venue no longer lists the symbol and an operator has taken note of that.
ALTER TABLE planned_instrument ADD COLUMN listed boolean NOT NULL DEFAULT true;
