-- The outbox of alerts. A row is written in the transaction of what it is about, so that a crash
-- cannot leave one without the other.

CREATE TABLE alert (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account  text NOT NULL,
    title    text NOT NULL,
    body     text NOT NULL,
    break_id bigint REFERENCES account_break, -- the break that it is about, if it is about one
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at  timestamptz
);
CREATE INDEX alert_unsent ON alert (account, id) WHERE sent_at IS NULL;
