"""The shape of bars: the columns that every part agrees on, and conversions between layouts.

A bar is stamped with its OPEN time, UTC. Bars are fetched and checked in penstock.data.
"""

import numpy as np
import polars as pl

from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe

TS = pl.Datetime("ms", "UTC")
PRICE_COLUMNS = ("open", "high", "low", "close")
VALUE_COLUMNS = (*PRICE_COLUMNS, "volume")

#: Long layout: one row per symbol and ts, sorted by symbol, then ts. Prices are in quote units,
#: volume is in base units.
BARS_SCHEMA = pl.Schema(
    {"symbol": pl.String(), "ts": TS, **{name: pl.Float64() for name in VALUE_COLUMNS}}
)


def empty_bars() -> pl.DataFrame:
    """Return a bars frame with no rows."""
    return pl.DataFrame(schema=BARS_SCHEMA)


def require_bars(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns and types of BARS_SCHEMA, in that order.

    Raises DataError, which names the column that is missing or of a wrong type. `source` is where
    the frame came from; the message begins with it.
    """
    missing = [name for name in BARS_SCHEMA if name not in frame.columns]
    if missing:
        raise DataError(
            f"{source}: columns {missing} are missing; a bars table has {list(BARS_SCHEMA)}"
        )
    try:
        return frame.select(
            pl.col("ts").cast(TS) if name == "ts" else pl.col(name).cast(dtype)
            for name, dtype in BARS_SCHEMA.items()
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{source}: a column has the wrong type ({error}); a bars table has {dict(BARS_SCHEMA)}"
        ) from None


def wide(frame: pl.DataFrame, column: str, symbols: list[str] | None = None) -> pl.DataFrame:
    """Return a wide frame of `column`: `ts` and one column per symbol, sorted by ts.

    A symbol without a bar has null. `symbols` chooses and orders the columns; by default all are
    taken, sorted by name.
    """
    names = sorted(frame["symbol"].unique().to_list()) if symbols is None else symbols
    table = frame.pivot(on="symbol", on_columns=names, index="ts", values=column).sort("ts")
    return table.select("ts", *names)


def wide_matrix(frame: pl.DataFrame, column: str, symbols: list[str]) -> np.ndarray:
    """Return `column` as a float64 array of shape (bars, symbols): NaN where there is no bar."""
    return matrix_of(wide(frame, column, symbols))


def matrix_of(table: pl.DataFrame) -> np.ndarray:
    """Return the columns of a wide frame but `ts` as a float64 array: NaN where there is no bar."""
    return table.drop("ts").fill_null(np.nan).to_numpy().astype(np.float64)


def resample(frame: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the bars of a longer `timeframe`.

    Each has the first open, the highest high, the lowest low, the last close and the summed volume.
    A period that has only some of its bars gives a bar all the same.
    """
    return (
        frame.sort("symbol", "ts")
        .group_by("symbol", pl.col("ts").dt.truncate(timeframe.value), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .select(list(BARS_SCHEMA))
    )
