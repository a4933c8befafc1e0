-- Why a version was or was not promoted: one row per criterion and judgement.

CREATE TABLE promotion_verdict (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model     text NOT NULL,
    version   text NOT NULL,
    criterion text NOT NULL,
    passed    boolean NOT NULL,
    value     double precision,
    bound     double precision,
    reason    text NOT NULL,
    at        timestamptz NOT NULL,
    asked_by  text NOT NULL -- who asked for the judgement
);
CREATE INDEX ON promotion_verdict (model, version, id);
