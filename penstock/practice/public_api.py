"""The public calls: time, symbols, candles, tickers."""

from collections.abc import Callable, Mapping
from typing import Any

from penstock.core.timeframes import Timeframe
from penstock.practice import binance_json
from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter, missing_parameter
from penstock.practice.book import TopOfBook
from penstock.practice.clock import VenueTime
from penstock.practice.filters import SymbolRules
from penstock.practice.limits import LimitSpec
from penstock.practice.market import BookTicker, Listing
from penstock.simulation.fill_model import decimal_of

Parameters = Mapping[str, str]
_DAY_MS = 86_400_000
_KLINES_DEFAULT, _KLINES_MOST = 500, 1000


def integer(parameters: Parameters, name: str) -> int | None:
    """Return an integer parameter or None where it was not sent; -1100 where it is not a number."""
    text = parameters.get(name)
    if text is None:
        return None
    if not text.lstrip("-").isdigit():
        raise illegal_parameter(name)
    return int(text)


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter; -1102 where it was not sent or is empty."""
    value = parameters.get(name, "")
    if not value:
        raise missing_parameter(name)
    return value


class PublicApi:
    """Answers that need no account. Handlers return JSON values, or bytes that are JSON already."""

    def __init__(
        self, books: TopOfBook, rules: dict[str, SymbolRules], time: VenueTime, limits: LimitSpec
    ) -> None:
        self.market = books.market
        self.books = books
        self.time = time
        self._rules = rules
        self._info = {
            "timezone": "UTC",
            "rateLimits": binance_json.rate_limits_answer(limits),
            "exchangeFilters": [],
        }

    def routes(self) -> dict[str, Callable[[Parameters], Any]]:
        """Return the handlers by method and path."""
        return {
            "GET /api/v3/ping": lambda _: {},
            "GET /api/v3/time": lambda _: {"serverTime": self.time.now_ms()},
            "GET /api/v3/exchangeInfo": self.exchange_info,
            "GET /api/v3/klines": self.klines,
            "GET /api/v3/ticker/price": lambda p: self._each(p, self._price),
            "GET /api/v3/ticker/24hr": lambda p: self._each(p, self._day),
            "GET /api/v3/ticker/bookTicker": lambda p: self._each(p, self._book),
        }

    def exchange_info(self, parameters: Parameters) -> Any:
        symbols = [
            binance_json.symbol_answer(
                listing, self._rules[name], is_trading=listing.symbol not in self.market.suspended
            )
            for name, listing in self.market.listings.items()
        ]
        if "symbol" in parameters:
            wanted = self.market.listing(parameters["symbol"]).wire
            symbols = [entry for entry in symbols if entry["symbol"] == wanted]
        return {**self._info, "serverTime": self.time.now_ms(), "symbols": symbols}

    def klines(self, parameters: Parameters, stale_seconds: float = 0.0) -> bytes:
        """Return candles up to now, or as they were `stale_seconds` ago."""
        listing = self.market.charted(required(parameters, "symbol"))
        try:
            timeframe = Timeframe(required(parameters, "interval"))
        except ValueError:
            raise PracticeRefusal(-1120, "Invalid interval.") from None
        limit = integer(parameters, "limit")
        limit = _KLINES_DEFAULT if limit is None else limit
        if limit < 1:
            raise illegal_parameter("limit")
        start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
        now = self.time.now_ms() - round(stale_seconds * 1000)
        late_ms = self.books.late_ms.get(listing.wire)
        if late_ms is not None:
            newest = now - late_ms - timeframe.seconds * 1000
            end = newest if end is None else min(end, newest)
        limit = min(limit, _KLINES_MOST)
        return binance_json.klines(
            self.books.candle_pages.candles(
                self.market, listing.symbol, timeframe, now, start, end, limit
            )
        )

    def _each(
        self, parameters: Parameters, show: Callable[[Listing, BookTicker], dict[str, Any]]
    ) -> Any:
        """Return one symbol's entry, or a list: the `symbols` asked for, or all with a price."""
        if "symbol" in parameters:
            listing = self.market.listing(parameters["symbol"])
            quote = self._quote(listing)
            if quote is None:
                raise PracticeRefusal(-1112, "No orders on book for symbol.")
            return show(listing, quote)
        if "symbols" in parameters:
            wanted = [
                self.market.listing(name.strip('" '))
                for name in parameters["symbols"].strip("[]").split(",")
            ]
        else:
            wanted = list(self.market.listings.values())
        return [
            show(listing, quote)
            for listing in wanted
            if (quote := self._quote(listing)) is not None
        ]

    def _quote(self, listing: Listing) -> BookTicker | None:
        return self.market.quote(listing.symbol, self.time.now_ms())

    def _price(self, listing: Listing, quote: BookTicker) -> dict[str, Any]:
        return {"symbol": listing.wire, "price": self._last(listing, quote)}

    def _last(self, listing: Listing, quote: BookTicker) -> str:
        """Return the last price: the known one, or what a test has printed in its place."""
        return self.books.last.get(listing.wire, binance_json.text(decimal_of(quote.price)))

    def _book(self, listing: Listing, _: BookTicker) -> dict[str, Any]:
        """Return the best bid and ask; all zero where there is none, as Binance has it."""
        return binance_json.book_answer(listing, self.books.at(listing, self.time.now_ms()))

    def _day(self, listing: Listing, quote: BookTicker) -> dict[str, Any]:
        """Return the 24-hour figures, from hourly candles or, without those, from daily ones."""
        now = self.time.now_ms()
        bars = self.market.candles(listing.symbol, Timeframe.H1, now, now - _DAY_MS + 1, None, 25)
        if len(bars) == 0:
            bars = self.market.candles(listing.symbol, Timeframe.D1, now, None, None, 1)
        first = bars[0].open if len(bars) else quote.price
        high = float(bars.values[:, 1].max()) if len(bars) else quote.price
        low = float(bars.values[:, 2].min()) if len(bars) else quote.price
        volume = float(bars.values[:, 4].sum()) if len(bars) else 0.0
        book = self._book(listing, quote)
        change = quote.price - first
        return {
            **book,
            "priceChange": f"{change:.8f}",
            "priceChangePercent": f"{100 * change / first:.3f}",
            "weightedAvgPrice": f"{(first + quote.price) / 2:.8f}",
            "prevClosePrice": f"{first:.8f}",
            "lastPrice": self._last(listing, quote),
            "lastQty": "0.00000000",
            "openPrice": f"{first:.8f}",
            "highPrice": f"{high:.8f}",
            "lowPrice": f"{low:.8f}",
            "volume": f"{volume:.8f}",
            "quoteVolume": f"{volume * quote.price:.8f}",
            "openTime": now - _DAY_MS,
            "closeTime": now,
            "firstId": -1,
            "lastId": -1,
            "count": 0,
        }
