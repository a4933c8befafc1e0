"""Whether a quantity may be sent again after the venue refused it, or answered "no such order".

Such an answer can be wrong. So the venue's trades, open orders and balances are compared with the
ledger first. Tracking and recovery decide whether an order never arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.core.breaks import lock_subjects
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import Fill, OrderState
from penstock.execution.algorithms.slot_context import SlotContext
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile


@dataclass(frozen=True)
class Cleared:
    """Which orders may leave."""

    orders: tuple[OrderIntent, ...]
    """Those that may."""
    kept_back: Mapping[str, str] = field(default_factory=dict)
    """The symbols of those that may not, with the reason: what shows an earlier order, or a break.
    """
    fills: tuple[Fill, ...] = ()
    """Fills that were found at the venue and booked on the way."""
    locks: Mapping[str, str] | None = None
    """The reason by locked subject now; None where nothing was compared."""


def cleared(
    context: SlotContext, orders: Sequence[OrderIntent], before: Sequence[OrderRecord]
) -> Cleared:
    """Return the orders that may leave, and those that are kept back.

    An order may leave where no earlier one is in doubt, or where nothing at the venue shows the
    earlier one. Another attempt, or a later child of the same parent, may send its quantity again.
    What the venue shows is booked, or becomes a break that locks its subject: an order of a locked
    symbol is kept back, whether or not it is sent again. `before` are the slot's orders so far.
    """
    again = [order for order in orders if order.attempt or _in_doubt(order, before)]
    if not again:
        return Cleared(tuple(orders))
    found = reconcile(context.session, context.keeper, context.instruments)
    after = context.read_orders()
    shown = [
        _lock(order, found) or (_shown(order, before, after, found) if order in again else "")
        for order in orders
    ]
    return Cleared(
        tuple(order for order, reason in zip(orders, shown, strict=True) if not reason),
        {
            order.request.symbol: reason
            for order, reason in zip(orders, shown, strict=True)
            if reason
        },
        found.fills,
        found.locks,
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


def _lock(order: OrderIntent, found: Reconciliation) -> str:
    """Return the break that locks an order's symbol; "" where none does."""
    subjects = [each for each in lock_subjects(order.request.symbol) if each in found.locks]
    return f"a break locks it: {found.locks[subjects[0]]}" if subjects else ""


def _shown(
    order: OrderIntent,
    before: Sequence[OrderRecord],
    after: Sequence[OrderRecord],
    found: Reconciliation,
) -> str:
    """Return what shows that the venue may have an earlier order for the same quantity, or ""."""
    fresh = {fill.client_order_id for fill in found.fills}
    siblings = _siblings(order, after)
    if any(not each.state.is_final for each in siblings):
        return "an earlier order has not ended"
    filled = any(each.filled_quantity for each in siblings if each.child == order.child)
    came = any(each.request.client_order_id in fresh for each in _in_doubt(order, before))
    return "trades of an earlier order have shown at the venue" if filled or came else ""
