"""Panels made of long frames, and where a frame's rows are in a panel."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.auxiliary_series import require_series
from penstock.core.bars import VALUE_COLUMNS, given_bars, infer_timeframe
from penstock.core.errors import DataError
from penstock.core.panel import Panel
from penstock.core.timeframes import Timeframe


def panel_of(
    bars: pl.DataFrame,
    timeframe: Timeframe | None = None,
    series: Mapping[str, pl.DataFrame] | None = None,
) -> Panel:
    """Return bars (BARS_SCHEMA, in any order) as a panel. Without a timeframe it is inferred.

    `series` are those beside the bars, by name: penstock.core.auxiliary_series has their layout.

    Raises DataError where they are no bars table, where a symbol has two bars of one time, and
    where the timeframe cannot be inferred.
    """
    table = given_bars(bars, "bars of a panel")
    ts = table["ts"].unique().sort()
    symbols = tuple(table["symbol"].unique().sort().to_list())
    cells = cells_of(table, ts, symbols)
    if (np.diff(cells) == 0).any():
        raise DataError("a symbol has two bars with the same open time: check the data")
    values = []
    for name in VALUE_COLUMNS:
        matrix = np.full((len(ts), len(symbols)), np.nan)
        matrix.reshape(-1)[cells] = table[name].fill_null(np.nan).to_numpy()
        values.append(matrix)
    known = {
        name: require_series(frame, f"the series '{name}'")
        for name, frame in (series or {}).items()
    }
    length = timeframe or infer_timeframe(ts)
    return Panel(length, ts, symbols, *values, given_series=known)


def panel_of_closes(
    closes: Mapping[str, Sequence[float]], timeframe: Timeframe = Timeframe.D1
) -> Panel:
    """Return a made-up panel: all four prices of a bar are its close, the volume is 1.

    NaN is no bar. The first bar opens at the beginning of 2024.

    >>> panel_of_closes({"BTC/USDT": [1.0, 2.0]}).close.ravel().tolist()
    [1.0, 2.0]
    """
    names = tuple(sorted(closes))
    values = np.array([closes[name] for name in names], dtype=np.float64).T
    first = datetime(2024, 1, 1, tzinfo=UTC)
    last = first + (len(values) - 1) * timeframe.duration
    ts = pl.datetime_range(first, last, timeframe.value, time_unit="ms", eager=True)
    volume = np.where(np.isnan(values), np.nan, 1.0)
    return Panel(timeframe, ts, names, values, values, values, values, volume)


def cells_of(bars: pl.DataFrame, ts: pl.Series, symbols: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the place of each row of `bars` in a flattened array of shape (ts, symbols)."""
    rows = ts.search_sorted(bars["ts"]).to_numpy().astype(np.int64)
    columns = pl.Series(symbols, dtype=pl.String).search_sorted(bars["symbol"]).to_numpy()
    cells: npt.NDArray[np.int64] = rows * len(symbols) + columns.astype(np.int64)
    return cells
