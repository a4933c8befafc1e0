"""Which venue an order goes to, where an asset trades on more than one: parts by quoted cost. Pure.

Each part is an order for an account of its own, with its own ledger and lease; sending it is for that account's desk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock.core.drafts import DraftOrder
from penstock.core.errors import DataError
from penstock.core.instruments import Instrument
from penstock.core.orders import Side

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class VenueQuote:
    """What a venue offers for a symbol now.

    `price` is its mid or last price (quote units), `spread_bps` the whole spread, `fee_bps` the taker fee. `depth` (base units)
    is what can be had at that cost: a share of the last bar's volume. `free` bounds what the account there can spend or sell
    (quote units for a buy, base units for a sell); None is no bound.
    """

    venue: str
    instrument: Instrument
    price: Decimal
    fee_bps: Decimal
    spread_bps: Decimal
    depth: Decimal
    free: Decimal | None = None


@dataclass(frozen=True)
class RoutedPart:
    """The part of an order that goes to one venue, and what it should cost above (or yield below) price x quantity."""

    venue: str
    order: DraftOrder
    cost: Decimal


def depth_of(last_volume: float, participation: Decimal) -> Decimal:
    """Return the share of the last bar's volume (base units) that an order may count on."""
    return Decimal(repr(max(last_volume, 0.0))) * participation


def unit_price(quote: VenueQuote, side: Side) -> Decimal:
    """Return what one unit costs a buyer, or yields a seller, all in: price x (1 + side x (half the spread + fee))."""
    return quote.price * (1 + side.sign * (quote.spread_bps / 2 + quote.fee_bps) / _BPS)


def route(order: DraftOrder, quotes: Sequence[VenueQuote]) -> tuple[RoutedPart, ...]:
    """Split `order` over the venues so that it is cheapest all in, and return the parts, cheapest venue first.

    The cheapest venue is taken up to its depth, then the next; what exceeds all depth goes to the deepest. Parts are whole
    lots, legal at their venue, and sum exactly to the order: what a venue's lot or minimum leaves over joins another part.
    Raises DataError where the venues cannot take the order between them.
    """
    ranked = sorted(quotes, key=lambda quote: (order.side.sign * unit_price(quote, order.side), quote.venue))
    parts = _by_cost(order, ranked)
    over = order.quantity - sum(parts.values(), _ZERO)
    if over:
        taker = _taker(order, ranked, parts, over)
        parts[taker.venue] = parts.get(taker.venue, _ZERO) + over
    return tuple(_part(order, quote, parts[quote.venue]) for quote in ranked if parts.get(quote.venue))


def _by_cost(order: DraftOrder, ranked: Sequence[VenueQuote]) -> dict[str, Decimal]:
    """Return whole lots by venue, cheapest first up to its depth, without the parts that a venue would refuse."""
    parts: dict[str, Decimal] = {}
    rest = order.quantity
    for quote in ranked:
        quantity = quote.instrument.round_lots(min(rest, quote.depth, _affordable(quote, order.side, rest)))
        if quantity > 0 and quote.instrument.refusal(quantity, quote.price) is None:
            parts[quote.venue] = quantity
            rest -= quantity
    return parts


def _taker(order: DraftOrder, ranked: Sequence[VenueQuote], parts: Mapping[str, Decimal], over: Decimal) -> VenueQuote:
    """Return the venue that what is left over joins: the deepest (then the cheapest) that takes it."""
    for quote in sorted(ranked, key=lambda each: -each.depth):
        quantity = parts.get(quote.venue, _ZERO) + over
        whole = quote.instrument.round_lots(quantity) == quantity
        if (
            whole
            and quantity <= _affordable(quote, order.side, quantity)
            and quote.instrument.refusal(quantity, quote.price) is None
        ):
            return quote
    names = ", ".join(quote.venue for quote in ranked) or "none"
    raise DataError(
        f"{order.symbol}: {over} of {order.quantity} can go to no venue ({names}): its lot, minimum or free balance forbids it"
    )


def _affordable(quote: VenueQuote, side: Side, quantity: Decimal) -> Decimal:
    """Return how much of `quantity` the account at the venue can pay for, or has."""
    if quote.free is None:
        return quantity
    return min(quantity, quote.free / unit_price(quote, side) if side is Side.BUY else quote.free)


def _part(order: DraftOrder, quote: VenueQuote, quantity: Decimal) -> RoutedPart:
    cost = order.side.sign * (unit_price(quote, order.side) - quote.price) * quantity
    return RoutedPart(quote.venue, replace(order, quantity=quantity, price=quote.price), cost)
