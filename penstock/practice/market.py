"""What can be known of the market at an instant: prices, candles and volume, never anything later.

Of a bar that is still open only its open is known, and what closed finer bars tell of its high,
low, close and volume.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from penstock.core.instruments import spot_assets
from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import invalid_symbol
from penstock.practice.candles import CandleTable
from penstock.practice.series import BarSeries, Series

_BY_LENGTH = sorted(Timeframe, key=lambda t: t.seconds)


class BookTicker(NamedTuple):
    """The price known at an instant, and the bar that trades are taken from; without a bar the
    market is closed.

    The price is the open of the bar that holds the instant; in an outage, the close before it.
    """

    price: float
    timeframe: Timeframe
    bar_ts: int
    volume: float
    is_open: bool


class Listing(NamedTuple):
    """A symbol as ccxt writes it and as Binance does."""

    symbol: str
    wire: str
    base: str
    quote: str


@dataclass(frozen=True)
class PracticeMarket:
    """The candles of every listed symbol behind a curtain at `now`."""

    table: CandleTable
    listings: dict[str, Listing]  # by wire name
    _built: dict[tuple[str, Timeframe], BarSeries] = field(
        default_factory=dict
    )  # never a source of prices

    @classmethod
    def of(cls, table: CandleTable) -> "PracticeMarket":
        """Return the market of these candles; timeframes that are missing are built from shorter
        ones when asked for.
        """
        listings = {}
        for symbol in sorted(table):
            base, quote = spot_assets(symbol)
            listings[base + quote] = Listing(symbol, base + quote, base, quote)
        return cls(table, listings)

    def listing(self, wire: str) -> Listing:
        """Return the listing of a Binance symbol; -1121 where there is none."""
        found = self.listings.get(wire)
        if found is None:
            raise invalid_symbol()
        return found

    def series(self, symbol: str, timeframe: Timeframe) -> BarSeries | None:
        """Return the series, built by resampling the longest shorter one where it is missing; None
        where there is none.
        """
        held = self.table[symbol]
        found = held.get(timeframe) or self._built.get((symbol, timeframe))
        if found is not None:
            return found
        shorter = [
            t
            for t in _BY_LENGTH
            if t.seconds < timeframe.seconds and t in held and timeframe.seconds % t.seconds == 0
        ]
        if not shorter:
            return None
        source = held[shorter[-1]]
        built = self._built[symbol, timeframe] = source.window(0, 2**62).resampled(timeframe)
        return built

    def quote(self, symbol: str, now: int) -> BookTicker | None:
        """Return the price known at `now`, from the shortest timeframe whose history covers it;
        None before the first bar.
        """
        held = self.table[symbol]
        timeframes = [t for t in _BY_LENGTH if t in held]
        for timeframe in timeframes:
            if held[timeframe].covers(now):
                return _quote(held[timeframe].last(now + 1, 1), now)
        past = [last for t in timeframes if len(last := held[t].last(now + 1, 1))]
        if not past:
            return None
        return _quote(max(past, key=lambda last: int(last.ts[0]) + last.step), now)

    def last_closed_volume(self, symbol: str, known: BookTicker) -> float:
        """Return the volume of the newest bar before the one that `known` was taken from; 0 where
        there is none.
        """
        before = self.table[symbol][known.timeframe].last(known.bar_ts, 1)
        return before[0].volume if len(before) else 0.0

    def candles(
        self,
        symbol: str,
        timeframe: Timeframe,
        now: int,
        start: int | None,
        end: int | None,
        limit: int,
    ) -> Series:
        """Return up to `limit` bars that open at or before `now`: from `start` on, or else the
        latest before `end`.
        """
        series = self.series(symbol, timeframe)
        if series is None:
            return Series(timeframe, np.empty(0, dtype=np.int64), np.empty((0, 5)))
        stop = min(now, now if end is None else end) + 1
        found = series.last(stop, limit) if start is None else series.page(start, stop, limit)
        if len(found) and int(found.ts[-1]) + found.step > now:
            return self._with_open_bar(symbol, found, now)
        return found

    def _with_open_bar(self, symbol: str, found: Series, now: int) -> Series:
        """Return `found` with its last, still open bar cut down to what is known at `now`."""
        bar_open = float(found.values[-1, 0])
        known = [bar_open, bar_open, bar_open, bar_open, 0.0]
        finer = self._closed_finer_bars(symbol, found.timeframe, int(found.ts[-1]), now)
        if finer is not None:
            if len(finer):
                known[1] = max(bar_open, float(finer.values[:, 1].max()))
                known[2] = min(bar_open, float(finer.values[:, 2].min()))
                known[4] = float(finer.values[:, 4].sum())
            quote = self.quote(symbol, now)
            last = bar_open if quote is None else quote.price
            known[1:4] = [max(known[1], last), min(known[2], last), last]
        values = found.values.copy()
        values[-1] = known
        return Series(found.timeframe, found.ts, values)

    def _closed_finer_bars(
        self, symbol: str, timeframe: Timeframe, start: int, now: int
    ) -> Series | None:
        held = self.table[symbol]
        for finer in _BY_LENGTH:
            if finer.seconds >= timeframe.seconds:
                return None
            if finer in held and held[finer].covers(now):
                return held[finer].window(start, now + 1 - finer.seconds * 1000)
        return None


def _quote(last: Series, now: int) -> BookTicker:
    bar = last[0]
    is_open = now < bar.ts + last.step
    price = bar.open if is_open else bar.close
    return BookTicker(price, last.timeframe, bar.ts, bar.volume if is_open else 0.0, is_open)
