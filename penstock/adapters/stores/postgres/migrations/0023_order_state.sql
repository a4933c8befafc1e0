-- Why an order has ended, and which of a phase's requests it is, as columns: nothing is read off a reason or a number.

ALTER TABLE orders
    ADD COLUMN end_cause text,
    ADD COLUMN phase     integer,
    ADD COLUMN child     integer;
ALTER TABLE order_event ADD COLUMN end_cause text;
ALTER TABLE worked_order ADD COLUMN phase integer;

-- What is append-only or frozen gets the new columns of its old rows here, once.
DROP TRIGGER frozen_intent ON orders;
ALTER TABLE order_event DISABLE TRIGGER append_only;
ALTER TABLE worked_order DISABLE TRIGGER append_only;

UPDATE orders SET phase = leg % 2, child = leg / 2, end_cause = CASE
    WHEN state = 'filled' THEN 'filled'
    WHEN state NOT IN ('canceled', 'rejected', 'expired', 'pending_cancel') THEN NULL
    WHEN reason LIKE 'never sent%' THEN 'never_sent'
    WHEN reason LIKE 'stopped by the kill switch%' THEN 'stopped'
    WHEN reason LIKE 'never arrived: paced%' THEN 'paced_out'
    WHEN reason LIKE 'never arrived%' THEN 'never_arrived'
    WHEN state = 'rejected' THEN 'refused'
    WHEN state = 'expired' THEN 'expired'
    WHEN reason LIKE 'not filled in time%' THEN 'not_filled_in_time'
    WHEN reason LIKE 'cancelled by the kill switch%' THEN 'cancelled_by_kill_switch'
    WHEN reason LIKE 'accepted %' THEN 'accepted_break'
    ELSE 'cancelled' END;
UPDATE order_event SET end_cause = CASE
    WHEN refusal IS NOT NULL THEN NULL
    WHEN to_state = 'filled' THEN 'filled'
    WHEN to_state NOT IN ('canceled', 'rejected', 'expired', 'pending_cancel') THEN NULL
    WHEN reason LIKE 'never sent%' THEN 'never_sent'
    WHEN reason LIKE 'stopped by the kill switch%' THEN 'stopped'
    WHEN reason LIKE 'never arrived: paced%' THEN 'paced_out'
    WHEN reason LIKE 'never arrived%' THEN 'never_arrived'
    WHEN reason LIKE 'not filled in time%' THEN 'not_filled_in_time'
    WHEN reason LIKE 'cancelled by the kill switch%' THEN 'cancelled_by_kill_switch'
    WHEN reason LIKE 'accepted %' THEN 'accepted_break' END;
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
CREATE TRIGGER frozen_intent BEFORE UPDATE OF client_order_id, sequence, account, rebalance_id, symbol, side, type, quantity,
    price, phase, child, attempt, strategy_version, target_weight, reference_price, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
