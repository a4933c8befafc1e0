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


def not_a_frame(value: object) -> str | None:
    """Return what a value is and how to make a Polars frame of it; None where it is one.

    >>> not_a_frame(empty_bars().lazy())
    'it is a LazyFrame and no Polars DataFrame: collect() makes one'
    """
    if isinstance(value, pl.DataFrame):
        return None
    kind = type(value)
    ways = {
        "polars": "collect() makes one" if isinstance(value, pl.LazyFrame) else "to_frame() does",
        "pandas": "polars.from_pandas(frame.reset_index()) makes one",
        "numpy": "polars.DataFrame(array, schema=[...]) makes one, with its columns named",
    }
    way = ways.get(kind.__module__.partition(".")[0], "polars.DataFrame(...) makes one of rows")
    owner = "pandas " if kind.__module__.startswith("pandas") else ""
    return f"it is a {owner}{kind.__name__} and no Polars DataFrame: {way}"


def require_bars(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns and types of BARS_SCHEMA, in that order.

    Raises DataError, which names the column that is missing or of a wrong type, and says what to do
    with a frame that is not Polars'. `source` is where the frame came from; the message begins with
    it.
    """
    wrong = not_a_frame(frame)
    if wrong is not None:
        raise DataError(f"{source}: {wrong}; a bars table has {list(BARS_SCHEMA)}")
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


def given_bars(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return a caller's bars as require_bars does, sorted by symbol and ts.

    A further column is refused with DataError: a strategy that needs it would not see it when it
    trades.
    """
    table = frame
    if not isinstance(frame, pl.DataFrame) or frame.schema != BARS_SCHEMA:
        table = require_bars(frame, source)
        further = [name for name in frame.columns if name not in BARS_SCHEMA]
        if further:
            raise DataError(
                f"{source}: columns {further} are none of a bars table, and no strategy sees them "
                "when it trades: leave them out with frame.select(list(BARS_SCHEMA)), after one "
                "venue and one timeframe were chosen where they name them"
            )
    return table if _is_in_order(table) else table.sort("symbol", "ts")


def _is_in_order(table: pl.DataFrame) -> bool:
    """Return whether the rows are sorted by symbol, then ts."""
    symbols = table["symbol"]
    back = np.flatnonzero(np.diff(table["ts"].to_physical().to_numpy()) < 0)
    begins = symbols.gather(back + 1) != symbols.gather(back)
    return bool(begins.all()) and symbols.is_sorted()


def wide(frame: pl.DataFrame, column: str, symbols: list[str] | None = None) -> pl.DataFrame:
    """Return a wide frame of `column`: `ts` and one column per symbol, sorted by ts.

    A symbol without a bar has null. `symbols` chooses and orders the columns; by default all are
    taken, sorted by name. Raises DataError where `frame` is not Polars'.
    """
    wrong = not_a_frame(frame)
    if wrong is not None:
        raise DataError(f"a wide frame of '{column}': {wrong}")
    names = sorted(frame["symbol"].unique().to_list()) if symbols is None else symbols
    table = frame.pivot(on="symbol", on_columns=names, index="ts", values=column).sort("ts")
    return table.select("ts", *names)


def resample(frame: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the bars of a longer `timeframe`.

    Each has the first open, the highest high, the lowest low, the last close and the summed volume.
    A period that has only some of its bars gives a bar all the same.
    """
    return (
        require_bars(frame, "bars to resample")
        .sort("symbol", "ts")
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


def infer_timeframe(ts: pl.Series) -> Timeframe:
    """Return the timeframe whose length is the most common step of `ts`, sorted and unique.

    Raises DataError where no timeframe has that length, and where there is only one bar.
    """
    if len(ts) < 2:
        raise DataError("a timeframe cannot be inferred from one bar: give it")
    seconds = int(ts.diff().drop_nulls().dt.total_seconds().mode().min())  # type: ignore[arg-type]  # ints by construction
    for timeframe in Timeframe:
        if timeframe.seconds == seconds:
            return timeframe
    raise DataError(
        f"bars are {seconds} s apart, which is no timeframe: allowed are {', '.join(Timeframe)}"
    )
