"""Bars as dense matrices, made once for many simulations. The kernel reads a market so."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import require_bars, wide, wide_matrix
from penstock.core.errors import DataError, StrategyError
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.core.weights import WEIGHTS_SCHEMA, require_weights

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BarMatrices:
    """The bars of a universe: row i of a matrix opens at `ts[i]`, column k is `symbols[k]`."""

    bars: pl.DataFrame
    """The bars (BARS_SCHEMA), sorted by symbol and ts."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    ts: pl.Series
    """The open times at which any symbol has a bar, sorted."""
    open: Matrix
    """The open prices, of shape (bars, symbols); NaN where there is no bar."""
    close: Matrix
    """The close prices, of shape (bars, symbols); NaN where there is no bar."""
    cells: npt.NDArray[np.int64]
    """The place of each row of `bars` in a flattened matrix."""

    def since(self, start: datetime) -> int:
        """Return the row of the first bar that opens at or after `start`.

        Raises DataError where there is none.
        """
        row = int(self.ts.search_sorted(start, side="left"))
        if row >= len(self.ts):
            raise DataError(
                f"no bar opens at or after {start:%Y-%m-%d %H:%M}: "
                f"the last one is {self.ts[-1]:%Y-%m-%d %H:%M}"
            )
        return row

    def slice(self, first: int, stop: int | None = None) -> "BarMatrices":
        """Return the rows [first, stop) as a market of the same symbols.

        A symbol may then have no bar at all.
        """
        ts = self.ts[first:stop]
        bars = self.bars.filter(pl.col("ts").is_between(ts[0], ts[-1]))
        cells = _cells(bars, ts, self.symbols)
        return replace(
            self,
            bars=bars,
            ts=ts,
            open=self.open[first:stop],
            close=self.close[first:stop],
            cells=cells,
        )

    def matrix(self, weights: pl.DataFrame, source: str) -> Matrix:
        """Return long weights as a matrix of shape (bars, symbols); NaN is "no decision".

        Raises StrategyError where the weights break the contract, are negative, or sum to more than
        1 at any bar. `source` is the name that the message begins with.
        """
        keys = self.bars.select("symbol", "ts")
        aligned = weights.schema == WEIGHTS_SCHEMA and weights.select("symbol", "ts").equals(keys)
        values = (
            weights["weight"] if aligned else require_weights(weights, self.bars, source)["weight"]
        )
        if not values.fill_null(0.0).is_finite().all():
            require_weights(weights, self.bars, source)
        table = np.full(self.close.shape, np.nan)
        table.reshape(-1)[self.cells] = values.fill_null(np.nan).to_numpy()
        _require_long_only(table, self, source)
        return table

    def decide(self, strategy: Strategy) -> Matrix:
        """Return the strategy's weights for all bars as a matrix of shape (bars, symbols).

        Raises StrategyError where the strategy breaks its contract.
        """
        return self.matrix(strategy.target_weights(self.bars), strategy.name)


def market_of(bars: pl.DataFrame, timeframe: Timeframe | None = None) -> BarMatrices:
    """Return `bars` (BARS_SCHEMA) as a market. Without a timeframe it is inferred.

    Raises DataError where there are no bars, where two share symbol and time, and where a price is
    not above zero.
    """
    table = require_bars(bars, "backtest").sort("symbol", "ts")
    if table.is_empty():
        raise DataError(
            "there are no bars to simulate: ingest the universe first, or widen the range"
        )
    if table.select(pl.struct("symbol", "ts").is_duplicated().any()).item():
        raise DataError(
            "a symbol has two bars with the same open time: a simulation needs one "
            "(check and snapshot the data)"
        )
    good = pl.all_horizontal(
        pl.col(name).is_finite() & (pl.col(name) > 0) for name in ("open", "close")
    )
    bad = table.filter(~good.fill_null(False))
    if bad.height:
        first = bad.row(0, named=True)
        raise DataError(
            f"{first['symbol']} at {first['ts']:%Y-%m-%d %H:%M} has open {first['open']} "
            f"and close {first['close']}: prices must be above zero (check the data)"
        )
    symbols = tuple(table["symbol"].unique().sort().to_list())
    ts = wide(table, "close", list(symbols))["ts"]
    return BarMatrices(
        bars=table,
        timeframe=timeframe or infer_timeframe(ts),
        symbols=symbols,
        ts=ts,
        open=np.ascontiguousarray(wide_matrix(table, "open", list(symbols))),
        close=np.ascontiguousarray(wide_matrix(table, "close", list(symbols))),
        cells=_cells(table, ts, symbols),
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


def _cells(bars: pl.DataFrame, ts: pl.Series, symbols: tuple[str, ...]) -> npt.NDArray[np.int64]:
    rows = ts.search_sorted(bars["ts"]).to_numpy().astype(np.int64)
    columns = pl.Series(symbols).search_sorted(bars["symbol"]).to_numpy().astype(np.int64)
    cells: npt.NDArray[np.int64] = rows * len(symbols) + columns
    return cells


def _require_long_only(table: Matrix, market: BarMatrices, source: str) -> None:
    decided = np.where(np.isnan(table), 0.0, table)
    if decided.min(initial=0.0) < 0:
        row, column = np.argwhere(decided < 0)[0]
        raise StrategyError(
            f"{source}: weight {decided[row, column]} for {market.symbols[column]} "
            f"at {market.ts[int(row)]:%Y-%m-%d %H:%M} is negative: spot accounts cannot be short"
        )
    total = decided.sum(axis=1)
    if total.max(initial=0.0) > 1 + 1e-9:
        row = int(total.argmax())
        raise StrategyError(
            f"{source}: weights sum to {total[row]:.6f} at {market.ts[row]:%Y-%m-%d %H:%M}: "
            "an account without leverage holds at most 1"
        )
