"""The public calls: time, symbols, candles, trades and the order book."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from penstock.practice import binance_json
from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter, missing_parameter
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
from penstock.practice.symbol_choice import bad_combination, chosen, names_in, state_of
from penstock.simulation.fill_model import decimal_of

Parameters = Mapping[str, str]
_PAGE_DEFAULT, _PAGE_MOST = 500, 1000
_AVERAGED_MINUTES = 5
_PERMISSION = re.compile(r"[A-Z0-9_]+")


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
            "GET /api/v3/uiKlines": self.klines,
            "GET /api/v3/depth": self.depth,
            "GET /api/v3/trades": self.recent_trades,
            "GET /api/v3/historicalTrades": self.old_trades,
            "GET /api/v3/aggTrades": self.aggregate_trades,
            "GET /api/v3/avgPrice": self.average_price,
            "GET /sapi/v1/system/status": lambda _: {"status": 0, "msg": "normal"},
            "GET /fapi/v1/exchangeInfo": self.no_contracts,
            "GET /dapi/v1/exchangeInfo": self.no_contracts,
            **{f"{method} /api/v3/userDataStream": _no_stream for method in _KEEPS_STREAM},
        }

    def exchange_info(self, parameters: Parameters) -> Any:
        """Return the symbols that are asked for, with their rules."""
        named = "symbol" in parameters or "symbols" in parameters
        if named and ("permissions" in parameters or "symbolStatus" in parameters):
            raise bad_combination()
        rows = []
        for listing in chosen(self.market, parameters):
            is_trading = state_of(self.market, listing) == "TRADING"
            rows.append(
                binance_json.symbol_answer(
                    listing, self._rules[listing.wire], is_trading=is_trading
                )
            )
        if "permissions" in parameters and "SPOT" not in _permissions(parameters):
            rows = []
        if parameters.get("showPermissionSets") == "false":
            rows = [{**row, "permissionSets": []} for row in rows]
        return {**self._info, "serverTime": self.time.now_ms(), "symbols": rows}

    def no_contracts(self, _: Parameters) -> Any:
        """Return the list of futures, which is empty: ccxt asks for it beside the spot symbols."""
        return {**self._info, "serverTime": self.time.now_ms(), "assets": [], "symbols": []}

    def klines(self, parameters: Parameters, stale_seconds: float = 0.0) -> bytes:
        """Return candles up to now, or as they were `stale_seconds` ago."""
        listing = self.market.charted(required(parameters, "symbol"))
        name, zone = required(parameters, "interval"), parameters.get("timeZone", "0")
        interval, limit = Interval(name, time_zone(zone)), _limit(parameters)
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
        """Return the order book: the best bid and ask, which fill all there is to fill."""
        required(parameters, "symbol")
        (listing,) = chosen(self.market, parameters)
        _limit(parameters)
        now, least = self.time.now_ms(), self._rules[listing.wire].instrument.lot_step
        return binance_json.depth_answer(self.books.at(listing, now), least, now)

    def recent_trades(self, parameters: Parameters) -> Any:
        return [trade_row(trade) for trade in self._trades(parameters)]

    def old_trades(self, parameters: Parameters) -> Any:
        from_id = integer(parameters, "fromId")
        return [trade_row(trade) for trade in self._trades(parameters, from_id)]

    def aggregate_trades(self, parameters: Parameters) -> Any:
        from_id = integer(parameters, "fromId")
        start, end = integer(parameters, "startTime"), integer(parameters, "endTime")
        if from_id is not None and (start, end) != (None, None):
            raise bad_combination()
        return [aggregate_row(trade) for trade in self._trades(parameters, from_id, start, end)]

    def average_price(self, parameters: Parameters) -> Any:
        """Return the average of the trades of five minutes, or the last price without any."""
        listing = self.market.listing(required(parameters, "symbol"))
        now = self.time.now_ms()
        since = now - _AVERAGED_MINUTES * 60_000
        trades = market_trades(
            self.market, self._rules[listing.wire].instrument, now, limit=_PAGE_MOST, start=since
        )
        quote = self.market.quote(listing.symbol, now)
        average = average_price(trades)
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
        listing = self.market.listing(required(parameters, "symbol"))
        return market_trades(
            self.market,
            self._rules[listing.wire].instrument,
            self.time.now_ms(),
            limit=min(_limit(parameters), _PAGE_MOST),
            from_id=from_id,
            start=start,
            end=end,
        )


_KEEPS_STREAM = ("POST", "PUT", "DELETE")


def _no_stream(_: Parameters) -> Any:
    """Refuse a listen key, which Binance gives no more either."""
    raise PracticeRefusal(
        -1020,
        "This operation is not supported. Listen keys are gone from Binance, and the practice "
        "exchange has no streams: ask for orders and trades.",
        status=410,
    )


def _limit(parameters: Parameters) -> int:
    """Return how many rows are asked for; -1100 for none."""
    limit = integer(parameters, "limit")
    limit = _PAGE_DEFAULT if limit is None else limit
    if limit < 1:
        raise illegal_parameter("limit")
    return min(limit, _PAGE_MOST)


def _permissions(parameters: Parameters) -> list[str]:
    """Return the permissions that are asked for: one, or a JSON list of them."""
    if parameters["permissions"].startswith("["):
        return names_in(parameters, "permissions")
    if not _PERMISSION.fullmatch(parameters["permissions"]):
        raise illegal_parameter("permissions")
    return [parameters["permissions"]]
