"""Market data from bars held in memory, as known at a clock's instant.

Replays, paper trading and tests use it. What is known at an instant follows the rules of
`penstock.practice.market`, so both give the same prices for the same bars.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from penstock.core.bars import BARS_SCHEMA, TS
from penstock.core.clock import Clock
from penstock.core.errors import UnknownSymbolError
from penstock.core.instruments import Instrument
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.practice.book import book_at
from penstock.practice.candles import GivenCandles
from penstock.practice.filters import rules_of
from penstock.practice.market import PracticeMarket
from penstock.simulation.fill_model import FillModel, decimal_of

#: The narrowest spread that a market can have.
_ONE_TICK = FillModel()


class BarsMarketData:
    """MarketData over bars frames (BARS_SCHEMA) by timeframe.

    Bars that open after `clock.now()` do not exist yet. Without `instruments` the venue's rules are
    derived from the bars, as the practice exchange derives them.
    """

    def __init__(
        self,
        bars_by_timeframe: Mapping[Timeframe, pl.DataFrame],
        instruments: Mapping[str, Instrument] | None,
        clock: Clock,
    ) -> None:
        self._market = PracticeMarket.of(GivenCandles(bars_by_timeframe).load())
        self._clock = clock
        if instruments is None:
            rules = rules_of(self._market.table, self._market.listings, None)
            instruments = {rule.instrument.symbol: rule.instrument for rule in rules.values()}
        self._instruments = dict(instruments)

    def now(self) -> datetime:
        return self._clock.now()

    def instruments(self) -> Mapping[str, Instrument]:
        return dict(self._instruments)

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        self._require(symbol)
        found = self._market.candles(
            symbol, timeframe, self._now_ms(), round(since.timestamp() * 1000), None, limit
        )
        columns = {name: found.values[:, i] for i, name in enumerate(list(BARS_SCHEMA)[2:])}
        frame = pl.DataFrame({"ts": found.ts, **columns}).with_columns(
            pl.lit(symbol).alias("symbol"), pl.col("ts").cast(TS)
        )
        return frame.select(list(BARS_SCHEMA)).cast(BARS_SCHEMA)

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        for symbol in symbols:
            self._require(symbol)
        quotes = {symbol: self._market.quote(symbol, self._now_ms()) for symbol in symbols}
        return {
            symbol: decimal_of(quote.price) for symbol, quote in quotes.items() if quote is not None
        }

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """Return the last price as bid and the next tick as ask: bars have no spread."""
        for symbol in symbols:
            self._require(symbol)
        listed = [self._instruments[symbol] for symbol in symbols if symbol in self._instruments]
        books = {
            instrument.symbol: book_at(self._market, instrument, self._now_ms(), _ONE_TICK)
            for instrument in listed
        }
        return {symbol: book for symbol, book in books.items() if book is not None}

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)

    def _require(self, symbol: str) -> None:
        if symbol not in self._market.table:
            raise UnknownSymbolError(
                f"no bars of '{symbol}' are held: there are {', '.join(sorted(self._market.table))}"
            )
