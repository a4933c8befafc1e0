-- What an order was meant to be is written once. Only what became of it (state, filled quantity, the venue's id, the last
-- reason) changes, and that is a read model: it can be rebuilt from order_event and fill.

CREATE TRIGGER frozen_intent BEFORE UPDATE OF client_order_id, sequence, account, rebalance_id, symbol, side, type, quantity,
    price, leg, attempt, strategy_version, target_weight, reference_price, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A state as of a past time asks by when things happened.
CREATE INDEX ON adjustment (account, at);
