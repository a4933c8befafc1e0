-- What the searches of this installation chose. The gate runs the code of nothing else.

CREATE TABLE search_choice (
    content_hash text PRIMARY KEY, -- of source, parameters and evidence together
    search_id    text NOT NULL,
    at           timestamptz NOT NULL
);
