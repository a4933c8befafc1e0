-- What risk rules said and remember of an account, what halts ask for besides stopping, and accepted breaks.

ALTER TABLE trading_state
    ADD COLUMN cancel_orders boolean NOT NULL DEFAULT false,
    ADD COLUMN flatten       boolean NOT NULL DEFAULT false;

-- Every word of a rule against an order, and every position that a rule closed.
CREATE TABLE risk_verdict (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    slot    timestamptz NOT NULL,
    symbol  text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('shrink', 'deny', 'flatten')),
    rule    text NOT NULL,
    reason  text NOT NULL,
    wanted  numeric NOT NULL,
    passed  numeric NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX ON risk_verdict (account, slot);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk_verdict FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE position_mark (
    account    text NOT NULL,
    asset      text NOT NULL,
    high       numeric,
    stopped_at timestamptz,
    PRIMARY KEY (account, asset)
);

-- The steps that the account's orders of a symbol were planned with, until an operator accepts the venue's new ones.
CREATE TABLE planned_instrument (
    account      text NOT NULL,
    symbol       text NOT NULL,
    base         text NOT NULL,
    quote        text NOT NULL,
    price_tick   numeric NOT NULL,
    lot_step     numeric NOT NULL,
    min_quantity numeric NOT NULL,
    min_notional numeric NOT NULL,
    PRIMARY KEY (account, symbol)
);

CREATE TABLE break_acceptance (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    subject     text NOT NULL,
    kind        text NOT NULL,
    reason      text NOT NULL,
    accepted_by text NOT NULL,
    at          timestamptz NOT NULL,
    value       numeric NOT NULL
);
CREATE INDEX ON break_acceptance (account, at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_acceptance FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
