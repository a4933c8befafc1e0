"""What Penstock needs of a venue: its public side, and an account on it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import polars as pl

from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderRequest
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.transfers import Transfer


class MarketData(Protocol):
    """A venue's public side. Thread-safe; keeps to the venue's rate limit by itself.

    Every method raises VenueUnavailableError (or RateLimitedError) where there was no usable
    answer.
    """

    def now(self) -> datetime:
        """Return the venue's own time, UTC."""
        ...

    def instruments(self) -> Mapping[str, Instrument]:
        """Return the tradable spot instruments by symbol ("BTC/USDT"). Asks the venue each time."""
        ...

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        """Return up to `limit` bars (BARS_SCHEMA) that open at or after `since`, as the venue sends
        them.

        The last one may be unclosed, bars may be missing or out of order: checking is the caller's.
        Raises UnknownSymbolError for a symbol that the venue does not list.
        """
        ...

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the last traded price of each symbol, in quote units; a symbol without a price is
        absent.
        """
        ...

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """Return the best bid and ask of each symbol; one without both sides, or with crossed ones,
        is absent.

        One request for all of them where the venue has such a call. Raises UnknownSymbolError as
        fetch_bars does.
        """
        ...


class Exchange(MarketData, Protocol):
    """A venue with an account on it: MarketData, and trading.

    A call that changes state and gets no usable answer raises VenueUnavailableError: the order is
    then UNKNOWN. VenueRejectedError and its subclasses are the venue's own word that nothing was
    changed. NotSentError is ours: the request was refused here, and the venue knows nothing of it.
    """

    def balances(self) -> Mapping[str, Decimal]:
        """Return the total (free and locked) of every asset whose total is not zero."""
        ...

    def submit(self, order: OrderRequest) -> OrderReport:
        """Send the order once (never retried inside). DuplicateOrderError where the venue has this
        client order id.
        """
        ...

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        """Return the order with this client order id, open or ended; OrderNotFoundError where the
        venue has none.
        """
        ...

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        """Cancel what is left of an order and return its report; OrderNotFoundError where it is not
        open.

        An order made by hand may have no client order id (""): then the venue's own id, as its
        report has it, names it.
        """
        ...

    def open_orders(self) -> Sequence[OrderReport]:
        """Return every order that is working at the venue, ours or not."""
        ...

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in `symbol` from `since` on, oldest first, all pages.

        `client_order_id` is "" where the venue's trade names an order we cannot map.
        """
        ...

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        """Return the account's finished deposits and withdrawals from `since` on; None where the
        venue does not tell.
        """
        ...
