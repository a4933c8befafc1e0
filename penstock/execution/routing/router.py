"""Dividing orders over the venues of an account. Pure.

A quantity that no venue takes is skipped with the reason; it is not an error. The venues are asked
and the parts get their ids in penstock.execution.algorithms.intents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock.core.amounts import plain, to_step
from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder
from penstock.execution.routing.limits import PartLimits, within
from penstock.execution.routing.split import VenueQuote, route, unit_price
from penstock.portfolio.rebalancing import Skipped
from penstock.ports import VenueOffer

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class Routed:
    """Orders in parts, and what is left out."""

    parts: tuple[ProposedOrder, ...]
    """The parts, each with its venue."""
    skipped: tuple[Skipped, ...] = ()
    """Quantities that no venue takes, with the reason."""


def route_orders(
    orders: Sequence[ProposedOrder],
    offers: Sequence[VenueOffer],
    margin: Decimal,
    bounds: PartLimits,
    limits: Mapping[str, Decimal] | None = None,
) -> Routed:
    """Split each order over the venues' offers, within `bounds`.

    Orders share the free balances, the first orders first. A buy may cost its quoted price times
    (1 + `margin`), because a venue may fill at a worse price. `limits` are limit prices by symbol;
    a buy may cost that price and the venue's fee.
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


def _closed(order: ProposedOrder, offer: VenueOffer, bounds: PartLimits) -> str:
    """Return why no part of an order may go to a venue; "" where one may."""
    if offer.error:
        return f"{offer.venue} does not answer ({offer.error})"
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
    most = instrument.limits.position
    if most is not None:
        found = replace(found, room=most - free.get(instrument.base, _ZERO))
    all_in = unit_price(found, Side.BUY)
    at_limit = (limit or _ZERO) * (1 + offer.fee_bps / _BPS)
    worst = max(all_in, at_limit) * (1 + margin)
    return replace(found, free=free.get(instrument.quote, _ZERO) * all_in / worst)


def _spend(free: dict[str, Decimal], part: ProposedOrder, quote: VenueQuote) -> None:
    """Take from `free` what the part may cost. What it brings in is not added."""
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
    """Return why no venue takes more of an order."""
    takes = {part.venue: part.quantity for part in kept}
    reasons = []
    for offer in offers:
        if offer.venue in closed:
            reasons.append(closed[offer.venue])
            continue
        instrument = offer.instruments[order.symbol]
        asset = instrument.quote if order.side is Side.BUY else instrument.base
        has, taken = offer.free.get(asset, _ZERO), takes.get(offer.venue, _ZERO)
        most = instrument.limits.position
        holds = (
            f" and lets {plain(most)} {instrument.base} be held"
            if most is not None and order.side is Side.BUY
            else ""
        )
        reasons.append(
            f"{offer.venue} takes {plain(taken)}, it has {to_step(has)} {asset} free{holds}"
        )
    rest = f"{plain(left)} of {plain(order.quantity)}"
    return f"{order.side} of {rest} fits no venue: {'; '.join(reasons)}"
