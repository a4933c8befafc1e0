"""The tickers: last prices, best prices, and the figures of a day or of any window."""

from collections.abc import Callable
from typing import Any

from penstock.core.timeframes import Timeframe
from penstock.practice import binance_json
from penstock.practice.binance_errors import (
    PracticeRefusal,
    invalid_parameter,
    missing_parameter,
)
from penstock.practice.book import TopOfBook
from penstock.practice.clock import VenueTime
from penstock.practice.intervals import Interval, time_zone
from penstock.practice.market import BookTicker, Listing
from penstock.practice.parameters import (
    SYMBOL,
    SYMBOL_STATUS,
    SYMBOLS,
    TICKER_TYPE,
    TIME_ZONE,
    WINDOW_SIZE,
    Parameters,
    Route,
    may,
    table,
)
from penstock.practice.symbol_choice import chosen
from penstock.simulation.fill_model import decimal_of

Row = dict[str, Any]
_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
_UNITS_MS = {"m": _MINUTE_MS, "h": 3_600_000, "d": _DAY_MS}
_MOST_SYMBOLS = 100
_MINI = (
    *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
    *("openTime", "closeTime", "firstId", "lastId", "count"),
)


class Tickers:
    """Answers about prices that need no account."""

    def __init__(self, books: TopOfBook, time: VenueTime) -> None:
        self.market = books.market
        self.books = books
        self.time = time

    def routes(self) -> dict[str, Route[Callable[[Parameters], Any]]]:
        """Return the routes by method and path."""
        listed = (
            *(may("symbol", SYMBOL), may("symbols", SYMBOLS)),
            may("symbolStatus", SYMBOL_STATUS),
        )
        full = (*listed, may("type", TICKER_TYPE))
        zone, size = may("timeZone", TIME_ZONE), may("windowSize", WINDOW_SIZE)
        path = "/api/v3/ticker"
        return table(
            Route("GET", f"{path}/price", self.prices, listed, _weight_of_prices),
            Route("GET", f"{path}/bookTicker", self.books_of, listed, _weight_of_prices),
            Route("GET", f"{path}/24hr", self.day, full, _weight_of_day),
            Route("GET", f"{path}/tradingDay", self.trading_day, (*full, zone), _weight_of_each),
            Route("GET", path, self.rolling_window, (*full, size), _weight_of_each),
        )

    def prices(self, parameters: Parameters) -> Any:
        """Return last prices."""
        return self._each(parameters, self._price)

    def books_of(self, parameters: Parameters) -> Any:
        """Return the best bids and asks."""
        return self._each(parameters, self._book)

    def day(self, parameters: Parameters) -> Any:
        """Return the figures of 24 hours."""
        return self._each(parameters, self._day)

    def trading_day(self, parameters: Parameters) -> Any:
        """Return the figures of the day that has begun in `timeZone`."""
        _require_symbols(parameters)
        zone = time_zone(parameters.get("timeZone", "0"))
        now = self.time.now_ms()
        day = Interval("1d", zone)
        opened, bars = day.open_at(now), Interval("1h", zone).source

        def figures(listing: Listing, quote: BookTicker) -> Row:
            return self._window(listing, quote, opened, bars)

        return self._each(parameters, figures)

    def rolling_window(self, parameters: Parameters) -> Any:
        """Return the figures of the time that `windowSize` says; it begins at a whole minute."""
        _require_symbols(parameters)
        window, bars = _window_size(parameters.get("windowSize", "1d"))
        opened = (self.time.now_ms() - window) // _MINUTE_MS * _MINUTE_MS

        def figures(listing: Listing, quote: BookTicker) -> Row:
            return self._window(listing, quote, opened, bars)

        return self._each(parameters, figures)

    def _each(self, parameters: Parameters, show: Callable[[Listing, BookTicker], Row]) -> Any:
        """Return one symbol's entry, or a list: the `symbols` asked for, or all with a price."""
        now = self.time.now_ms()
        found = [
            (each, self.market.quote(each.symbol, now)) for each in chosen(self.market, parameters)
        ]
        rows = [show(listing, quote) for listing, quote in found if quote is not None]
        if parameters.get("type") == "MINI":
            rows = [{name: row[name] for name in _MINI} for row in rows]
        if "symbol" not in parameters:
            return rows
        if not rows:
            raise PracticeRefusal(-1112, "No orders on book for symbol.")
        return rows[0]

    def _price(self, listing: Listing, quote: BookTicker) -> Row:
        return {"symbol": listing.wire, "price": self._last(listing, quote)}

    def _last(self, listing: Listing, quote: BookTicker) -> str:
        """Return the last price: the known one, or what a test has printed in its place."""
        return self.books.last.get(listing.wire, binance_json.text(decimal_of(quote.price)))

    def _book(self, listing: Listing, _: BookTicker) -> Row:
        """Return the best bid and ask; all zero where there is none, as Binance has it."""
        return binance_json.book_answer(listing, self.books.at(listing, self.time.now_ms()))

    def _day(self, listing: Listing, quote: BookTicker) -> Row:
        """Return the figures of 24 hours."""
        opened = self.time.now_ms() - _DAY_MS
        figures = self._window(listing, quote, opened, Timeframe.H1)
        more = {"prevClosePrice": figures["openPrice"], "lastQty": "0.00000000"}
        return {**self._book(listing, quote), **figures, **more}

    def _window(self, listing: Listing, quote: BookTicker, opened: int, bars: Timeframe) -> Row:
        """Return the figures since `opened`, from the candles that begin then or later."""
        now = self.time.now_ms()
        most = (now - opened) // (bars.seconds * 1000) + 1
        found = self.market.candles(listing.symbol, bars, now, opened, None, most)
        if len(found) == 0:
            found = self.market.candles(listing.symbol, Timeframe.D1, now, None, None, 1)
        first = found[0].open if len(found) else quote.price
        high = float(found.values[:, 1].max()) if len(found) else quote.price
        low = float(found.values[:, 2].min()) if len(found) else quote.price
        volume = float(found.values[:, 4].sum()) if len(found) else 0.0
        turnover = float((found.values[:, 4] * found.values[:, 3]).sum()) if len(found) else 0.0
        change = quote.price - first
        return {
            "symbol": listing.wire,
            "priceChange": f"{change:.8f}",
            "priceChangePercent": f"{100 * change / first:.3f}",
            "weightedAvgPrice": f"{turnover / volume if volume else quote.price:.8f}",
            "openPrice": f"{first:.8f}",
            "highPrice": f"{high:.8f}",
            "lowPrice": f"{low:.8f}",
            "lastPrice": self._last(listing, quote),
            "volume": f"{volume:.8f}",
            "quoteVolume": f"{turnover:.8f}",
            "openTime": opened,
            "closeTime": now,
            "firstId": -1,
            "lastId": -1,
            "count": 0,
        }


def _require_symbols(parameters: Parameters) -> None:
    if "symbol" not in parameters and "symbols" not in parameters:
        raise missing_parameter("symbol")
    if _asked(parameters) > _MOST_SYMBOLS:
        raise invalid_parameter("symbols")


def _window_size(text: str) -> tuple[int, Timeframe]:
    """Return a window's length (ms), and the bars that its figures come from."""
    bars = Timeframe.M1 if text.endswith("m") else Timeframe.H1
    return int(text[:-1]) * _UNITS_MS[text[-1]], bars


def _asked(parameters: Parameters) -> int:
    """Return how many symbols `symbol` or `symbols` has."""
    return parameters.get("symbols", "").count(",") + 1


def _weight_of_prices(parameters: Parameters) -> int:
    return 2 if "symbol" in parameters else 4


def _weight_of_day(parameters: Parameters) -> int:
    if "symbol" not in parameters and "symbols" not in parameters:
        return 80
    asked = _asked(parameters)
    return 2 if asked <= 20 else 40 if asked <= 100 else 80


def _weight_of_each(parameters: Parameters) -> int:
    return min(4 * _asked(parameters), 200)
