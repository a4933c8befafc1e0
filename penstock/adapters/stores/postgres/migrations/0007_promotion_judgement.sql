-- What the gate decided about which content. Only what it let pass is loaded.

CREATE TABLE promotion_judgement (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text NOT NULL,
    version      text NOT NULL,
    content_hash text NOT NULL, -- of source, parameters and evidence together
    decision     text NOT NULL CHECK (decision IN ('rejected', 'challenger', 'champion')),
    at           timestamptz NOT NULL,
    asked_by     text NOT NULL
);
CREATE INDEX ON promotion_judgement (model, version);

-- NULL: a verdict from before judgements were kept.
ALTER TABLE promotion_verdict ADD COLUMN judgement_id bigint REFERENCES promotion_judgement;
