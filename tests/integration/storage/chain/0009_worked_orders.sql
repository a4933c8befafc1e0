-- The parents of child orders: what was approved and how it is worked, committed before the first child. Only ever added.

CREATE TABLE worked_order (
    sequence         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    account          text NOT NULL REFERENCES account,
    rebalance_id     bigint NOT NULL REFERENCES rebalance,
    symbol           text NOT NULL,
    side             text NOT NULL CHECK (side IN ('buy', 'sell')),
    leg              integer NOT NULL,
    quantity         numeric NOT NULL CHECK (quantity > 0),
    reference_price  numeric NOT NULL,
    target_weight    double precision NOT NULL,
    strategy_version text NOT NULL,
    plan             jsonb NOT NULL,
    started_at       timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rebalance_id, symbol, leg)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON worked_order FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
