"""How many candles one answer of the practice exchange has, as venues differ in it."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.core.timeframes import Timeframe
from penstock.practice.market import PracticeMarket
from penstock.practice.series import BarArrays


class CandlePage(StrEnum):
    """Which candles an answer to a request from `start` has."""

    FIRST = "first"
    """The first ones from `start` on, however late they come. So does Binance."""
    WINDOW = "window"
    """Those of as many bars from `start` on as it shows at once: none before a listing. So do OKX,
    Coinbase and KuCoin.
    """
    LAST = "last"
    """The last ones of what was asked for. So does Bitget for old candles."""


@dataclass(frozen=True)
class CandlePages:
    """The limits of candle requests."""

    page: CandlePage = CandlePage.FIRST
    """Which candles an answer has."""
    most: int = 1000
    """The most candles of one answer."""
    newest: int | None = None
    """Only so many of the newest candles are served, as Kraken does; None for all."""

    def candles(
        self,
        market: PracticeMarket,
        symbol: str,
        timeframe: Timeframe,
        now: int,
        start: int | None,
        end: int | None,
        limit: int,
    ) -> BarArrays:
        """Return the answer to a request, as PracticeMarket.candles does within these limits."""
        step = timeframe.seconds * 1000
        if start is None:
            return market.candles(symbol, timeframe, now, start, end, min(limit, self.most))
        if self.newest is not None:
            start = max(start, now // step * step - (self.newest - 1) * step)
        shown = min(limit, self.most)
        if self.page is CandlePage.FIRST:
            return market.candles(symbol, timeframe, now, start, end, shown)
        first = start
        if self.page is CandlePage.LAST:
            first = max(start, min(start + (limit - shown) * step, now // step * step))
        last = min(first + shown * step - 1, now if end is None else end)
        return market.candles(symbol, timeframe, now, first, last, shown)
