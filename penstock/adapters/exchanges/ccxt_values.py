"""Values as ccxt gives them, made into Penstock's: candles, decimals and steps."""

from decimal import Decimal
from typing import Any

import ccxt
import polars as pl

from penstock.core.bars import BARS_SCHEMA

#: Venues that serve their newest bars only, and how many.
NEWEST_BARS = {"kraken": 720}


def bars_of(symbol: str, rows: list[list[Any]]) -> pl.DataFrame:
    """Return ccxt's candles as a bars frame."""
    columns = list(BARS_SCHEMA)[1:]
    data = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    try:
        frame = pl.DataFrame(
            {"ts": pl.Series(data.pop("ts"), dtype=pl.Int64), **data}
        ).with_columns(pl.lit(symbol).alias("symbol"))
        return frame.select(
            pl.col(name).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
            if name == "ts"
            else pl.col(name).cast(dtype)
            for name, dtype in BARS_SCHEMA.items()
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"candles that are not numbers: {error}") from None


def decimal_of(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value)).normalize()


def step_of(filtered: object, precision: object, mode: int) -> Decimal:
    """Return a tick or step: the filter's, or else ccxt's precision.

    Where ccxt counts digits, it counts decimal places; of prices at some venues significant ones.
    Raises ValueError where the step is missing or not above zero.
    """
    step = decimal_of(filtered)
    if not step:
        given = decimal_of(precision)
        if given is None:
            raise ValueError("the venue gives no precision")
        step = given if mode == ccxt.TICK_SIZE else Decimal(1).scaleb(-int(given))
    if not step.is_finite() or step <= 0:
        raise ValueError(f"a step of {step}")
    return step
