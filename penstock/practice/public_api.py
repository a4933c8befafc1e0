"""The public calls: time, symbols, candles, trades and the order book."""

import re
from collections.abc import Callable
from typing import Any

from penstock.practice import binance_json
from penstock.practice.binance_errors import PracticeRefusal, bad_combination
from penstock.practice.book import TopOfBook
from penstock.practice.clock import VenueTime
from penstock.practice.filters import SymbolRules
from penstock.practice.intervals import Interval, candles_of, time_zone
from penstock.practice.limits import LimitSpec
from penstock.practice.market_trades import (
    MarketTrade,
    aggregate_row,
    average_price,
    market_trades,
    trade_row,
)
from penstock.practice.parameters import (
    BOOLEAN,
    INT,
    INTERVAL,
    LISTEN_KEY,
    LONG,
    PAGE_MOST,
    PERIOD,
    PERMISSIONS,
    SYMBOL,
    SYMBOL_STATUS,
    SYMBOLS,
    TIME_ZONE,
    Parameter,
    Parameters,
    Route,
    Weight,
    integer,
    is_true,
    may,
    needs,
    page_size,
    table,
)
from penstock.practice.symbol_choice import chosen, state_of
from penstock.simulation.fill_model import decimal_of

PublicHandler = Callable[[Parameters], Any]
_DEPTH_DEFAULT, _DEPTH_MOST = 100, 5000
_AVERAGED_MINUTES = 5
_ONE_SYMBOL, _LIMIT = needs("symbol", SYMBOL), may("limit", INT)
_CANDLES = (_ONE_SYMBOL, needs("interval", INTERVAL), may("timeZone", TIME_ZONE), *PERIOD)


