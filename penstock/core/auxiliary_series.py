"""Series beside the bars, such as funding rates, as the rows of a panel see them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import TS, not_a_frame
from penstock.core.errors import DataError

#: Long layout: `value` of `symbol` is known from `ts` on.
SERIES_SCHEMA = pl.Schema({"symbol": pl.String(), "ts": TS, "value": pl.Float64()})


def require_series(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return `frame` with SERIES_SCHEMA, sorted by symbol and ts.

    A frame without a symbol is of all symbols; its symbol is then null. Raises DataError where it
    is no Polars frame, a column is missing or of a wrong type, or two rows have one symbol and ts.
    """
    wrong = not_a_frame(frame)
    if wrong is not None:
        raise DataError(f"{source}: {wrong}; a series has {list(SERIES_SCHEMA)}")
    missing = [name for name in ("ts", "value") if name not in frame.columns]
    if missing:
        raise DataError(f"{source}: columns {missing} are missing; it has {list(SERIES_SCHEMA)}")
    given = frame if "symbol" in frame.columns else frame.with_columns(symbol=pl.lit(None))
    try:
        table = given.select(pl.col(name).cast(dtype) for name, dtype in SERIES_SCHEMA.items())
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{source}: a column has the wrong type ({error}); a series has {dict(SERIES_SCHEMA)}"
        ) from None
    if table.select(pl.struct("symbol", "ts").is_duplicated().any()).item():
        raise DataError(f"{source}: a symbol has two values of one time")
    return table.sort("symbol", "ts")


def read_series(path: Path) -> pl.DataFrame:
    """Return the series of a Parquet file (SERIES_SCHEMA). Raises DataError as require_series."""
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the series {path.name} cannot be read: {error}") from None
    return require_series(frame, f"the series {path.name}")


def aligned(
    series: pl.DataFrame, closes: npt.NDArray[np.int64], symbols: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return the newest value of each symbol at each close, of shape (closes, symbols).

    `series` is as require_series returns it, `closes` are milliseconds since 1970. A value is known
    at its own time and after it; NaN before the first.
    """
    out = np.full((len(closes), len(symbols)), np.nan)
    by_symbol = series.partition_by("symbol", as_dict=True)
    for column, symbol in enumerate(symbols):
        own = by_symbol.get((symbol,), by_symbol.get((None,)))
        if own is None:
            continue
        rows = np.searchsorted(own["ts"].to_physical().to_numpy(), closes, side="right") - 1
        values = own["value"].fill_null(np.nan).to_numpy()
        out[:, column] = np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)
    return out
