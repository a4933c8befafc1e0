"""Making intents: the requests of the child orders that are due, with ids that the same decision
always gives.

Writing them ahead and sending them is for penstock.execution.orders.submit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import OrderRequest, OrderType, client_order_id
from penstock.execution.algorithms import ChildOrder
from penstock.execution.algorithms.parents import WorkingParent
from penstock.execution.rebalance.slot_context import SlotContext
from penstock.execution.routing.limits import PartLimits
from penstock.execution.routing.router import route_orders
from penstock.portfolio.rebalancing import Skipped
from penstock.ports import Venues

#: A slot's fills are looked for from this much before it on: it may begin a little early, and
#: clocks differ.
_FILLS_BEFORE = timedelta(minutes=1)
_BPS = Decimal(10_000)

#: A child order that is due, with its parent.
DueChild = tuple[WorkingParent, ChildOrder]


@dataclass(frozen=True)
class ChildIntents:
    """The intents of the children that are due at one instant."""

    intents: tuple[OrderIntent, ...]
    skipped: Mapping[str, Skipped] = field(default_factory=dict)
    """What no venue takes, by symbol; a symbol may have intents too."""


def child_intents(
    context: SlotContext, due: Sequence[DueChild], orders: Sequence[OrderRecord], bounds: PartLimits
) -> ChildIntents:
    """Return one intent for each child; for an account on several venues, one for each part that a
    venue takes.

    `orders` are the slot's. `bounds` hold for all parts of a parent order together.
    """
    if context.session.venues is not None:
        return _divided(context, context.session.venues, due, orders, bounds)
    return ChildIntents(
        tuple(
            _intent(context, parent, child, next(parent.free_numbers(orders)), orders)
            for parent, child in due
        )
    )


def rest_intent(
    context: SlotContext, parent: WorkingParent, orders: Sequence[OrderRecord]
) -> OrderIntent:
    """Return all that is left of a parent as one intent: what is written down as stopped where the
    kill switch ends the work.
    """
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
    """Divide each child over the venues; its parts are children of their own, numbered on."""
    children = {parent.symbol: (parent, child) for parent, child in due}
    routed = route_orders(
        [parent.order.resized(child.quantity) for parent, child in due],
        venues.offers(list(children)),
        context.policy.slippage_bps / _BPS,
        _bounds_left(context, [parent for parent, _ in due], orders, bounds),
        {parent.symbol: child.price for parent, child in due if child.price is not None},
    )
    numbers: dict[str, Iterator[int]] = {
        parent.symbol: parent.free_numbers(orders) for parent, _ in due
    }
    intents = []
    for part in routed.parts:
        parent, child = children[part.symbol]
        child, number = replace(child, quantity=part.quantity), next(numbers[part.symbol])
        intents.append(_intent(context, parent, child, number, orders, part.venue))
    return ChildIntents(tuple(intents), {each.symbol: each for each in routed.skipped})


def _bounds_left(
    context: SlotContext,
    parents: Sequence[WorkingParent],
    orders: Sequence[OrderRecord],
    bounds: PartLimits,
) -> PartLimits:
    """Return the bounds with what each parent's earlier children have used up taken off its
    ceiling.
    """
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
