"""Dividing approved orders over the venues of an account: what each venue offers is asked, then
routing decides.

An account on one venue is left alone. What no venue takes now is skipped with the reason; it is
never an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock.core.orders import OrderType, Side
from penstock.core.proposals import ProposedOrder
from penstock.execution.routing.limits import Bounds, within
from penstock.execution.routing.split import VenueQuote, route, unit_price
from penstock.execution.session import AccountSession
from penstock.portfolio.rebalancing import RebalancePolicy, Skipped
from penstock.ports import VenueOffer
from penstock.risk.review import ApprovedOrders

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class Routed:
    """Orders' parts, each with its venue, and what is left out. A part's number is still its order's."""

    parts: tuple[ProposedOrder, ...]
    skipped: tuple[Skipped, ...] = ()


def route_orders(
    orders: Sequence[ProposedOrder],
    offers: Sequence[VenueOffer],
    margin: Decimal,
    bounds: Bounds,
    limits: Mapping[str, Decimal] | None = None,
) -> Routed:
    """Split each order over the venues' offers, as far as `bounds` lets its parts go. Pure.

    Orders share what is free, the first ones first. `margin` (a fraction) is kept back of the cash
    that a buy is bounded by: a venue fills at its price, not at the one that it quoted. `limits`
    are limit prices by symbol, which a buy may come to cost.
    """
    free = {offer.venue: dict(offer.free) for offer in offers}
    parts: list[ProposedOrder] = []
    skipped: list[Skipped] = []
    for order in orders:
        limit = (limits or {}).get(order.symbol)
        closed = {offer.venue: why for offer in offers if (why := _closed(order, offer, bounds))}
        quotes = {
            offer.venue: _quote(order, offer, free[offer.venue], margin, limit)
            for offer in offers
            if offer.venue not in closed
        }
        found = route(order, list(quotes.values()))
        rules = {venue: quote.instrument for venue, quote in quotes.items()}
        kept = within(bounds.ceiling(order), [part.order for part in found.parts], rules)
        for part in kept:
            _spend(free[part.venue], part, quotes[part.venue])
        parts += kept
        left = order.quantity - _total(kept)
        if left:
            why = _why(order, left, kept, offers, closed)
            over = (
                f"; more than {bounds.ceiling(order):.2f} is not approved"
                if left > found.left
                else ""
            )
            skipped.append(Skipped(order.symbol, why + over))
    return Routed(tuple(parts), tuple(skipped))


def _total(parts: Sequence[ProposedOrder]) -> Decimal:
    return sum((part.quantity for part in parts), _ZERO)


def _closed(order: ProposedOrder, offer: VenueOffer, bounds: Bounds) -> str:
    """Return why nothing of an order may go to a venue, "" where it may."""
    if offer.silence:
        return f"{offer.venue} does not answer ({offer.silence})"
    if order.symbol not in offer.instruments:
        return f"{offer.venue} does not list it"
    if order.symbol not in offer.quotes:
        return f"{offer.venue} quotes no price"
    objection = bounds.objection(order, offer.quotes[order.symbol].mid)
    return f"{offer.venue} {objection}" if objection else ""


def _quote(
    order: ProposedOrder,
    offer: VenueOffer,
    free: Mapping[str, Decimal],
    margin: Decimal,
    limit: Decimal | None,
) -> VenueQuote:
    instrument, quote = offer.instruments[order.symbol], offer.quotes[order.symbol]
    depth = quote.ask_size if order.side is Side.BUY else quote.bid_size
    found = VenueQuote(offer.venue, instrument, quote.mid, offer.fee_bps, quote.spread_bps, depth)
    if order.side is Side.SELL:
        return replace(found, free=free.get(instrument.base, _ZERO))
    all_in = unit_price(found, Side.BUY)
    worst = max(all_in, limit or _ZERO) * (1 + margin)
    return replace(found, free=free.get(instrument.quote, _ZERO) * all_in / worst)


def _spend(free: dict[str, Decimal], part: ProposedOrder, quote: VenueQuote) -> None:
    """Take from what is free as much as the part was bounded by; what it brings in is not counted
    on.
    """
    instrument = quote.instrument
    if part.side is Side.SELL:
        free[instrument.base] -= part.quantity
    elif quote.free:
        free[instrument.quote] *= 1 - part.quantity * unit_price(quote, Side.BUY) / quote.free


def _why(
    order: ProposedOrder,
    left: Decimal,
    kept: Sequence[ProposedOrder],
    offers: Sequence[VenueOffer],
    closed: Mapping[str, str],
) -> str:
    """Return what keeps each venue from taking more of an order."""
    takes = {part.venue: part.quantity for part in kept}
    said = []
    for offer in offers:
        if offer.venue in closed:
            said.append(closed[offer.venue])
            continue
        instrument = offer.instruments[order.symbol]
        asset = instrument.quote if order.side is Side.BUY else instrument.base
        has, taken = offer.free.get(asset, _ZERO), takes.get(offer.venue, _ZERO)
        said.append(
            f"{offer.venue} takes {taken.normalize():f}, it has {has.normalize():f} {asset} free"
        )
    rest = f"{left.normalize():f} of {order.quantity.normalize():f}"
    return f"{order.side} of {rest} fits no venue: {'; '.join(said)}"


