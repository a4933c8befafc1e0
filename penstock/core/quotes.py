"""The best bid and ask of a symbol at a venue."""

from dataclasses import dataclass
from decimal import Decimal

from penstock.core.errors import DataError


@dataclass(frozen=True)
class Quote:
    """The best prices of a venue's order book.

    Raises DataError where a price is not above zero, where the bid is above the ask, or where a
    size is below zero.
    """

    bid: Decimal
    """The highest price at which somebody buys (quote units)."""
    ask: Decimal
    """The lowest price at which somebody sells (quote units)."""
    bid_size: Decimal = Decimal(0)
    """Base units wanted at the bid; zero where the venue does not state it."""
    ask_size: Decimal = Decimal(0)
    """Base units offered at the ask; zero where the venue does not state it."""

    def __post_init__(self) -> None:
        if not 0 < self.bid <= self.ask or self.bid_size < 0 or self.ask_size < 0:
            raise DataError(
                f"no quote: bid {self.bid} ({self.bid_size}) and ask {self.ask} ({self.ask_size}) "
                "must be above zero, the bid not above the ask, and no size below zero"
            )

    @property
    def mid(self) -> Decimal:
        """(bid + ask) / 2."""
        return (self.bid + self.ask) / 2

    @property
    def half_spread(self) -> Decimal:
        """(ask - bid) / 2 / mid: how far bid and ask are from the middle, as a fraction of it."""
        return (self.ask - self.bid) / 2 / self.mid

    @property
    def spread_bps(self) -> Decimal:
        """(ask - bid) / mid in basis points."""
        return (self.ask - self.bid) / self.mid * 10_000


def two_sided(
    bid: Decimal | None, ask: Decimal | None, bid_size: Decimal | None, ask_size: Decimal | None
) -> Quote | None:
    """Return the quote, or None where a side of the order book is missing or the sides are crossed.

    A side is missing where its price is None or zero, as Binance answers, or no finite number.
    """
    if bid is None or ask is None or not (bid.is_finite() and ask.is_finite() and 0 < bid <= ask):
        return None
    return Quote(bid, ask, _size(bid_size), _size(ask_size))


def _size(given: Decimal | None) -> Decimal:
    """Return a size; zero where it is not stated, below zero or no finite number."""
    return given if given is not None and given.is_finite() and given > 0 else Decimal(0)
