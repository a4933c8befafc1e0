-- The write-ahead record of every account. Money is numeric. Events, fills and adjustments are only ever added.

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

-- Every write to an account calls this first. The lock makes writers and a new lease wait for one another.
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
    leg              integer NOT NULL,
    attempt          integer NOT NULL,
    strategy_version text NOT NULL,
    target_weight    double precision NOT NULL,
    reference_price  numeric NOT NULL,
    state            text NOT NULL,
    filled_quantity  numeric NOT NULL DEFAULT 0,
    venue_order_id   text NOT NULL DEFAULT '',
    reason           text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX ON orders (account, sequence);
CREATE INDEX ON orders (rebalance_id);
CREATE INDEX orders_unfinished ON orders (account, sequence)
    WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired');

CREATE TABLE order_event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_order_id text NOT NULL REFERENCES orders,
    kind            text NOT NULL,
    from_state      text NOT NULL,
    to_state        text NOT NULL,
    at              timestamptz NOT NULL,
    reason          text NOT NULL DEFAULT '',
    venue_order_id  text NOT NULL DEFAULT '',
    refusal         text,
    lease_token     bigint NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
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
CREATE INDEX ON fill (account, at);

CREATE TABLE adjustment (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL REFERENCES account,
    asset       text NOT NULL,
    quantity    numeric NOT NULL,
    reason      text NOT NULL,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A read model of fills and adjustments, changed in the same transaction as they are.
CREATE TABLE position (
    account    text NOT NULL REFERENCES account,
    asset      text NOT NULL,
    quantity   numeric NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, asset)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fill FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON adjustment FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