def joined(drafts: Sequence[ProposedOrder]) -> list[ProposedOrder]:
    """Return one draft a symbol: the parts of an order are reviewed together, for a limit is on
    their sum.
    """
    by_symbol: dict[str, list[ProposedOrder]] = {}
    for draft in drafts:
        by_symbol.setdefault(draft.symbol, []).append(draft)
    return [replace(parts[0], quantity=_total(parts)) for parts in by_symbol.values()]


def divided(
    session: AccountSession,
    approved: ApprovedOrders,
    drafts: Sequence[ProposedOrder],
    margin: Decimal,
    bounds: Bounds,
) -> tuple[ApprovedOrders, tuple[Skipped, ...]]:
    """Return the approved orders in parts, each with a number of its own, and what no venue takes.

    `drafts` are what was reviewed, before it was joined: parts that name their venue already (they
    never arrived there) go there again under their own numbers, as far as they are still approved and
    `bounds` lets them.
    """
    if session.venues is None or not approved.orders:
        return approved, ()
    offers = session.venues.offers([order.symbol for order in approved.orders])
    named = [draft for draft in drafts if draft.venue]
    again = [_again(order, named, offers, bounds) for order in approved.orders]
    fresh = route_orders(
        [order for order in approved.orders if not order.venue], offers, margin, bounds
    )
    parts = [*(part for each in again for part in each.parts), *numbered(fresh.parts)]
    return approved.divided(parts), (
        *(skip for each in again for skip in each.skipped),
        *fresh.skipped,
    )


def _again(
    order: ProposedOrder,
    named: Sequence[ProposedOrder],
    offers: Sequence[VenueOffer],
    bounds: Bounds,
) -> Routed:
    """Return the parts of a retried order, cut in their turn to what was approved of their sum and
    to the bounds.
    """
    rest, parts, skipped = order.quantity, list[ProposedOrder](), list[Skipped]()
    by_venue = {offer.venue: offer for offer in offers}
    for part in (each for each in named if each.symbol == order.symbol):
        quantity = min(part.quantity, rest)
        rest -= quantity
        if not quantity:
            continue
        priced = _priced(
            replace(part, quantity=quantity, price=order.price), by_venue.get(part.venue), bounds
        )
        if isinstance(priced, Skipped):
            skipped.append(priced)
        else:
            parts.append(priced)
    rules = {
        offer.venue: offer.instruments[order.symbol]
        for offer in offers
        if order.symbol in offer.instruments
    }
    kept = within(bounds.ceiling(order), parts, rules)
    cut = _total(parts) - _total(kept)
    if cut:
        reason = f"{order.side} of {cut.normalize():f} is not sent again: at the venues' prices it is worth more than was approved"
        skipped.append(Skipped(order.symbol, reason))
    return Routed(kept, tuple(skipped))


def _priced(
    part: ProposedOrder, offer: VenueOffer | None, bounds: Bounds
) -> ProposedOrder | Skipped:
    """Return a retried part at its venue's mid, where that venue quotes one; or why it stays."""
    if offer is None or offer.silence:
        if not bounds.unconfirmed(part):
            return part
        silence = offer.silence if offer is not None else "it is not one of the account's"
        why = f"{part.venue}'s quotes cannot be read, so nothing confirms the price {part.price:f}: {silence}"
        return Skipped(
            part.symbol, f"{part.side} of {part.quantity.normalize():f} is not sent again: {why}"
        )
    quote = offer.quotes.get(part.symbol)
    if quote is None:
        return part
    objection = bounds.objection(part, quote.mid)
    if objection:
        return Skipped(
            part.symbol,
            f"{part.side} of {part.quantity.normalize():f} is not sent again: {part.venue} {objection}",
        )
    return replace(part, price=quote.mid)


def margin_of(policy: RebalancePolicy) -> Decimal:
    """Return the fraction of a venue's cash that a buy leaves: for slippage, and for a limit that
    crosses the market.
    """
    crossed = policy.limit_offset_bps if policy.order_type is OrderType.LIMIT else _ZERO
    return (policy.slippage_bps + max(crossed, _ZERO)) / _BPS


def numbered(parts: Sequence[ProposedOrder]) -> list[ProposedOrder]:
    """Return the parts numbered on from their order's child: each is a child order of its own."""
    count: dict[str, int] = {}
    children: list[ProposedOrder] = []
    for part in parts:
        number = count.get(part.symbol, 0)
        count[part.symbol] = number + 1
        children.append(replace(part, child=part.child + number))
    return children
