-- The write-ahead record of every account. Money is numeric. Events, fills, adjustments and parent
-- orders are only ever added.

CREATE TABLE account (
    name      text PRIMARY KEY,
    exchange  text NOT NULL,
    quote     text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE lease (
    account    text PRIMARY KEY REFERENCES account,
    token      bigint NOT NULL DEFAULT 0,
    holder     text NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);

-- Every write to an account calls this first. The lock makes writers and a new lease wait for one
-- another.
CREATE FUNCTION assert_lease(for_account text, with_token bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT token INTO newest FROM lease WHERE account = for_account FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account ''%'' is not in the ledger', for_account USING ERRCODE = 'PS002';
    END IF;
    IF newest IS DISTINCT FROM with_token THEN
        RAISE EXCEPTION 'the lease of account ''%'' with token % was replaced by token %', for_account, with_token, newest
            USING ERRCODE = 'PS001';
    END IF;
END
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'PS003';
END
$$;

CREATE TABLE rebalance (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account           text NOT NULL REFERENCES account,
    slot              timestamptz NOT NULL,
    portfolio_version text NOT NULL,
    status            text NOT NULL CHECK (status IN ('running', 'done', 'skipped', 'failed')),
    reason            text NOT NULL DEFAULT '',
    targets           jsonb,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at          timestamptz,
    UNIQUE (account, slot)
);

-- What an order was meant to be is written once. What became of it is a read model of its events
-- and fills: it can be rebuilt from order_event and fill. A new column of penstock.core's
-- OrderIntent belongs into the trigger frozen_intent, one of OrderProgress does not.
CREATE TABLE orders (
    client_order_id  text PRIMARY KEY,
    sequence         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    account          text NOT NULL REFERENCES account,
    rebalance_id     bigint NOT NULL REFERENCES rebalance,
    symbol           text NOT NULL,
    side             text NOT NULL CHECK (side IN ('buy', 'sell')),
    type             text NOT NULL CHECK (type IN ('market', 'limit')),
    quantity         numeric NOT NULL CHECK (quantity > 0),
    price            numeric,
    venue            text NOT NULL DEFAULT '', -- one of the account's venues; '' where it has one
    phase            integer NOT NULL CHECK (phase IN (0, 1)), -- 0 sells, 1 buys
    child            integer NOT NULL CHECK (child >= 0),
    attempt          integer NOT NULL,
    strategy_version text NOT NULL,
    target_weight    double precision NOT NULL,
    reference_price  numeric NOT NULL,
    created_at       timestamptz NOT NULL,
    -- what became of it
    state            text NOT NULL,
    filled_quantity  numeric NOT NULL DEFAULT 0,
    venue_order_id   text NOT NULL DEFAULT '',
    reason           text NOT NULL DEFAULT '',
    end_cause        text, -- NULL while it works
    updated_at       timestamptz NOT NULL
);
CREATE TRIGGER frozen_intent BEFORE UPDATE OF client_order_id, sequence, account, rebalance_id,
    symbol, side, type, quantity, price, venue, phase, child, attempt, strategy_version,
    target_weight, reference_price, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON orders (account, sequence);
CREATE INDEX ON orders (account, created_at); -- counts of the last minute and day
CREATE INDEX ON orders (rebalance_id);
CREATE INDEX orders_unfinished ON orders (account, sequence)
    WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired');
CREATE INDEX orders_overfilled ON orders (account, sequence) WHERE filled_quantity > quantity;
-- The orders of a symbol of which the venue may have filled more than the ledger knows.
CREATE INDEX orders_short ON orders (account, symbol, sequence) WHERE filled_quantity < quantity;

CREATE TABLE order_event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_order_id text NOT NULL REFERENCES orders,
    kind            text NOT NULL,
    at              timestamptz NOT NULL,
    reason          text NOT NULL DEFAULT '',
    venue_order_id  text NOT NULL DEFAULT '',
    end_cause       text, -- the cause that the event names, if it names one
    from_state      text NOT NULL,
    to_state        text NOT NULL,
    refusal         text, -- why the order machine did not take it
    lease_token     bigint NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON order_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON order_event (client_order_id, id);

CREATE TABLE fill (
    sequence        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    account         text NOT NULL REFERENCES account,
    symbol          text NOT NULL,
    trade_id        text NOT NULL,
    client_order_id text NOT NULL REFERENCES orders,
    side            text NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity        numeric NOT NULL CHECK (quantity > 0),
    price           numeric NOT NULL,
    fee             numeric NOT NULL,
    fee_asset       text NOT NULL,
    at              timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, symbol, trade_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON fill FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON fill (account, at);
CREATE INDEX fill_by_time ON fill (account, symbol, at);
-- Which newer fills belong before a checkpoint, or were not compared yet, is read from the index
-- alone: without their times in it the planner walks the newer fills of all symbols.
CREATE INDEX fill_by_arrival ON fill (account, symbol, sequence) INCLUDE (at, trade_id);

CREATE TABLE adjustment (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL REFERENCES account,
    asset       text NOT NULL,
    quantity    numeric NOT NULL,
    reason      text NOT NULL,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON adjustment FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX ON adjustment (account, at);

-- Read models of fills and adjustments, changed in the same transaction as they are. What an
-- account has of each asset is a balance, which spot trading moves. A position is by instrument:
-- perpetuals move it.
CREATE TABLE balance (
    account    text NOT NULL REFERENCES account,
    asset      text NOT NULL,
    quantity   numeric NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, asset)
);
CREATE TABLE position (
    account    text NOT NULL REFERENCES account,
    symbol     text NOT NULL,
    quantity   numeric NOT NULL, -- signed: below zero is short
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, symbol)
);

-- The parents of child orders: what was approved and how it is worked, committed before the first
-- child.
CREATE TABLE worked_order (
    sequence         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    account          text NOT NULL REFERENCES account,
    rebalance_id     bigint NOT NULL REFERENCES rebalance,
    symbol           text NOT NULL,
    side             text NOT NULL CHECK (side IN ('buy', 'sell')),
    phase            integer NOT NULL CHECK (phase IN (0, 1)),
    quantity         numeric NOT NULL CHECK (quantity > 0),
    reference_price  numeric NOT NULL,
    target_weight    double precision NOT NULL,
    strategy_version text NOT NULL,
    plan             jsonb NOT NULL,
    started_at       timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rebalance_id, symbol, phase)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON worked_order FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What was paid for the positions held, counted up to a fill: the newer ones are added to it, so
-- that a slot does not read all. A read model of the fills alone, kept where entries are read: rows
-- may be dropped at any time. `at` and `trade_id` name the last fill counted in the venue's order,
-- `sequence` the newest that was known then.
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
