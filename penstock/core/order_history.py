"""An order as it was at some time, folded from its events and fills alone.

The fold is by when things happened, not by when they were written down; the table of
penstock.core.orders gives the same end either way.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, localcontext

from penstock.core.accounting import EXACT
from penstock.core.order_records import OrderRecord
from penstock.core.orders import (
    TRANSITIONS,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderState,
    next_cause,
)

#: What comes first where two things have the same instant: our own acts cause what the venue says
#: of them.
_FIRST = {
    OrderEventKind.SUBMIT: 0,
    OrderEventKind.LOSE_TRACK: 1,
    OrderEventKind.REJECT: 2,
    OrderEventKind.ACCEPT: 3,
}


def order_as_of(
    intent: OrderRecord, events: Iterable[OrderEvent], fills: Iterable[Fill], at: datetime
) -> OrderRecord:
    """Return the order as it was at `at`. `intent` says what was planned; its state and what
    follows from it are not read.

    `events` are the order's events but for fills, illegal ones among them (they move nothing here
    either); `fills` are its fills. Both in any order.
    """
    steps: list[tuple[datetime, int, OrderEvent | Fill]] = []
    steps += [(event.at, _FIRST.get(event.kind, 5), event) for event in events if event.at <= at]
    trades = [fill for fill in fills if fill.at <= at]
    steps += [(fill.at, 4, fill) for fill in trades]
    begun = replace(
        intent,
        state=OrderState.PLANNED,
        filled_quantity=Decimal(0),
        venue_order_id="",
        reason="",
        end_cause=None,
        updated_at=intent.created_at,
    )
    order = begun if not trades else _submitted(begun)
    with localcontext(EXACT):
        for _, _, step in sorted(steps, key=lambda entry: entry[:2]):
            order = _with_fill(order, step) if isinstance(step, Fill) else _with_event(order, step)
    return order


def _submitted(order: OrderRecord) -> OrderRecord:
    """A venue whose clock is behind ours dates a fill before our request: the request came first
    all the same.
    """
    return replace(order, state=OrderState.SUBMITTING)


def _with_event(order: OrderRecord, event: OrderEvent) -> OrderRecord:
    after = TRANSITIONS.get((order.state, event.kind))
    if event.kind is OrderEventKind.SUBMIT and order.state is not OrderState.PLANNED:
        after = order.state
    if after is None:
        return order
    return replace(
        order,
        state=after,
        updated_at=event.at,
        reason=event.reason or order.reason,
        end_cause=next_cause(order.state, order.end_cause, event.kind, event.end_cause, after),
        venue_order_id=event.venue_order_id or order.venue_order_id,
    )


def _with_fill(order: OrderRecord, fill: Fill) -> OrderRecord:
    filled = order.filled_quantity + fill.quantity
    kind = OrderEventKind.FILL if filled >= order.request.quantity else OrderEventKind.PARTIAL_FILL
    after = TRANSITIONS[order.state, kind]
    return replace(
        order,
        state=after,
        filled_quantity=filled,
        updated_at=fill.at,
        end_cause=next_cause(order.state, order.end_cause, kind, None, after),
    )
