-- Which instrument a ticker stood for, and which bars were in doubt.

-- A symbol without a row is a ticker that was never given to another coin.

CREATE TABLE series (
    instrument_id integer PRIMARY KEY REFERENCES instrument,
    ticker        text NOT NULL,
    starts        timestamptz,
    ends          timestamptz,
    formerly      text, -- the symbol that it goes on with
    units         double precision NOT NULL DEFAULT 1 CHECK (units > 0),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (starts < ends)
);

-- Bars that were held back at their close. The bar itself, stored later, has when it was known.
CREATE TABLE doubted_bar (
    instrument_id integer NOT NULL REFERENCES instrument,
    timeframe     integer NOT NULL,
    ts            timestamptz NOT NULL,
    held_at       timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, timeframe, ts)
);
