"""Intents: the requests of the child orders that are due. The same decision gives the same ids.

penstock.execution.orders.submit writes them ahead and sends them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from penstock.core.amounts import plain
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import OrderRequest, OrderType, client_order_id
from penstock.execution.algorithms import ChildOrder
from penstock.execution.algorithms.parents import WorkingParent
from penstock.execution.algorithms.pieces import pieces
from penstock.execution.algorithms.slot_context import SlotContext
from penstock.execution.routing.limits import PartLimits
from penstock.execution.routing.router import route_orders
from penstock.portfolio.rebalancing import Skipped
from penstock.ports import Venues

#: A slot's fills are read from this much before it, because it may begin early and clocks differ.
_FILLS_BEFORE = timedelta(minutes=1)
_BPS = Decimal(10_000)

#: A child order that is due, with its parent.
DueChild = tuple[WorkingParent, ChildOrder]


@dataclass(frozen=True)
class ChildIntents:
    """The intents of the children that are due at one instant."""

    intents: tuple[OrderIntent, ...]
    """The intents."""
    skipped: Mapping[str, Skipped] = field(default_factory=dict)
    """Quantities that no venue takes, by symbol. A symbol may have intents too."""


def child_intents(
    context: SlotContext,
    due: Sequence[DueChild],
    orders: Sequence[OrderRecord],
    bounds: PartLimits,
    prices: Mapping[str, Decimal],
) -> ChildIntents:
    """Return one intent per child, or one per piece of a child that is more than the venue takes.

    On several venues each part that a venue takes is cut likewise. `orders` are the slot's.
    `bounds` are for all parts of a parent order together. `prices` are the last ones, by symbol.
    """
    if context.session.venues is not None:
        return _divided(context, context.session.venues, due, orders, bounds)
    made = _Made(context, orders)
    for parent, child in due:
        price = child.price or prices.get(parent.symbol, parent.order.price)
        made.add(parent, child, price, parent.instrument)
    return ChildIntents(tuple(made.intents), made.skipped)


@dataclass
class _Made:
    """Intents in the making. Each piece is a child with a number of its own."""

    context: SlotContext
    orders: Sequence[OrderRecord]
    intents: list[OrderIntent] = field(default_factory=list)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    numbers: dict[str, Iterator[int]] = field(default_factory=dict)

    def add(
        self,
        parent: WorkingParent,
        child: ChildOrder,
        price: Decimal,
        instrument: Instrument,
        venue: str = "",
    ) -> None:
        """Add the pieces of a child at one venue, and what no piece has."""
        numbers = self.numbers.setdefault(parent.symbol, parent.free_numbers(self.orders))
        cut = pieces(child.type, child.quantity, price, instrument)
        for quantity in cut.quantities:
            piece = replace(child, quantity=quantity)
            self.intents.append(
                _intent(self.context, parent, piece, next(numbers), self.orders, venue)
            )
        if cut.left:
            largest = instrument.largest(child.type, price) or Decimal(0)
            self.skip(
                parent.symbol,
                f"{parent.order.side} of {plain(cut.left)} of "
                f"{plain(child.quantity)} makes no piece that "
                f"{venue or 'the venue'} takes: a {child.type} order has {plain(largest)} at most, "
                f"{plain(instrument.min_quantity)} and {plain(instrument.min_notional)} "
                f"{instrument.quote} "
                "at least",
            )

    def skip(self, symbol: str, reason: str) -> None:
        """Add a reason why something of a symbol is not sent."""
        before = self.skipped.get(symbol)
        self.skipped[symbol] = Skipped(symbol, f"{before.reason}; {reason}" if before else reason)


def rest_intent(
    context: SlotContext, parent: WorkingParent, orders: Sequence[OrderRecord]
) -> OrderIntent:
    """Return the rest of a parent as one intent. It is recorded as stopped by the kill switch."""
    left = parent.order.quantity - parent.progress(orders).filled
    child = ChildOrder(OrderType.MARKET, left)
    return _intent(context, parent, child, next(parent.free_numbers(orders)), orders)


def _divided(
    context: SlotContext,
    venues: Venues,
    due: Sequence[DueChild],
    orders: Sequence[OrderRecord],
    bounds: PartLimits,
) -> ChildIntents:
    """Divide each child over the venues. The pieces of each part become children."""
    children = {parent.symbol: (parent, child) for parent, child in due}
    offers = venues.offers(list(children))
    routed = route_orders(
        [parent.order.resized(child.quantity) for parent, child in due],
        offers,
        context.policy.slippage_bps / _BPS,
        _bounds_left(context, [parent for parent, _ in due], orders, bounds),
        {parent.symbol: child.price for parent, child in due if child.price is not None},
    )
    listed = {offer.venue: offer.instruments for offer in offers}
    made = _Made(context, orders, skipped={each.symbol: each for each in routed.skipped})
    for part in routed.parts:
        parent, child = children[part.symbol]
        child = replace(child, quantity=part.quantity)
        instrument = listed[part.venue][part.symbol]
        made.add(parent, child, child.price or part.price, instrument, part.venue)
    return ChildIntents(tuple(made.intents), made.skipped)


def _bounds_left(
    context: SlotContext,
    parents: Sequence[WorkingParent],
    orders: Sequence[OrderRecord],
    bounds: PartLimits,
) -> PartLimits:
    """Return the bounds, each ceiling less the notional that earlier children have filled."""
    left: dict[str, Decimal] = {}
    for parent in parents:
        ceiling = bounds.ceiling(parent.order)
        if ceiling is None:
            continue
        left[parent.symbol] = ceiling
        earlier = {
            order.request.client_order_id
            for order in orders
            if order.request.symbol == parent.symbol and order.phase is parent.order.phase
        }
        if not earlier:
            continue
        since = context.rebalance.slot - _FILLS_BEFORE
        for fill in context.session.ledger.fills(context.session.account, parent.symbol, since):
            if fill.client_order_id in earlier:
                left[parent.symbol] -= fill.notional
    return replace(bounds, ceilings=left)


def _intent(
    context: SlotContext,
    parent: WorkingParent,
    child: ChildOrder,
    number: int,
    orders: Sequence[OrderRecord],
    venue: str = "",
) -> OrderIntent:
    rebalance, order = context.rebalance, parent.order
    attempt = parent.attempt(number, orders)
    name = client_order_id(
        rebalance.account,
        rebalance.portfolio_version,
        rebalance.slot,
        order.symbol,
        order.phase,
        number,
        attempt,
    )
    return OrderIntent(
        request=OrderRequest(
            name, order.symbol, order.side, child.type, child.quantity, child.price, venue=venue
        ),
        phase=order.phase,
        child=number,
        attempt=attempt,
        strategy_version=parent.parent.strategy_version,
        target_weight=order.target_weight,
        reference_price=order.price,
    )
