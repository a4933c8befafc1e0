"""What Penstock needs of a venue: its public side, and an account on it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

import polars as pl

from penstock.core.earn_balances import EarnBalance
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderRequest
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.transfers import Transfer


class MarketData(Protocol):
    """A venue's public side. It is thread-safe, and keeps to the venue's rate limit by itself.

    Every method raises VenueUnavailableError (or RateLimitedError, its subclass) where there was no
    usable answer.
    """

    def now(self) -> datetime:
        """Return the venue's own time, UTC."""
        ...

    def instruments(self) -> Mapping[str, Instrument]:
        """Return the tradable spot instruments, by symbol ("BTC/USDT").

        The venue is asked each time.
        """
        ...

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        """Return up to `limit` bars that open at or after `since`, as the venue sends them.

        They have BARS_SCHEMA. The last one may be unclosed, and bars may be missing or out of
        order: the caller checks them. Raises UnknownSymbolError for a symbol that the venue does
        not list.
        """
        ...

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the last traded price of each symbol (quote units).

        A symbol without a price is absent.
        """
        ...

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """Return the best bid and ask of each symbol.

        A symbol whose order book lacks a side, or has crossed sides, is absent. There is one
        request for all where the venue has such a call. Raises UnknownSymbolError as fetch_bars
        does.
        """
        ...


@runtime_checkable
class EndedMarketData(Protocol):
    """A venue that may still serve the bars of symbols that it lists no more, for research."""

    def fetch_ended_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        """Return what MarketData.fetch_bars returns, also of a symbol that is no longer listed.

        It is never traded for that. Raises UnknownSymbolError where the venue serves none.
        """
        ...


@runtime_checkable
class NewestBarsOnly(Protocol):
    """A venue that may serve its newest bars alone, whatever is asked for."""

    @property
    def newest_bars(self) -> int | None:
        """How many bars it serves of a symbol and timeframe; None where all that it has."""
        ...


class Exchange(MarketData, Protocol):
    """A venue with an account on it: market data and trading.

    A call that changes state raises one of three errors. VenueUnavailableError: there was no usable
    answer, and the order is UNKNOWN. VenueRejectedError and its subclasses: the venue answered that
    nothing was changed. NotSentError: the request was refused on this machine before it was sent.
    """

    def balances(self) -> Mapping[str, Decimal]:
        """Return the total, free and locked, of each asset. An asset without any is absent."""
        ...

    def submit(self, order: OrderRequest) -> OrderReport:
        """Send the order once, without a retry, and return the venue's report of it.

        Raises DuplicateOrderError where the venue has an open order with this client order id; once
        it has ended, some venues take the id again. UnknownSymbolError means that nothing was sent.
        """
        ...

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        """Return the report of the order with this client order id, open or ended.

        Raises OrderNotFoundError where the venue answers that it has none.
        """
        ...

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        """Cancel what is left of an order, and return the venue's report of it.

        An order made by hand may have no client order id (""). It is then found by
        `venue_order_id`, which its report has. Raises OrderNotFoundError where it is not open.
        """
        ...

    def open_orders(self) -> Sequence[OrderReport]:
        """Return every order that is working at the venue, ours or not."""
        ...

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in `symbol` from `since` on, all pages, the oldest first.

        `client_order_id` is "" where the order of a trade is not known.
        """
        ...

    def earn_balances(self) -> Sequence[EarnBalance]:
        """Return what is the account's and in the venue's earn programmes.

        Nothing of it is in `balances`: it cannot be traded before it is redeemed.
        """
        ...

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        """Return the account's finished deposits and withdrawals from `since` on.

        None where the venue has no such answer.
        """
        ...
