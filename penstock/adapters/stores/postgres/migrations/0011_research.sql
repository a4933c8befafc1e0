-- The trials of searches, and the journal of all looks at data.

CREATE TABLE study (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,     -- other bars, code, costs or settings: another name
    strategy   text NOT NULL,
    objectives text[] NOT NULL,          -- the names of a trial's "values", in their order
    metrics    text[] NOT NULL,          -- the names of a trial's "figures", in their order
    trials     integer NOT NULL          -- how many it has when it is complete
);

-- Only finished trials are kept: whoever evaluates a batch holds an advisory lock.
CREATE TABLE trial (
    study_id integer NOT NULL REFERENCES study,
    number   integer NOT NULL,
    batch    integer NOT NULL,
    params   json NOT NULL,              -- as text: a number comes back as it was
    allowed  boolean NOT NULL,
    "values" double precision[] NOT NULL,
    figures  double precision[] NOT NULL,
    took_ms  double precision NOT NULL,
    PRIMARY KEY (study_id, number)
);

CREATE TABLE look (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    asked_by     text NOT NULL,
    channel      text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('search', 'backtest', 'gate')),
    about        text NOT NULL,
    venue        text NOT NULL,
    timeframe    integer NOT NULL,       -- seconds
    symbols      text[] NOT NULL,
    first_bar    timestamptz NOT NULL,   -- its open
    last_bar     timestamptz NOT NULL,   -- its open
    dataset_hash text NOT NULL,
    trials       integer,                -- null where the look was not ended
    best         json                    -- figures by name
);
CREATE INDEX look_bars ON look (venue, timeframe, first_bar);

-- What was tried: a hash of source and parameters.
CREATE TABLE look_configuration (
    look_id       bigint NOT NULL REFERENCES look,
    configuration text NOT NULL,
    PRIMARY KEY (look_id, configuration)
);
