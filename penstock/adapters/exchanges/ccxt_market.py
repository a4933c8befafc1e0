"""The public side of a ccxt venue: time, instruments, bars and prices.

It needs no keys and changes nothing at the venue.
"""

import copy
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import ccxt
import polars as pl
import structlog

from penstock.adapters.exchanges.ccxt_errors import NONSENSE, translate
from penstock.adapters.exchanges.ccxt_values import NEWEST_BARS, bars_of, decimal_of, step_of
from penstock.adapters.exchanges.ended_markets import ended_market
from penstock.adapters.exchanges.listings import Listings
from penstock.adapters.exchanges.order_limits import filters_of, largest_order
from penstock.adapters.exchanges.refusals import refusal_table
from penstock.adapters.exchanges.venue_prices import given_prices, given_quotes
from penstock.adapters.exchanges.venue_session import Throttle, VenueSession
from penstock.core.clock import MachineClock
from penstock.core.errors import (
    ConfigError,
    DataError,
    RateLimitedError,
    UnknownSymbolError,
    VenueUnavailableError,
)
from penstock.core.instruments import Instrument
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe

Answer = TypeVar("Answer")

_LONGEST_WAIT_SECONDS = 60.0
_MOST_DECIMALS = 18
_log = structlog.get_logger(__name__)


