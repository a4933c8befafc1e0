"""Bars as dense matrices, made once for many simulations. The kernel reads a market so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import PRICE_COLUMNS, given_bars, infer_timeframe
from penstock.core.doubts import DoubtedBar, decide_as_known
from penstock.core.errors import DataError, StrategyError
from penstock.core.late_bars import LATE_BARS
from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_of
from penstock.core.relistings import Join, closed_series
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.core.weights import require_weights
from penstock.indicators import across

Matrix = npt.NDArray[np.float64]

#: When a made-up market begins.
_FIRST = datetime(2023, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class BarMatrices:
    """The bars of a universe as a panel, and what a simulation knows of them besides."""

    panel: Panel
    """The bars. A strategy decides from them."""
    has_volume: bool = True
    """Whether volume binds. A made-up market has none."""
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
    def timeframe(self) -> Timeframe:
        """The bar length."""
        return self.panel.timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, sorted."""
        return self.panel.symbols

    @property
    def ts(self) -> pl.Series:
        """The open times at which any symbol has a bar, sorted."""
        return self.panel.ts

    @property
    def open(self) -> Matrix:
        """The open prices, of shape (bars, symbols); NaN where there is no bar."""
        return self.panel.open

    @property
    def close(self) -> Matrix:
        """The close prices, of shape (bars, symbols); NaN where there is no bar."""
        return self.panel.close

    @property
    def volume(self) -> Matrix | None:
        """The volumes in base units, of shape (bars, symbols). None where volume binds nothing."""
        return self.panel.volume if self.has_volume else None

    @property
    def bars(self) -> pl.DataFrame:
        """The bars as a long frame (BARS_SCHEMA), sorted by symbol and ts."""
        return self.panel.bars

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
        return replace(
            self,
            panel=self.panel.part(first, stop),
            cash_flows=None if self.cash_flows is None else self.cash_flows[first:stop],
            ends=None if self.ends is None else np.maximum(self.ends - (first or 0), 0),
        )

    def matrix(self, weights: pl.DataFrame, source: str) -> Matrix:
        """Return long weights as a matrix of shape (bars, symbols); NaN is "no decision".

        Raises StrategyError where the weights break the contract, are negative, or sum to more than
        1 at any bar. `source` is the name that the message begins with.
        """
        given = require_weights(weights, self.bars, source)
        table = np.full(self.close.shape, np.nan)
        table.reshape(-1)[self.panel.cells] = given["weight"].fill_null(np.nan).to_numpy()
        _require_long_only(table, self, source)
        return table

    def decide(self, strategy: Strategy) -> Matrix:
        """Return the strategy's weights for all bars as a matrix of shape (bars, symbols).

        Raises StrategyError where the strategy breaks its contract.
        """
        if self.doubts:
            table = decide_as_known(strategy, self.panel, self.doubts)
        else:
            table = strategy.weights(self.panel)
        _require_long_only(table, self, strategy.name)
        return table


def market_of(
    bars: pl.DataFrame,
    timeframe: Timeframe | None = None,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
    series: Mapping[str, pl.DataFrame] | None = None,
) -> BarMatrices:
    """Return `bars` (BARS_SCHEMA) as a market. Without a timeframe it is inferred.

    `doubts` are the bars of which decisions at their close did not know.

    A symbol ends where its price moves beyond penstock.core.relistings.RELISTING_RATIO after a gap:
    its ticker may have gone to another coin. It goes on where `joins` say so. `series` are those
    beside the bars, by name (penstock.core.auxiliary_series.SERIES_SCHEMA).

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
    panel = panel_of(table, timeframe, series)
    return BarMatrices(
        panel=panel,
        price_ticks=_price_ticks(table),
        ends=_ends(panel.close),
        doubts=tuple(doubts),
    )


def market_of_prices(
    open_: Matrix,
    close: Matrix,
    timeframe: Timeframe,
    volume: Matrix | None = None,
    symbols: tuple[str, ...] | None = None,
) -> BarMatrices:
    """Return a made-up market of prices of shape (bars, symbols).

    Without a volume none binds. Without `symbols` they are called S00/USDT and so on.
    """
    last = _FIRST + (len(close) - 1) * timeframe.duration
    ts = pl.datetime_range(_FIRST, last, timeframe.value, time_unit="ms", eager=True)
    names = symbols or tuple(f"S{k:02d}/USDT" for k in range(close.shape[1]))
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    unknown = np.full(close.shape, np.nan)
    panel = Panel(
        timeframe, ts, names, open_, high, low, close, unknown if volume is None else volume
    )
    return BarMatrices(panel, has_volume=volume is not None)


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


def _require_long_only(table: Matrix, market: BarMatrices, source: str) -> None:
    if across.over_bounds(table, 0.0, np.inf):
        row, column = np.argwhere(table < 0)[0]
        raise StrategyError(
            f"{source}: weight {table[row, column]} for {market.symbols[column]} "
            f"at {market.ts[int(row)]:%Y-%m-%d %H:%M} is negative: spot accounts cannot be short"
        )
    if across.largest_sum(table) > 1 + 1e-9:
        row = int(np.nansum(table, axis=1).argmax())
        raise StrategyError(
            f"{source}: weights sum to {np.nansum(table[row]):.6f} at "
            f"{market.ts[row]:%Y-%m-%d %H:%M}: an account without leverage holds at most 1"
        )
