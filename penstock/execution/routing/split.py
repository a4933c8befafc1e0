"""Splitting one order over several venues by quoted cost. Pure.

penstock.execution.routing.router calls it with the venues' offers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class VenueQuote:
    """What a venue offers for a symbol now."""

    venue: str
    """The venue's name."""

    instrument: Instrument
    """The symbol as the venue lists it."""

    price: Decimal
    """The venue's mid price (quote units)."""

    fee_bps: Decimal
    """The taker fee."""

    spread_bps: Decimal
    """The whole spread."""

    depth: Decimal
    """The quantity at the best price (base units)."""

    free: Decimal | None = None
    """What the account there can spend (quote units) or sell (base units); None for any."""

    room: Decimal | None = None
    """How much more the venue lets the account hold (base units); None for any."""


@dataclass(frozen=True)
class RoutedPart:
    """The part of an order that goes to one venue."""

    venue: str
    """The venue's name."""
    order: ProposedOrder
    """The part, at the venue's mid price."""
    cost: Decimal
    """Fee and half the spread (quote units)."""


@dataclass(frozen=True)
class Route:
    """An order's parts."""

    parts: tuple[RoutedPart, ...]
    """The parts, cheapest venue first."""
    left: Decimal
    """The quantity that no venue takes (base units)."""


def unit_price(quote: VenueQuote, side: Side) -> Decimal:
    """Return what one unit costs a buyer, or yields a seller.

    The formula is price x (1 + side x (half the spread + fee)).
    """
    return quote.price * (1 + side.sign * (quote.spread_bps / 2 + quote.fee_bps) / _BPS)


def route(order: ProposedOrder, quotes: Sequence[VenueQuote]) -> Route:
    """Split `order` over the venues, the cheapest first, with fees and spreads.

    The cheapest venue gets its depth, then the next. What is left goes to the deepest venue that
    can take it. Parts are whole lots, legal at their venue and within what the account has there.
    Parts and `left` sum exactly to the order.
    """
    ranked = sorted(
        quotes, key=lambda quote: (order.side.sign * unit_price(quote, order.side), quote.venue)
    )
    quantities = dict.fromkeys((quote.venue for quote in ranked), _ZERO)
    rest = order.quantity
    for quote in ranked:
        rest -= _give(quantities, quote, order.side, min(rest, quote.depth))
    for quote in sorted(ranked, key=lambda each: -each.depth):
        rest -= _give(quantities, quote, order.side, rest)
    parts = tuple(
        _part(order, quote, quantities[quote.venue]) for quote in ranked if quantities[quote.venue]
    )
    return Route(parts, rest)


def _give(quantities: dict[str, Decimal], quote: VenueQuote, side: Side, more: Decimal) -> Decimal:
    """Add up to `more` to the venue's part; return how much was added.

    Nothing is added where the venue would refuse the part.
    """
    had = quantities[quote.venue]
    wanted = min(had + more, _affordable(quote, side, had + more))
    if side is Side.BUY and quote.room is not None:
        wanted = min(wanted, quote.room)
    quantity = quote.instrument.round_lots(wanted)
    if quantity <= had or quote.instrument.refusal(quantity, quote.price) is not None:
        return _ZERO
    quantities[quote.venue] = quantity
    return quantity - had


def _affordable(quote: VenueQuote, side: Side, quantity: Decimal) -> Decimal:
    """Return how much of `quantity` the account at the venue can pay for, or sell."""
    if quote.free is None:
        return quantity
    return min(quantity, quote.free / unit_price(quote, side) if side is Side.BUY else quote.free)


def _part(order: ProposedOrder, quote: VenueQuote, quantity: Decimal) -> RoutedPart:
    cost = order.side.sign * (unit_price(quote, order.side) - quote.price) * quantity
    return RoutedPart(
        quote.venue, replace(order, quantity=quantity, price=quote.price, venue=quote.venue), cost
    )
