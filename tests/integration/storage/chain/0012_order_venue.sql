-- Which of an account's venues an order went to; '' where the account has one. Part of the intent: written once.

ALTER TABLE orders ADD COLUMN venue text NOT NULL DEFAULT '';

CREATE TRIGGER frozen_venue BEFORE UPDATE OF venue ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
