-- Which strategies an operator has taken out. The gate promotes none of them again.

CREATE TABLE rollback (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model         text NOT NULL,
    version       text NOT NULL,
    strategy_hash text NOT NULL, -- of source and parameters: a later version may have the same
    at            timestamptz NOT NULL,
    asked_by      text NOT NULL
);
CREATE INDEX ON rollback (model, id);
