"""Whether a quantity may be sent again after the venue refused it, or answered "no such order".

Such an answer can be wrong. So the venue's trades, open orders and balances are compared with the
ledger first. Tracking and recovery decide whether an order never arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.core.breaks import lock_subjects
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import Fill, OrderState
from penstock.execution.rebalance.slot_context import SlotContext
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile


@dataclass(frozen=True)
class Cleared:
    """Which orders may leave."""

    orders: tuple[OrderIntent, ...]
    """Those that may."""
    kept_back: Mapping[str, str] = field(default_factory=dict)
    """What at the venue shows an earlier order, by symbol of those that may not."""
    fills: tuple[Fill, ...] = ()
    """Fills that were found at the venue and booked on the way."""


def cleared(
    context: SlotContext, orders: Sequence[OrderIntent], before: Sequence[OrderRecord]
) -> Cleared:
    """Return the orders that may leave, and those that are kept back.

    An order may leave where no earlier one is in doubt, or where nothing at the venue shows the
    earlier one. Another attempt, or a later child of the same parent, may send its quantity again.
    What the venue shows is booked, or becomes a break that locks the symbol. `before` are the
    slot's orders so far.
    """
    again = [order for order in orders if order.attempt or _in_doubt(order, before)]
    if not again:
        return Cleared(tuple(orders))
    found = reconcile(context.session, context.keeper, context.instruments)
    after = context.read_orders()
    shown = {
        order.request.client_order_id: shows
        for order in again
        if (shows := _shown(order, before, after, found)) is not None
    }
    return Cleared(
        tuple(order for order in orders if order.request.client_order_id not in shown),
        {
            order.request.symbol: shown[order.request.client_order_id]
            for order in again
            if order.request.client_order_id in shown
        },
        found.fills,
    )


def _siblings(order: OrderIntent, orders: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return the phase's orders in the symbol. Any child may send their quantity again."""
    return [
        each
        for each in orders
        if each.request.symbol == order.request.symbol and each.phase == order.phase
    ]


def _in_doubt(order: OrderIntent, orders: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return the siblings that have not ended, or that the venue refused or says it never had.

    Either answer can be wrong.
    """
    return [
        each
        for each in _siblings(order, orders)
        if not each.state.is_final or each.state is OrderState.REJECTED
    ]


def _shown(
    order: OrderIntent,
    before: Sequence[OrderRecord],
    after: Sequence[OrderRecord],
    found: Reconciliation,
) -> str | None:
    """Return what shows that the venue may have an earlier order for the same quantity, or None."""
    symbol, fresh = order.request.symbol, {fill.client_order_id for fill in found.fills}
    siblings = _siblings(order, after)
    locks = [found.locks[subject] for subject in lock_subjects(symbol) if subject in found.locks]
    if any(not each.state.is_final for each in siblings):
        return "an earlier order has not ended"
    if any(each.filled_quantity for each in siblings if each.child == order.child) or any(
        each.request.client_order_id in fresh for each in _in_doubt(order, before)
    ):
        return "trades of an earlier order have shown at the venue"
    return f"a break locks it: {locks[0]}" if locks else None
