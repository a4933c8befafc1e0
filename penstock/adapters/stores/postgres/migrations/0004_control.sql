-- What stops trading, what an account was worth, and what risk rules and reconciliation remember.

CREATE TABLE account_break (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       text NOT NULL,
    subject       text NOT NULL,
    kind          text NOT NULL,
    detail        text NOT NULL,
    ledger_value  numeric,
    venue_value   numeric,
    -- What accepting it would book, by asset: an operator accepts the figures that were recorded,
    -- not those of a later look. NULL: they were not kept.
    changes       jsonb,
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    closed_reason text
);
CREATE UNIQUE INDEX one_open_break ON account_break (account, subject, kind)
    WHERE closed_at IS NULL;

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
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON break_acceptance FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON break_acceptance (account, at);

-- The newest row of an account (or of '*') is in force; the others are its history.
CREATE TABLE trading_state (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       text NOT NULL,
    state         text NOT NULL CHECK (state IN ('active', 'reduce_only', 'halted')),
    reason        text NOT NULL,
    set_by        text NOT NULL,
    at            timestamptz NOT NULL,
    cancel_orders boolean NOT NULL DEFAULT false,
    flatten       boolean NOT NULL DEFAULT false
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON trading_state FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON trading_state (account, id DESC);

-- `transferred` is what of an equity was transferred (accepted deposits, withdrawals and other
-- breaks, and what is in doubt; quote units), as of when it was recorded. A slot is recorded under
-- its bar's close, which may lie before an acceptance that its equity has: only the row itself can
-- say what is in it. Loss limits compare equities without transfers.
CREATE TABLE equity (
    account           text NOT NULL,
    at                timestamptz NOT NULL,
    equity            numeric NOT NULL,
    cash              numeric NOT NULL,
    transferred       numeric NOT NULL DEFAULT 0,
    without_transfers numeric GENERATED ALWAYS AS (equity - transferred) STORED,
    PRIMARY KEY (account, at)
);
CREATE INDEX ON equity (account, without_transfers, at); -- the highest since a time, from the top

-- Every finding of a rule against an order, and every position that a rule closed.
CREATE TABLE risk_verdict (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    slot    timestamptz NOT NULL,
    symbol  text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('shrink', 'deny', 'close')),
    rule    text NOT NULL,
    reason  text NOT NULL,
    wanted  numeric NOT NULL,
    passed  numeric NOT NULL,
    at      timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON risk_verdict FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON risk_verdict (account, slot);

-- The best price of a position since it was opened (the highest of a long, the lowest of a short),
-- and when it was stopped out.
CREATE TABLE position_mark (
    account    text NOT NULL,
    symbol     text NOT NULL,
    best       numeric,
    stopped_at timestamptz,
    PRIMARY KEY (account, symbol)
);

-- The steps that the account's orders of a symbol were planned with, until an operator accepts the
-- venue's new ones. `listed` is false where the venue no longer lists the symbol and an operator has
-- taken note of that.
CREATE TABLE planned_instrument (
    account       text NOT NULL,
    symbol        text NOT NULL,
    kind          text NOT NULL DEFAULT 'spot' CHECK (kind IN ('spot', 'linear_perpetual')),
    base          text NOT NULL,
    quote         text NOT NULL,
    settle        text NOT NULL,
    contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0),
    price_tick    numeric NOT NULL,
    lot_step      numeric NOT NULL,
    min_quantity  numeric NOT NULL,
    min_notional  numeric NOT NULL,
    listed        boolean NOT NULL DEFAULT true,
    PRIMARY KEY (account, symbol)
);

-- How far each symbol's fills were compared with the venue's trades, one by one: up to which fill,
-- and when that was traded.
CREATE TABLE compared_trades (
    account  text NOT NULL REFERENCES account,
    symbol   text NOT NULL,
    sequence bigint NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (account, symbol)
);
