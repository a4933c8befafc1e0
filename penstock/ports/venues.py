"""What Penstock needs of an account that trades on several venues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport
from penstock.core.quotes import Quote
from penstock.ports.market import Exchange


class VenueAccount(Exchange, Protocol):
    """An account at one of several venues: it also has the free balances."""

    def free_balances(self) -> Mapping[str, Decimal]:
        """Return what no working order reserves, by asset. An asset without any is absent."""
        ...


@dataclass(frozen=True)
class VenueOffer:
    """What one venue offers an account now. A venue that did not answer offers nothing."""

    venue: str
    """The venue's name."""
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    """The venue's rules, by symbol."""
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    """The best bid and ask, by symbol."""
    free: Mapping[str, Decimal] = field(default_factory=dict)
    """What no working order reserves, by asset."""
    fee_bps: Decimal = Decimal(0)
    """The taker fee, in basis points of the notional."""
    error: str = ""
    """Why nothing is known of the venue; "" where it answered."""


class Venues(Protocol):
    """The venues of one account, where they are asked one by one."""

    @property
    def accounts(self) -> Mapping[str, Exchange]:
        """The account at each venue, by the venue's name."""
        ...

    def find_order_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        """Return the order's report from the venue that it was sent to: see Exchange.find_order."""
        ...

    def cancel_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        """Cancel the order at the venue that it was sent to: see Exchange.cancel."""
        ...

    def fills_at(self, venue: str, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the trades at one venue, whether or not the others answer: see Exchange.fills."""
        ...

    def offers(self, symbols: Sequence[str]) -> Sequence[VenueOffer]:
        """Return the offer of each venue, which are asked at the same time.

        Symbols that a venue does not list are absent from its offer. A venue that does not answer
        raises nothing: its offer has the error.
        """
        ...
