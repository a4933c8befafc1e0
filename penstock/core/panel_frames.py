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
    return panel_and_cells(given_bars(bars, "bars of a panel"), timeframe, series)[0]


def panel_and_cells(
    table: pl.DataFrame,
    timeframe: Timeframe | None = None,
    series: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[Panel, npt.NDArray[np.int64]]:
    """Return bars that penstock.core.bars.given_bars has passed as a panel, and the place of each
    row in its flattened arrays. Raises DataError as panel_of does.
    """
    # NumPy and not Polars: each operation of Polars on a slot's few rows waits for its threads.
    times, first, rows = np.unique(
        table["ts"].to_physical().to_numpy(), return_index=True, return_inverse=True
    )
    columns = table["symbol"].rle_id().to_numpy().astype(np.int64)
    begins = np.flatnonzero(np.diff(columns, prepend=-1))
    symbols = tuple(table["symbol"].gather(begins).to_list())
    cells = rows.astype(np.int64) * len(symbols) + columns
    if (np.diff(cells) == 0).any():
        raise DataError("a symbol has two bars with the same open time: check the data")
    values = []
    for name in VALUE_COLUMNS:
        matrix = np.full((len(times), len(symbols)), np.nan)
        matrix.reshape(-1)[cells] = table[name].to_numpy()  # null is NaN
        values.append(matrix)
    ts = table["ts"].gather(first)
    known = {
        name: require_series(frame, f"the series '{name}'")
        for name, frame in (series or {}).items()
    }
    panel = Panel(timeframe or infer_timeframe(ts), ts, symbols, *values, given_series=known)
    return panel, cells


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
