"""The public calls: time, symbols, candles, tickers."""

from collections.abc import Callable
from typing import Any

from penstock.core.timeframes import Timeframe
from penstock.practice import binance_json
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.book import TopOfBook
from penstock.practice.clock import VenueTime
from penstock.practice.filters import SymbolRules
from penstock.practice.limits import LimitSpec
from penstock.practice.market import BookTicker, Listing
from penstock.practice.parameters import (
    BOOLEAN,
    INT,
    INTERVAL,
    SYMBOL,
    SYMBOL_STATUS,
    SYMBOLS,
    TIME,
    Parameters,
    Route,
    integer,
    is_true,
    may,
    needs,
    page_size,
    symbols,
    table,
)
from penstock.simulation.fill_model import decimal_of

PublicHandler = Callable[[Parameters], Any]
_DAY_MS = 86_400_000
_KLINES_DEFAULT, _KLINES_MOST = 500, 1000


def _weight_of_each(symbols: int, everything: int) -> Callable[[Parameters], int]:
    """Return the weight of a ticker: 2 for one symbol, else for a list or for everything."""
    return lambda p: 2 if "symbol" in p else symbols if "symbols" in p else everything


def _weight_of_day(parameters: Parameters) -> int:
    """Return the weight of 24-hour figures, which depends on the number of symbols."""
    if "symbol" in parameters:
        return 2
    asked = parameters["symbols"].count(",") + 1 if "symbols" in parameters else None
    return 80 if asked is None or asked > 100 else 40 if asked > 20 else 2


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

    def routes(self) -> dict[str, Route[PublicHandler]]:
        """Return the routes by method and path."""
        some = (may("symbol", SYMBOL), may("symbols", SYMBOLS))
        return table(
            Route("GET", "/api/v3/ping", lambda _: {}),
            Route("GET", "/api/v3/time", lambda _: {"serverTime": self.time.show_ms()}),
            Route(
                "GET",
                "/api/v3/exchangeInfo",
                self.exchange_info,
                (
                    *some,
                    may("showPermissionSets", BOOLEAN),
                    may("symbolStatus", SYMBOL_STATUS),
                ),
                weight=20,
            ),
            Route(
                "GET",
                "/api/v3/klines",
                self.klines,
                (
                    needs("symbol", SYMBOL),
                    needs("interval", INTERVAL),
                    may("startTime", TIME),
                    may("endTime", TIME),
                    may("limit", INT),
                ),
                weight=2,
            ),
            Route(
                "GET",
                "/api/v3/ticker/price",
                lambda p: self._each(p, self._price),
                some,
                weight=_weight_of_each(symbols=4, everything=4),
            ),
            Route(
                "GET",
                "/api/v3/ticker/24hr",
                lambda p: self._each(p, self._day),
                some,
                weight=_weight_of_day,
            ),
            Route(
                "GET",
                "/api/v3/ticker/bookTicker",
                lambda p: self._each(p, self._book),
                some,
                weight=_weight_of_each(symbols=4, everything=4),
            ),
        )

    def exchange_info(self, parameters: Parameters) -> Any:
        """Return the venue's rules, of all symbols or of those asked for."""
        names, status = symbols(parameters), parameters.get("symbolStatus")
        if names is not None and status is not None:
            raise PracticeRefusal(-1128, "Combination of optional parameters invalid.")
        wanted = (
            list(self.market.listings.values())
            if names is None
            else [self.market.listing(name) for name in names]
        )
        shown = [
            binance_json.symbol_answer(
                listing,
                self._rules[listing.wire],
                is_trading=listing.symbol not in self.market.suspended,
            )
            for listing in wanted
        ]
        if not is_true(parameters, "showPermissionSets", True):
            for entry in shown:
                entry["permissionSets"] = []
        return {
            **self._info,
            "serverTime": self.time.show_ms(),
            "symbols": [entry for entry in shown if status in (None, entry["status"])],
        }

    def klines(self, parameters: Parameters, stale_seconds: float = 0.0) -> bytes:
        """Return candles up to now, or as they were `stale_seconds` ago."""
        listing = self.market.charted(parameters["symbol"])
        try:
            timeframe = Timeframe(parameters["interval"])
        except ValueError:
            raise PracticeRefusal(-1120, "Invalid interval.") from None
        limit = page_size(parameters, _KLINES_DEFAULT, _KLINES_MOST)
        start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
        now = self.time.now_ms() - round(stale_seconds * 1000)
        late_ms = self.books.late_ms.get(listing.wire)
        if late_ms is not None:
            newest = now - late_ms - timeframe.seconds * 1000
            end = newest if end is None else min(end, newest)
        return binance_json.klines(
            self.books.candle_pages.candles(
                self.market, listing.symbol, timeframe, now, start, end, limit
            )
        )

    def _each(
        self, parameters: Parameters, show: Callable[[Listing, BookTicker], dict[str, Any]]
    ) -> Any:
        """Return one symbol's entry, or a list: the `symbols` asked for, or all with a price."""
        names = symbols(parameters)
        wanted = (
            list(self.market.listings.values())
            if names is None
            else [self.market.listing(name) for name in names]
        )
        if "symbol" in parameters:
            quote = self._quote(wanted[0])
            if quote is None:
                raise PracticeRefusal(-1112, "No orders on book for symbol.")
            return show(wanted[0], quote)
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
