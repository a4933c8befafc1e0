"""What is known of the practice market at an instant: prices, candles and volume, nothing later.

The open of an open bar is known. Its high, low, close and volume are those of the closed bars of a
shorter timeframe.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from penstock.core.errors import ConfigError
from penstock.core.instruments import spot_assets
from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import invalid_symbol
from penstock.practice.candles import CandleTable
from penstock.practice.series import BarArrays, BarSeries

_BY_LENGTH = sorted(Timeframe, key=lambda t: t.seconds)


class BookTicker(NamedTuple):
    """The price known at an instant, and the bar that fills are taken from."""

    price: float
    """The open of the present bar; in an outage, the last close."""
    timeframe: Timeframe
    """The bar's length."""
    bar_ts: int
    """The bar's open time (ms since the epoch)."""
    volume: float
    """The bar's volume; zero in an outage."""
    is_open: bool
    """Whether there is a present bar. In an outage there is none, and the market is closed."""


class Listing(NamedTuple):
    """A listed symbol."""

    symbol: str
    """As ccxt writes it: "BTC/USDT"."""
    wire: str
    """As Binance writes it: "BTCUSDT"."""
    base: str
    """The base asset."""
    quote: str
    """The quote asset."""


@dataclass(frozen=True)
class PracticeMarket:
    """The candles of every listed symbol, seen as of an instant."""

    table: CandleTable
    """The bars by symbol and timeframe."""
    listings: dict[str, Listing]
    """The listed symbols, by Binance's symbol."""
    suspended: dict[str, int] = field(default_factory=dict)
    """Since when (ms since the epoch) a suspended symbol has not traded, by symbol."""
    ended: dict[str, Listing] = field(default_factory=dict)
    """Symbols that are listed no more but whose candles are still served, by Binance's symbol."""
    # Resampled bars for candle requests; prices never come from them.
    _built: dict[tuple[str, Timeframe], BarSeries] = field(default_factory=dict)

    @classmethod
    def of(cls, table: CandleTable) -> "PracticeMarket":
        """Return the market of these candles.

        A timeframe that is missing is built from a shorter one when it is asked for. Raises
        ConfigError for two symbols that Binance would write alike.
        """
        listings: dict[str, Listing] = {}
        for symbol in sorted(table):
            base, quote = spot_assets(symbol)
            other = listings.get(base + quote)
            if other is not None:
                raise ConfigError(
                    f"{other.symbol} and {symbol} are both {base + quote} on Binance's wire: the "
                    "practice exchange lists one of them only; leave the other out"
                )
            listings[base + quote] = Listing(symbol, base + quote, base, quote)
        return cls(table, listings)

    def listing(self, wire: str) -> Listing:
        """Return the listing of a Binance symbol. Raises -1121 where there is none."""
        found = self.listings.get(wire)
        if found is None:
            raise invalid_symbol()
        return found

    def charted(self, wire: str) -> Listing:
        """Return the listing of a symbol whose candles are served. Raises -1121 without one."""
        return self.ended.get(wire) or self.listing(wire)

    def series(self, symbol: str, timeframe: Timeframe) -> BarSeries | None:
        """Return a symbol's bars; None where there are none.

        Where the timeframe is missing, the longest shorter one is resampled.
        """
        by_timeframe = self.table[symbol]
        found = by_timeframe.get(timeframe) or self._built.get((symbol, timeframe))
        if found is not None:
            return found
        shorter = [
            t
            for t in _BY_LENGTH
            if t.seconds < timeframe.seconds
            and t in by_timeframe
            and timeframe.seconds % t.seconds == 0
        ]
        if not shorter:
            return None
        source = by_timeframe[shorter[-1]]
        built = self._built[symbol, timeframe] = source.window(0, 2**62).resampled(timeframe)
        return built

    def quote(self, symbol: str, now: int) -> BookTicker | None:
        """Return the price known at `now` (ms since the epoch); None before the first bar.

        It comes from the shortest timeframe whose history covers the instant. A suspended symbol
        has its price of then, and is closed.
        """
        since = self.suspended.get(symbol)
        if since is None:
            return self._quote_at(symbol, now)
        then = self._quote_at(symbol, min(since, now))
        return None if then is None else then._replace(volume=0.0, is_open=False)

    def _quote_at(self, symbol: str, now: int) -> BookTicker | None:
        by_timeframe = self.table[symbol]
        timeframes = [t for t in _BY_LENGTH if t in by_timeframe]
        for timeframe in timeframes:
            if by_timeframe[timeframe].covers(now):
                return _quote(by_timeframe[timeframe].last(now + 1, 1), now)
        past = [last for t in timeframes if len(last := by_timeframe[t].last(now + 1, 1))]
        if not past:
            return None
        return _quote(max(past, key=lambda last: int(last.ts[0]) + last.step), now)

    def last_closed_volume(self, symbol: str, known: BookTicker) -> float:
        """Return the volume of the bar before the one that `known` came from; 0 without one."""
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
    ) -> BarArrays:
        """Return up to `limit` bars that open at or before `now`.

        They are the first from `start` on, or without `start` the latest that open by `end`. A
        suspended symbol has those that had opened before.
        """
        now = min(now, self.suspended.get(symbol, now))
        series = self.series(symbol, timeframe)
        if series is None:
            return BarArrays(timeframe, np.empty(0, dtype=np.int64), np.empty((0, 5)))
        stop = min(now, now if end is None else end) + 1
        found = series.last(stop, limit) if start is None else series.page(start, stop, limit)
        if len(found) and int(found.ts[-1]) + found.step > now:
            return self._with_open_bar(symbol, found, now)
        return found

    def _with_open_bar(self, symbol: str, found: BarArrays, now: int) -> BarArrays:
        """Return `found` with its last, open bar as it is known at `now`."""
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
        return BarArrays(found.timeframe, found.ts, values)

    def _closed_finer_bars(
        self, symbol: str, timeframe: Timeframe, start: int, now: int
    ) -> BarArrays | None:
        by_timeframe = self.table[symbol]
        for finer in _BY_LENGTH:
            if finer.seconds >= timeframe.seconds:
                return None
            if finer in by_timeframe and by_timeframe[finer].covers(now):
                return by_timeframe[finer].window(start, now + 1 - finer.seconds * 1000)
        return None


def _quote(last: BarArrays, now: int) -> BookTicker:
    bar = last[0]
    is_open = now < bar.ts + last.step
    price = bar.open if is_open else bar.close
    return BookTicker(price, last.timeframe, bar.ts, bar.volume if is_open else 0.0, is_open)