class CcxtMarketData:
    """MarketData of the ccxt venue `venue` ("binance", "kraken", ...). Thread-safe.

    Reads are retried while the venue is unavailable. `sandbox` uses the venue's test network.
    `base_url` sends every request to a practice exchange. `rate_limit_ms` is the time between
    requests of cost 1. By default it is ccxt's for the venue, and 0 for a practice exchange.
    """

    def __init__(
        self,
        venue: str,
        *,
        sandbox: bool = False,
        base_url: str | None = None,
        proxy: str | None = None,
        timeout_seconds: float = 10.0,
        rate_limit_ms: float | None = None,
        read_attempts: int = 4,
        retry_wait_seconds: float = 0.25,
        credentials: Mapping[str, str] | None = None,
        clock: MachineClock = SYSTEM_CLOCK,
    ) -> None:
        self.venue = venue
        self.newest_bars = NEWEST_BARS.get(venue)
        self._refusals = refusal_table(venue)
        self._clock = clock
        self.session = VenueSession(
            base_url, proxy=proxy, clock=clock, secrets=(credentials or {}).values()
        )
        self.client = _client(
            venue, self.session, timeout_seconds, base_url is None, credentials or {}
        )
        if sandbox or base_url is not None:
            self._use_sandbox()
        if rate_limit_ms is None:
            rate_limit_ms = 0.0 if base_url is not None else float(self.client.rateLimit)
        self.client.throttle = Throttle(rate_limit_ms / 1000, clock=clock)
        self.client.parse_json = self._parse_json
        self._listings = Listings(self.client)
        self._listed: tuple[Any, dict[str, Instrument]] = (None, {})
        self._attempts = read_attempts
        self._retry_wait = retry_wait_seconds
        self._markets_lock = threading.Lock()
        self._has_markets = False
        self._ended: Any = None

    def now(self) -> datetime:
        if not self.client.has.get("fetchTime"):
            # The venue does not tell its time: the machine's is taken.
            return self._clock.now()
        return self.read(
            "time", lambda: datetime.fromtimestamp(int(self.client.fetch_time()) / 1000, UTC)
        )

    def instruments(self) -> Mapping[str, Instrument]:
        """Return the tradable spot instruments.

        A listing that cannot be read is left out, with a log line. Raises VenueUnavailableError
        where none can be read.
        """
        with self._markets_lock:
            self._listings.left_out.clear()
            markets = self.read("instruments", lambda: self.client.load_markets(True))
            self._has_markets = True
            left_out = dict(self._listings.left_out)
            before = self._listed
        if not left_out and markets is before[0]:
            return before[1]
        found: dict[str, Instrument] = {}
        for market in markets.values():
            if market.get("spot") and market.get("active") is not False:
                try:
                    found[market["symbol"]] = self._instrument(market)
                except (DataError, *NONSENSE, ccxt.BaseError) as error:
                    left_out[str(market.get("symbol"))] = str(error)
        if left_out and not found:
            first = ": ".join(next(iter(left_out.items())))
            raise VenueUnavailableError(
                f"{self.venue}: none of {len(left_out)} listings can be read, first {first}"
            )
        for name, reason in left_out.items():
            _log.warning("listing_left_out", venue=self.venue, symbol=name, reason=reason)
        if not left_out:
            self._listed = markets, found
        return found

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        self.require_symbol(symbol)
        return self._candles(self.client, symbol, timeframe, since, limit)

    def fetch_ended_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        """Return bars of a symbol that may be listed no more.

        A client of its own knows such symbols: nothing else can trade or quote them.
        """
        try:
            self.require_symbol(symbol)
            client = self.client
        except UnknownSymbolError:
            with self._markets_lock:
                client = self._client_of_ended(symbol)
        return self._candles(client, symbol, timeframe, since, limit)

    def _candles(
        self, client: Any, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        if timeframe.value not in (client.timeframes or {}):
            raise ConfigError(
                f"{self.venue} has no {timeframe} bars: it has {', '.join(client.timeframes or {})}"
            )
        start = round(since.timestamp() * 1000)
        return self.read(
            f"bars of {symbol} {timeframe}",
            lambda: bars_of(symbol, client.fetch_ohlcv(symbol, timeframe.value, start, limit)),
        )

    def _client_of_ended(self, symbol: str) -> Any:
        """Return a client that knows `symbol` as if it were still listed."""
        if self._ended is None:
            self._ended = copy.copy(self.client)
            del self._ended.set_markets  # it is the other client's
            self._ended.set_markets(list(self.client.markets.values()))
        if symbol not in self._ended.markets:
            ended = ended_market(symbol, list(self.client.markets.values()))
            self._ended.set_markets([*self._ended.markets.values(), ended])
        return self._ended

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        for symbol in symbols:
            self.require_symbol(symbol)
        if not symbols:
            return {}
        return self.read(f"prices of {len(symbols)} symbols", lambda: self._prices(list(symbols)))

    def _prices(self, symbols: list[str]) -> dict[str, Decimal]:
        given = given_prices(self.client, self.venue, symbols)
        prices = {name: self._price(name, given[name]) for name in symbols if name in given}
        return {name: price for name, price in prices.items() if price is not None}

    def _price(self, symbol: str, given: object) -> Decimal | None:
        """Return a last price; None where it is not stated, or is no finite number above zero."""
        if given is None:
            return None
        try:
            price = Decimal(str(given))
        except InvalidOperation:
            price = Decimal("NaN")
        if price.is_finite() and price > 0:
            return price
        _log.warning("price_refused", venue=self.venue, symbol=symbol, given=str(given))
        return None

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        for symbol in symbols:
            self.require_symbol(symbol)
        if not symbols:
            return {}
        quotes = self.read(
            f"quotes of {len(symbols)} symbols",
            lambda: given_quotes(self.client, self.venue, list(symbols)),
        )
        return {symbol: quote for symbol in symbols if (quote := quotes.get(symbol)) is not None}

    def require_symbol(self, symbol: str) -> None:
        """Raise UnknownSymbolError where the venue does not list the spot symbol.

        The first call loads the markets.
        """
        self.require_markets()
        market = self.client.markets.get(symbol)
        if market is None or not market.get("spot"):
            raise UnknownSymbolError(
                f"{self.venue} does not list the spot symbol '{symbol}' (written like BTC/USDT)"
            )

    def require_markets(self) -> None:
        """Load the markets, unless that has been done. Without them ccxt leaves a venue's own names
        of symbols and assets as they are.
        """
        with self._markets_lock:
            if not self._has_markets:
                self.read("instruments", self.client.load_markets)
                self._has_markets = True

    def read(self, call: str, ask: Callable[[], Answer]) -> Answer:
        """Return `ask()`, tried again while the venue is unavailable, up to the given attempts."""
        attempt = 1
        while True:
            try:
                return self.understood(call, ask)
            except VenueUnavailableError as error:
                if attempt >= self._attempts or not _is_worth_another(error):
                    raise
                wait = self._wait(error, attempt)
            self._clock.sleep(wait)
            attempt += 1

    def understood(self, call: str, ask: Callable[[], Answer]) -> Answer:
        """Return `ask()`, called once, with its errors translated to Penstock's."""
        self.session.last.reset()
        try:
            return ask()
        except (ccxt.BaseError, *NONSENSE) as error:
            raise translate(
                error, self.session.last, f"{self.venue}, {call}", self._refusals
            ) from error

    def _wait(self, error: VenueUnavailableError, attempt: int) -> float:
        """Return the seconds until the next attempt: what the venue asks for, or a doubled wait."""
        if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return float(self._retry_wait * 2 ** (attempt - 1))

    def _use_sandbox(self) -> None:
        try:
            if not self.client.urls.get("test"):  # some venues have the key and nothing under it
                raise ccxt.NotSupported
            self.client.set_sandbox_mode(True)
        except ccxt.NotSupported:
            raise ConfigError(
                f"{self.venue} has no test network: trade on paper, or live by saying so explicitly"
            ) from None

    def _parse_json(self, body: str) -> Any:
        """Return the parsed answer. ccxt would take text that is not JSON for an answer, and that
        of a redirect.
        """
        status = self.session.last.status
        if status is not None and 300 <= status < 400:
            raise VenueUnavailableError(
                f"{self.venue}: HTTP {status} leads to another address, and nothing is sent there"
            )
        try:
            path = self.session.last.path
            return self._listings.of_answer(path, body, self.client.on_json_response)
        except ValueError:
            if status in (418, 429):
                raise RateLimitedError(
                    f"{self.venue}: HTTP {status}", self.session.last.retry_after
                ) from None
            raise VenueUnavailableError(
                f"{self.venue}: HTTP {status} with an answer that is not JSON: {body[:80]!r}"
            ) from None

    def _instrument(self, market: Mapping[str, Any]) -> Instrument:
        """Return the instrument of a ccxt market. Binance's own filters are taken where given."""
        filters = filters_of(market["info"] or {})
        limits = market["limits"]
        mode, symbol = self.client.precisionMode, market["symbol"]
        lot_step = step_of(
            filters.get("LOT_SIZE", {}).get("stepSize"), market["precision"]["amount"], mode
        )
        most, order_limits = largest_order(self.venue, market)
        by_digits = mode == ccxt.SIGNIFICANT_DIGITS
        price_tick = (
            self._finest_price(symbol)
            if by_digits
            else step_of(
                filters.get("PRICE_FILTER", {}).get("tickSize"), market["precision"]["price"], mode
            )
        )
        return Instrument(
            symbol=symbol,
            base=market["base"],
            quote=market["quote"],
            price_tick=price_tick,
            price_digits=int(market["precision"]["price"]) if by_digits else None,
            lot_step=lot_step,
            min_quantity=decimal_of(limits["amount"].get("min")) or lot_step,
            min_notional=decimal_of(limits.get("cost", {}).get("min")) or Decimal(0),
            max_quantity=most,
            limits=order_limits,
        )

    def _finest_price(self, symbol: str) -> Decimal:
        """Return the smallest price that ccxt does not round to zero."""
        for places in range(_MOST_DECIMALS, 0, -1):
            tick = Decimal(1).scaleb(-places)
            if Decimal(self.client.price_to_precision(symbol, f"{tick:f}")) == tick:
                return tick
        return Decimal(1)


def _is_worth_another(error: VenueUnavailableError) -> bool:
    """Return whether a read is tried again: not where the venue asks for a long wait."""
    asked = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    return (asked or 0.0) <= _LONGEST_WAIT_SECONDS


def _client(
    venue: str,
    session: VenueSession,
    timeout: float,
    adjust_time: bool,
    credentials: Mapping[str, str],
) -> Any:
    """Return ccxt's client of a venue: exact decimals as text, no retries of its own."""
    if venue not in ccxt.exchanges:
        raise ConfigError(
            f"ccxt knows no exchange '{venue}': "
            "see the list with python -c 'import ccxt; print(ccxt.exchanges)'"
        )
    options: dict[str, Any] = {
        "defaultType": "spot",
        "maxRetriesOnFailure": 0,
        "adjustForTimeDifference": adjust_time,
    }
    if venue.startswith("binance"):
        options |= {
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        }
    settings = {
        "enableRateLimit": True,
        "timeout": round(timeout * 1000),
        "options": options,
        "session": session,
        **credentials,
    }
    client = getattr(ccxt, venue)(settings)
    client.session = session
    client.number = str
    client.logger.setLevel(logging.INFO)  # at DEBUG ccxt logs the API key with every request
    logging.getLogger("urllib3").setLevel(logging.INFO)  # and urllib3 the signed address
    return client