def _weight_of_depth(parameters: Parameters) -> int:
    """Return the weight of an order book, which depends on how much of it is asked for."""
    asked = parameters.get("limit", "")
    limit = int(asked) if asked.isascii() and asked.isdigit() else _DEPTH_DEFAULT
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


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
        listed = (
            *(may("symbol", SYMBOL), may("symbols", SYMBOLS), may("permissions", PERMISSIONS)),
            *(may("showPermissionSets", BOOLEAN), may("symbolStatus", SYMBOL_STATUS)),
        )
        depth, old = (_ONE_SYMBOL, _LIMIT, may("symbolStatus", SYMBOL_STATUS)), may("fromId", LONG)
        key = (may("listenKey", LISTEN_KEY),)
        return table(
            _get("/api/v3/ping", lambda _: {}),
            _get("/api/v3/time", lambda _: {"serverTime": self.time.show_ms()}),
            _get("/api/v3/exchangeInfo", self.exchange_info, listed, 20),
            _get("/api/v3/klines", self.klines, _CANDLES, 2),
            _get("/api/v3/uiKlines", self.klines, _CANDLES, 2),
            _get("/api/v3/depth", self.depth, depth, _weight_of_depth),
            _get("/api/v3/trades", self.trades, (_ONE_SYMBOL, _LIMIT), 25),
            _get("/api/v3/historicalTrades", self.trades, (_ONE_SYMBOL, _LIMIT, old), 25),
            _get("/api/v3/aggTrades", self.aggregate_trades, (_ONE_SYMBOL, old, *PERIOD), 4),
            _get("/api/v3/avgPrice", self.average_price, (_ONE_SYMBOL,), 2),
            _get("/sapi/v1/system/status", lambda _: {"status": 0, "msg": "normal"}),
            _get("/fapi/v1/exchangeInfo", self.no_contracts),
            _get("/dapi/v1/exchangeInfo", self.no_contracts),
            Route("POST", _STREAM, _no_stream, key),
            Route("PUT", _STREAM, _no_stream, key),
            Route("DELETE", _STREAM, _no_stream, key),
        )

    def exchange_info(self, parameters: Parameters) -> Any:
        """Return the venue's rules, of all symbols or of those asked for."""
        is_named = "symbol" in parameters or "symbols" in parameters
        if is_named and ("symbolStatus" in parameters or "permissions" in parameters):
            raise bad_combination()
        shown = [
            binance_json.symbol_answer(
                listing,
                self._rules[listing.wire],
                is_trading=state_of(self.market, listing) == "TRADING",
            )
            for listing in chosen(self.market, parameters)
        ]
        if "SPOT" not in re.findall(r"\w+", parameters.get("permissions", "SPOT")):
            shown = []
        if not is_true(parameters, "showPermissionSets", True):
            for entry in shown:
                entry["permissionSets"] = []
        return {**self._info, "serverTime": self.time.show_ms(), "symbols": shown}

    def no_contracts(self, _: Parameters) -> Any:
        """Return the list of futures, which is empty. ccxt asks for it beside the spot symbols."""
        return {**self._info, "serverTime": self.time.show_ms(), "assets": [], "symbols": []}

    def klines(self, parameters: Parameters, stale_seconds: float = 0.0) -> bytes:
        """Return candles up to now, or as they were `stale_seconds` ago."""
        listing = self.market.charted(parameters["symbol"])
        interval = Interval(parameters["interval"], time_zone(parameters.get("timeZone", "0")))
        limit = page_size(parameters)
        start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
        now = self.time.now_ms() - round(stale_seconds * 1000)
        late_ms = self.books.late_ms.get(listing.wire)
        if late_ms is not None:
            newest = now - late_ms - interval.longest_ms
            end = newest if end is None else min(end, newest)
        pages = self.books.candle_pages
        return binance_json.klines(
            candles_of(self.market, pages, listing.symbol, interval, now, start, end, limit)
        )

    def depth(self, parameters: Parameters) -> Any:
        """Return the order book. It has the best bid and ask only: no order fills beyond them."""
        (listing,) = chosen(self.market, parameters)
        page_size(parameters, _DEPTH_DEFAULT, _DEPTH_MOST)
        now, least = self.time.now_ms(), self._rules[listing.wire].instrument.lot_step
        return binance_json.depth_answer(self.books.at(listing, now), least, now)

    def trades(self, parameters: Parameters) -> Any:
        """Return trades from `fromId` on, or else the latest."""
        from_id = integer(parameters, "fromId")
        return [trade_row(trade) for trade in self._trades(parameters, from_id)]

    def aggregate_trades(self, parameters: Parameters) -> Any:
        """Return trades from `fromId` or `startTime` on, or else the latest until `endTime`."""
        from_id = integer(parameters, "fromId")
        start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
        if from_id is not None and (start, end) != (None, None):
            raise bad_combination()
        return [aggregate_row(trade) for trade in self._trades(parameters, from_id, start, end)]

    def average_price(self, parameters: Parameters) -> Any:
        """Return the average of the trades of five minutes, or the last price without any."""
        listing, now = self.market.listing(parameters["symbol"]), self.time.now_ms()
        instrument, since = self._rules[listing.wire].instrument, now - _AVERAGED_MINUTES * 60_000
        trades = market_trades(self.market, instrument, now, limit=PAGE_MOST, start=since)
        quote, average = self.market.quote(listing.symbol, now), average_price(trades)
        if average is None and quote is not None:
            average = decimal_of(quote.price)
        if average is None:
            raise PracticeRefusal(-1112, "No orders on book for symbol.")
        return {
            "mins": _AVERAGED_MINUTES,
            "price": binance_json.text(average),
            "closeTime": trades[-1].at_ms if trades else now,
        }

    def _trades(
        self,
        parameters: Parameters,
        from_id: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> list[MarketTrade]:
        listing = self.market.listing(parameters["symbol"])
        return market_trades(
            self.market,
            self._rules[listing.wire].instrument,
            self.time.now_ms(),
            limit=page_size(parameters),
            from_id=from_id,
            start=start,
            end=end,
        )


_STREAM = "/api/v3/userDataStream"


def _no_stream(_: Parameters) -> Any:
    """Refuse a listen key. Binance has none since February 2026."""
    raise PracticeRefusal(
        -1020,
        "This operation is not supported: Binance has no listen keys any more, and the practice "
        "exchange has no streams. Ask for orders and trades.",
        status=410,
    )


def _get(
    path: str, handler: PublicHandler, reads: tuple[Parameter, ...] = (), weight: Weight = 1
) -> Route[PublicHandler]:
    return Route("GET", path, handler, reads, weight)
