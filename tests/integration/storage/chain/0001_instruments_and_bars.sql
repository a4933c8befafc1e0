-- Instruments, and bars with everything that is known about them. The table bar itself is made by 0002, because how it
-- is partitioned differs between tiers.

CREATE TABLE instrument (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange     text NOT NULL,
    symbol       text NOT NULL,
    base         text NOT NULL,
    quote        text NOT NULL,
    price_tick   numeric,
    lot_step     numeric,
    min_quantity numeric,
    min_notional numeric,
    max_quantity numeric,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (exchange, symbol)
);

-- What a bar said before it was revised, and between which instants we believed it.
CREATE TABLE bar_revision (
    instrument_id integer NOT NULL REFERENCES instrument,
    timeframe     integer NOT NULL,
    ts            timestamptz NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume        double precision NOT NULL,
    known_from    timestamptz NOT NULL,
    known_until   timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, timeframe, ts, known_until)
);

-- Rows that a check refused. Values may be anything, missing included.
CREATE TABLE quarantine (
    instrument_id  integer NOT NULL REFERENCES instrument,
    timeframe      integer NOT NULL,
    ts             timestamptz,
    open           double precision,
    high           double precision,
    low            double precision,
    close          double precision,
    volume         double precision,
    reason         text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (instrument_id, timeframe, ts, reason, open, high, low, close, volume)
);

CREATE TABLE watermark (
    instrument_id integer NOT NULL REFERENCES instrument,
    timeframe     integer NOT NULL,
    ts            timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (instrument_id, timeframe)
);

CREATE TABLE check_result (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id integer NOT NULL REFERENCES instrument,
    timeframe     integer NOT NULL,
    check_name    text NOT NULL,
    success       boolean NOT NULL,
    observed      text,
    bound         text,
    detail        text NOT NULL DEFAULT '',
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON check_result (instrument_id, timeframe, check_name, id DESC);

CREATE TABLE snapshot (
    content_hash text PRIMARY KEY,
    exchange     text NOT NULL,
    timeframe    integer NOT NULL,
    symbols      text[] NOT NULL,
    row_count    bigint NOT NULL,
    uri          text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
