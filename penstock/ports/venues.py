"""What Penstock needs of an account that trades on several venues: what each of them offers, and
the account at each.
"""

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
    """An account that can be one of several: it also tells what orders may spend."""

    def free_balances(self) -> Mapping[str, Decimal]:
        """Return of every asset what no working order holds; assets without any are absent."""
        ...


@dataclass(frozen=True)
class VenueOffer:
    """What one venue offers an account now: rules and quotes by symbol, what is free by asset, and
    its taker fee.

    `error` is why nothing is known of it: a venue that did not answer offers nothing.
    """

    venue: str
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    free: Mapping[str, Decimal] = field(default_factory=dict)
    fee_bps: Decimal = Decimal(0)
    error: str = ""


class Venues(Protocol):
    """The venues of one account. Together they are an Exchange; one by one, this."""

    @property
    def accounts(self) -> Mapping[str, Exchange]:
        """The account at each venue, by the venue's name."""
        ...

    def find_order_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        """Ask the venue that the order was sent to, as Exchange.find_order does of one: the others'
        words say nothing of it.
        """
        ...

    def cancel_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        """Cancel at the venue that the order was sent to, as Exchange.cancel does of one."""
        ...

    def fills_at(self, venue: str, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the trades at one venue, as Exchange.fills of all gives them: another one's
        silence must not hide them.
        """
        ...

    def offers(self, symbols: Sequence[str]) -> Sequence[VenueOffer]:
        """Ask every venue at the same time what it offers of the symbols that it lists. Never
        raises for a silent venue.
        """
        ...
