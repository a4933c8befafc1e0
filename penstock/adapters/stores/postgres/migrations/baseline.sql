-- Brings a database of the first chain of migrations (0001 to 0021, whole) to what 0001 to 0006
-- make of an empty one. It runs once, in the transaction that replaces the chain's rows in
-- schema_migration.

-- Instruments say what they are: kind, settle asset, base units per contract.
ALTER TABLE instrument
    ADD COLUMN kind          text NOT NULL DEFAULT 'spot' CHECK (kind IN ('spot', 'linear_perpetual')),
    ADD COLUMN settle        text,
    ADD COLUMN contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0);
UPDATE instrument SET settle = quote;
ALTER TABLE instrument ALTER COLUMN settle SET NOT NULL;
ALTER TABLE planned_instrument
    ADD COLUMN kind          text NOT NULL DEFAULT 'spot' CHECK (kind IN ('spot', 'linear_perpetual')),
    ADD COLUMN settle        text,
    ADD COLUMN contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0);
UPDATE planned_instrument SET settle = quote;
ALTER TABLE planned_instrument ALTER COLUMN settle SET NOT NULL;

-- Who asked for a judgement is kept with its verdicts.
ALTER TABLE promotion_verdict ADD COLUMN asked_by text NOT NULL DEFAULT '';
ALTER TABLE promotion_verdict ALTER COLUMN asked_by DROP DEFAULT;

-- What an account has of each asset is a balance. A position is by instrument: perpetuals move it.
CREATE TABLE balance (
    account    text NOT NULL REFERENCES account,
    asset      text NOT NULL,
    quantity   numeric NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, asset)
);
INSERT INTO balance (account, asset, quantity, updated_at)
SELECT account, asset, quantity, updated_at FROM position;
DROP TABLE position;
CREATE TABLE position (
    account    text NOT NULL REFERENCES account,
    symbol     text NOT NULL,
    quantity   numeric NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, symbol)
);
UPDATE account_break SET kind = 'balance_mismatch' WHERE kind = 'position_mismatch';
ALTER TABLE break_acceptance DISABLE TRIGGER append_only;
UPDATE break_acceptance SET kind = 'balance_mismatch' WHERE kind = 'position_mismatch';
ALTER TABLE break_acceptance ENABLE TRIGGER append_only;

-- A rule closes a position. To flatten is to close all of an account's.
ALTER TABLE risk_verdict DISABLE TRIGGER append_only;
ALTER TABLE risk_verdict DROP CONSTRAINT risk_verdict_verdict_check;
UPDATE risk_verdict SET verdict = 'close' WHERE verdict = 'flatten';
ALTER TABLE risk_verdict ADD CHECK (verdict IN ('shrink', 'deny', 'close'));
ALTER TABLE risk_verdict ENABLE TRIGGER append_only;

-- What is remembered of a position is kept by its symbol.
ALTER TABLE position_mark ADD COLUMN symbol text;
UPDATE position_mark SET symbol = asset || '/' || quote
FROM account WHERE account.name = position_mark.account;
ALTER TABLE position_mark
    DROP CONSTRAINT position_mark_pkey,
    DROP COLUMN asset,
    ALTER COLUMN symbol SET NOT NULL,
    ADD PRIMARY KEY (account, symbol);
ALTER TABLE position_mark RENAME COLUMN high TO best;

-- Why an order has ended, and which of a phase's requests it is. What is append-only or frozen gets
-- the new columns of its old rows here.
DROP TRIGGER frozen_intent ON orders;
DROP TRIGGER frozen_venue ON orders;
ALTER TABLE orders
    ADD COLUMN end_cause text,
    ADD COLUMN phase     integer,
    ADD COLUMN child     integer;
ALTER TABLE order_event ADD COLUMN end_cause text;
ALTER TABLE worked_order ADD COLUMN phase integer;
ALTER TABLE order_event DISABLE TRIGGER append_only;
ALTER TABLE worked_order DISABLE TRIGGER append_only;

-- A cause that an event named stood at the beginning of its reason. The others follow from its kind.
UPDATE order_event SET end_cause = CASE
    WHEN reason LIKE 'never sent%' THEN 'never_sent'
    WHEN reason LIKE 'stopped by the kill switch%' THEN 'stopped'
    WHEN reason LIKE 'never arrived: paced%' THEN 'paced_out'
    WHEN reason LIKE 'never arrived%' THEN 'never_arrived'
    WHEN reason LIKE 'not filled in time%' THEN 'not_filled_in_time'
    WHEN reason LIKE 'cancelled by the kill switch%' THEN 'cancelled_by_kill_switch'
    WHEN reason LIKE 'accepted %' AND kind = 'cancel' THEN 'accepted_break' END
WHERE kind IN ('abandon', 'reject', 'request_cancel', 'cancel');

-- As penstock.core.orders.next_cause says of the last event that ended, or began to cancel, an order.
WITH ending AS (
    SELECT DISTINCT ON (client_order_id) client_order_id, kind, from_state, end_cause
    FROM order_event
    WHERE refusal IS NULL
      AND to_state IN ('canceled', 'rejected', 'expired', 'pending_cancel')
      AND (from_state <> to_state OR end_cause IS NOT NULL)
    ORDER BY client_order_id, id DESC
), request AS (
    SELECT DISTINCT ON (client_order_id) client_order_id, end_cause FROM order_event
    WHERE refusal IS NULL AND kind = 'request_cancel' ORDER BY client_order_id, id DESC
)
UPDATE orders SET end_cause = coalesce(
    ending.end_cause,
    CASE WHEN ending.kind = 'cancel' AND ending.from_state = 'pending_cancel'
        THEN request.end_cause END,
    CASE ending.kind
        WHEN 'reject' THEN 'refused'
        WHEN 'expire' THEN 'expired'
        WHEN 'abandon' THEN 'never_sent'
        ELSE 'cancelled' END)
FROM ending LEFT JOIN request USING (client_order_id)
WHERE orders.client_order_id = ending.client_order_id
  AND orders.state IN ('canceled', 'rejected', 'expired', 'pending_cancel');
UPDATE orders SET end_cause = 'filled' WHERE state = 'filled';
UPDATE orders SET phase = leg % 2, child = leg / 2;
UPDATE worked_order SET phase = leg;

ALTER TABLE order_event ENABLE TRIGGER append_only;
ALTER TABLE worked_order ENABLE TRIGGER append_only;
ALTER TABLE orders
    DROP COLUMN leg,
    ALTER COLUMN phase SET NOT NULL,
    ALTER COLUMN child SET NOT NULL,
    ADD CHECK (phase IN (0, 1)),
    ADD CHECK (child >= 0);
ALTER TABLE worked_order
    DROP CONSTRAINT worked_order_pkey,
    DROP COLUMN leg,
    ALTER COLUMN phase SET NOT NULL,
    ADD CHECK (phase IN (0, 1)),
    ADD PRIMARY KEY (rebalance_id, symbol, phase);
CREATE TRIGGER frozen_intent BEFORE UPDATE OF client_order_id, sequence, account, rebalance_id,
    symbol, side, type, quantity, price, venue, phase, child, attempt, strategy_version,
    target_weight, reference_price, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
