"""The instruments of venues, with their steps and least orders, as rows of the database."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from penstock.core.instruments import Instrument, InstrumentKind


def write_instruments(
    connection: psycopg.Connection[Any], exchange: str, instruments: Sequence[Instrument]
) -> None:
    """Insert or update the instruments of a venue."""
    rows = [
        (
            *(exchange, i.symbol, i.kind.value, i.base, i.quote, i.settle, i.contract_size),
            *(i.price_tick, i.lot_step, i.min_quantity, i.min_notional, i.max_quantity),
        )
        for i in sorted(instruments, key=lambda instrument: instrument.symbol)
    ]
    connection.cursor().executemany(
        """INSERT INTO instrument
           (exchange, symbol, kind, base, quote, settle, contract_size,
            price_tick, lot_step, min_quantity, min_notional, max_quantity)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (exchange, symbol) DO UPDATE
           SET kind = excluded.kind, base = excluded.base, quote = excluded.quote,
               settle = excluded.settle, contract_size = excluded.contract_size,
               price_tick = excluded.price_tick, lot_step = excluded.lot_step,
               min_quantity = excluded.min_quantity, min_notional = excluded.min_notional,
               max_quantity = excluded.max_quantity, updated_at = clock_timestamp()""",
        rows,
    )


def read_instruments(
    connection: psycopg.Connection[Any], exchange: str, symbols: Sequence[str]
) -> Mapping[str, Instrument]:
    """Return the stored instruments by symbol. One without its venue's rules is absent."""
    rows = connection.execute(
        """SELECT symbol, base, quote, price_tick, lot_step, min_quantity, min_notional,
                  max_quantity, contract_size, settle, kind
           FROM instrument
           WHERE exchange = %s AND symbol = ANY(%s) AND lot_step IS NOT NULL""",
        [exchange, list(symbols)],
    ).fetchall()
    names = (
        *("symbol", "base", "quote", "price_tick", "lot_step", "min_quantity", "min_notional"),
        *("max_quantity", "contract_size", "settle"),
    )
    return {
        row[0]: Instrument(kind=InstrumentKind(row[-1]), **dict(zip(names, row[:-1], strict=True)))
        for row in rows
    }
