-- An instrument says what it is: its kind, what it settles in, and how many base units one contract stands for.

ALTER TABLE instrument
    ADD COLUMN kind          text NOT NULL DEFAULT 'spot' CHECK (kind IN ('spot', 'linear_perpetual')),
    ADD COLUMN settle        text,
    ADD COLUMN contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0);
UPDATE instrument SET settle = quote;
ALTER TABLE instrument ALTER COLUMN settle SET NOT NULL;

ALTER TABLE planned_instrument
    ADD COLUMN kind          text NOT NULL DEFAULT 'spot' CHECK (kind IN ('spot', 'linear_perpetual')),
    ADD COLUMN settle        text,
    ADD COLUMN contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0);
UPDATE planned_instrument SET settle = quote;
ALTER TABLE planned_instrument ALTER COLUMN settle SET NOT NULL;
