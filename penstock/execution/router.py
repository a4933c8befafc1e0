"""Dividing approved orders over the venues of an account: what each venue offers is asked, then routing decides.

An account on one venue is left alone. What no venue takes now is skipped with the reason; it is never an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock.core.drafts import DraftOrder
from penstock.core.orders import OrderType, Side
from penstock.execution.desk import TradingDesk
from penstock.execution.placement import PHASES
from penstock.execution.routing import RoutedPart, VenueQuote, route, unit_price
from penstock.portfolio.rebalancing import RebalancePolicy, Skipped
from penstock.ports import VenueOffer
from penstock.risk.review import ApprovedOrders

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class Routed:
    """Orders' parts, each with its venue, and what is left out. A part's leg is still its order's."""

    parts: tuple[DraftOrder, ...]
    skipped: tuple[Skipped, ...] = ()


def route_orders(
    orders: Sequence[DraftOrder],
    offers: Sequence[VenueOffer],
    margin: Decimal,
    limits: Mapping[str, Decimal] | None = None,
) -> Routed:
    """Split each order over the venues' offers. Pure.

    Orders share what is free, the first ones first. `margin` (a fraction) is kept back of the cash that a buy is bounded by: a
    venue fills at its price, not at the one that it quoted. `limits` are limit prices by symbol, which a buy may come to cost.
    """
    free = {offer.venue: dict(offer.free) for offer in offers}
    parts: list[DraftOrder] = []
    skipped: list[Skipped] = []
    for order in orders:
        limit = (limits or {}).get(order.symbol)
        quotes = {
            offer.venue: _quote(order, offer, free[offer.venue], margin, limit)
            for offer in offers
            if order.symbol in offer.instruments and order.symbol in offer.quotes
        }
        found = route(order, list(quotes.values()))
        for part in found.parts:
            _spend(free[part.venue], part, quotes[part.venue])
            parts.append(part.order)
        if found.left:
            takes = {part.venue: part.order.quantity for part in found.parts}
            skipped.append(Skipped(order.symbol, _why(order, found.left, offers, takes)))
    return Routed(tuple(parts), tuple(skipped))


def _quote(
    order: DraftOrder, offer: VenueOffer, free: Mapping[str, Decimal], margin: Decimal, limit: Decimal | None
) -> VenueQuote:
    instrument, quote = offer.instruments[order.symbol], offer.quotes[order.symbol]
    depth = quote.ask_size if order.side is Side.BUY else quote.bid_size
    found = VenueQuote(offer.venue, instrument, quote.mid, offer.fee_bps, quote.spread_bps, depth)
    if order.side is Side.SELL:
        return replace(found, free=free.get(instrument.base, _ZERO))
    all_in = unit_price(found, Side.BUY)
    worst = max(all_in, limit or _ZERO) * (1 + margin)
    return replace(found, free=free.get(instrument.quote, _ZERO) * all_in / worst)


def _spend(free: dict[str, Decimal], part: RoutedPart, quote: VenueQuote) -> None:
    """Take from what is free as much as the part was bounded by; what it brings in is not counted on."""
    order, instrument = part.order, quote.instrument
    if order.side is Side.SELL:
        free[instrument.base] -= order.quantity
    elif quote.free:
        free[instrument.quote] *= 1 - order.quantity * unit_price(quote, Side.BUY) / quote.free


def _why(order: DraftOrder, left: Decimal, offers: Sequence[VenueOffer], takes: Mapping[str, Decimal]) -> str:
    """Return what keeps each venue from taking more of an order."""
    said = []
    for offer in offers:
        if offer.silence:
            said.append(f"{offer.venue} does not answer ({offer.silence})")
        elif order.symbol not in offer.instruments:
            said.append(f"{offer.venue} does not list it")
        elif order.symbol not in offer.quotes:
            said.append(f"{offer.venue} quotes no price")
        else:
            instrument = offer.instruments[order.symbol]
            asset = instrument.quote if order.side is Side.BUY else instrument.base
            has, taken = offer.free.get(asset, _ZERO), takes.get(offer.venue, _ZERO)
            said.append(f"{offer.venue} takes {taken.normalize():f}, it has {has.normalize():f} {asset} free")
    rest = f"{left.normalize():f} of {order.quantity.normalize():f}"
    return f"{order.side} of {rest} fits no venue: {'; '.join(said)}"


def joined(drafts: Sequence[DraftOrder]) -> list[DraftOrder]:
    """Return one draft a symbol: the parts of an order are reviewed together, for a limit is on their sum."""
    by_symbol: dict[str, list[DraftOrder]] = {}
    for draft in drafts:
        by_symbol.setdefault(draft.symbol, []).append(draft)
    return [replace(parts[0], quantity=sum((part.quantity for part in parts), _ZERO)) for parts in by_symbol.values()]


def divided(
    desk: TradingDesk, approved: ApprovedOrders, drafts: Sequence[DraftOrder], margin: Decimal
) -> tuple[ApprovedOrders, tuple[Skipped, ...]]:
    """Return the approved orders in parts, each with a leg of its own, and what no venue takes.

    `drafts` are what was reviewed, before it was joined: parts that name their venue already (they never arrived there) go
    there again under their own legs, as far as they are still approved.
    """
    if desk.venues is None or not approved.orders:
        return approved, ()
    named = [draft for draft in drafts if draft.venue]
    again = [part for order in approved.orders for part in _again(order, named)]
    fresh = [order for order in approved.orders if not order.venue]
    if not fresh:
        return approved.divided(again), ()
    routed = route_orders(fresh, desk.venues.offers([order.symbol for order in fresh]), margin)
    parts = [*again, *with_legs(routed.parts)]
    return approved.divided(parts), routed.skipped


def _again(order: DraftOrder, named: Sequence[DraftOrder]) -> list[DraftOrder]:
    """Return the parts of a retried order, cut in their turn to what was approved of their sum."""
    rest, parts = order.quantity, []
    for part in (each for each in named if each.symbol == order.symbol):
        quantity = min(part.quantity, rest)
        rest -= quantity
        if quantity:
            parts.append(part.resized(quantity))
    return parts


def margin_of(policy: RebalancePolicy) -> Decimal:
    """Return the fraction of a venue's cash that a buy leaves: for slippage, and for a limit that crosses the market."""
    crossed = policy.limit_offset_bps if policy.order_type is OrderType.LIMIT else _ZERO
    return (policy.slippage_bps + max(crossed, _ZERO)) / _BPS


def with_legs(parts: Sequence[DraftOrder]) -> list[DraftOrder]:
    """Return the parts with legs of their own: those of one symbol are a phase apart, as child orders are."""
    count: dict[str, int] = {}
    numbered: list[DraftOrder] = []
    for part in parts:
        number = count.get(part.symbol, 0)
        count[part.symbol] = number + 1
        numbered.append(replace(part, leg=part.leg + PHASES * number))
    return numbered
