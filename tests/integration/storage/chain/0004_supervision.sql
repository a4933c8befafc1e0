-- What stops trading, what an account was worth, and why a version was or was not promoted.

CREATE TABLE account_break (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       text NOT NULL,
    subject       text NOT NULL,
    kind          text NOT NULL,
    detail        text NOT NULL,
    ledger_value  numeric,
    venue_value   numeric,
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    closed_reason text
);
CREATE UNIQUE INDEX one_open_break ON account_break (account, subject, kind) WHERE closed_at IS NULL;

-- The newest row of an account (or of '*') is in force; the others are its history.
CREATE TABLE trading_state (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    state   text NOT NULL CHECK (state IN ('active', 'reduce_only', 'halted')),
    reason  text NOT NULL,
    set_by  text NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX ON trading_state (account, id DESC);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trading_state FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE equity (
    account text NOT NULL,
    at      timestamptz NOT NULL,
    equity  numeric NOT NULL,
    cash    numeric NOT NULL,
    PRIMARY KEY (account, at)
);

CREATE TABLE promotion_verdict (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model     text NOT NULL,
    version   text NOT NULL,
    criterion text NOT NULL,
    passed    boolean NOT NULL,
    value     double precision,
    bound     double precision,
    reason    text NOT NULL,
    at        timestamptz NOT NULL
);
CREATE INDEX ON promotion_verdict (model, version, id);
