-- What an account has of each asset is a balance, which spot trading moves. A position is by instrument: perpetuals move it.

ALTER TABLE position RENAME TO balance;
ALTER TABLE balance RENAME CONSTRAINT position_pkey TO balance_pkey;
ALTER TABLE balance RENAME CONSTRAINT position_account_fkey TO balance_account_fkey;

CREATE TABLE position (
    account    text NOT NULL REFERENCES account,
    symbol     text NOT NULL,
    quantity   numeric NOT NULL, -- signed: below zero is short
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, symbol)
);

UPDATE account_break SET kind = 'balance_mismatch' WHERE kind = 'position_mismatch';
ALTER TABLE break_acceptance DISABLE TRIGGER append_only;
UPDATE break_acceptance SET kind = 'balance_mismatch' WHERE kind = 'position_mismatch';
ALTER TABLE break_acceptance ENABLE TRIGGER append_only;
