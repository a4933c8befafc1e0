"""Bars as dense matrices, made once for many simulations. The kernel reads a market so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import PRICE_COLUMNS, given_bars, matrix_of, wide, wide_matrix
from penstock.core.doubts import DoubtedBar, decide_as_known
from penstock.core.errors import DataError, StrategyError
from penstock.core.late_bars import LATE_BARS
from penstock.core.relistings import Join, closed_series
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
    volume: Matrix | None = None
    """The volumes in base units, of shape (bars, symbols); NaN where there is no bar. None for a
    market whose volume binds nothing.
    """
    price_ticks: Matrix | None = None
    """The price step of each symbol, in quote units; None where it is not known."""
    ends: npt.NDArray[np.int64] | None = None
    """The row at which each symbol's bars are known to have ended; beyond the last where they have
    not. None where no bars end.
    """
    doubts: tuple[DoubtedBar, ...] = ()
    """The bars that were in doubt at their close: decisions at that time do not know them."""
    cash_flows: Matrix | None = None
    """What each base unit that is held is paid in a bar (quote units; below zero: pays), of shape
    (bars, symbols). None where nothing is.
    """

    @property
    def elapsed(self) -> timedelta:
        """The time from the first close to the last, missing bars included."""
        span: timedelta = self.ts[-1] - self.ts[0]
        return span

    @cached_property
    def is_complete(self) -> bool:
        """Whether every symbol can trade at every bar: the kernel then asks no more."""
        tables = [table for table in (self.open, self.close, self.volume) if table is not None]
        ended = self.ends is not None and bool((self.ends < len(self.close)).any())
        return not ended and all(bool((table > 0).all()) for table in tables)

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
            volume=None if self.volume is None else self.volume[first:stop],
            cash_flows=None if self.cash_flows is None else self.cash_flows[first:stop],
            ends=None if self.ends is None else np.maximum(self.ends - (first or 0), 0),
        )

    def matrix(self, weights: pl.DataFrame, source: str) -> Matrix:
        """Return long weights as a matrix of shape (bars, symbols); NaN is "no decision".

        Raises StrategyError where the weights break the contract, are negative, or sum to more than
        1 at any bar. `source` is the name that the message begins with.
        """
        keys = self.bars.select("symbol", "ts")
        if not isinstance(weights, pl.DataFrame):
            require_weights(weights, self.bars, source)
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
        if not self.doubts:
            return self.matrix(strategy.target_weights(self.bars), strategy.name)
        decided = decide_as_known(strategy, self.bars, self.doubts, self.timeframe)
        return self.matrix(decided, strategy.name)


def market_of(
    bars: pl.DataFrame,
    timeframe: Timeframe | None = None,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> BarMatrices:
    """Return `bars` (BARS_SCHEMA) as a market. Without a timeframe it is inferred.

    `doubts` are the bars of which decisions at their close did not know.

    A symbol ends where its price moves beyond penstock.core.relistings.RELISTING_RATIO after a gap:
    its ticker may have gone to another coin. It goes on where `joins` say so.

    Raises DataError where there are no bars, where two share symbol and time, and where a price is
    not above zero.
    """
    table = given_bars(bars, "bars of a backtest")
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
    timeframe = timeframe or infer_timeframe(table["ts"].unique().sort())
    table = closed_series(table, timeframe, joins=joins)
    symbols = tuple(table["symbol"].unique().sort().to_list())
    closes = wide(table, "close", list(symbols))
    ts = closes["ts"]
    close = np.ascontiguousarray(matrix_of(closes))
    return BarMatrices(
        bars=table,
        timeframe=timeframe,
        symbols=symbols,
        ts=ts,
        open=np.ascontiguousarray(wide_matrix(table, "open", list(symbols))),
        close=close,
        cells=_cells(table, ts, symbols),
        volume=np.ascontiguousarray(wide_matrix(table, "volume", list(symbols))),
        price_ticks=_price_ticks(table),
        ends=_ends(close),
        doubts=tuple(doubts),
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


#: The step of prices is read off this many bars at least: fewer may lie on a coarse grid by chance.
_TICK_BARS = 100


def _price_ticks(bars: pl.DataFrame) -> Matrix:
    """Return the step of each symbol's prices (quote units), 0 where they show none.

    It is the largest power of ten of which all prices are multiples, up to 1. A venue's own tick is
    never finer. Prices that were never rounded have none.
    """
    prices = bars.select("symbol", *PRICE_COLUMNS)
    found = np.zeros(bars["symbol"].n_unique())
    for column, (_, table) in enumerate(prices.group_by("symbol", maintain_order=True)):
        values = table.drop("symbol").to_numpy()
        if len(values) < _TICK_BARS:
            continue
        found[column] = _decimal_step(values)
    return found


def _decimal_step(values: Matrix) -> float:
    for decimals in range(13):
        scaled = values * 10.0**decimals
        # A float of n significant digits is within a part in 1e15 of them.
        if (np.abs(scaled - np.round(scaled)) <= 1e-14 * scaled + 1e-9).all():
            return float(10.0**-decimals)
        if np.abs(scaled).max() > 1e12:
            break
    return 0.0


def _ends(close: Matrix) -> npt.NDArray[np.int64]:
    """Return the row at which each symbol's bars are known to have ended.

    A symbol that lacks the last LATE_BARS rows and more has ended LATE_BARS rows after its last
    bar: until then it may only be late.
    """
    rows = len(close)
    last = rows - 1 - np.argmax(~np.isnan(close[::-1]), axis=0)
    ended = last + LATE_BARS + 1
    result: npt.NDArray[np.int64] = np.where(ended < rows, ended, rows).astype(np.int64)
    return result


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
