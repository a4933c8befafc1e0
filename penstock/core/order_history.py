"""An order as it was at some time, folded from its events and fills alone.

Events and fills are taken in the order in which they happened, not in which they were written
down. The table of penstock.core.orders gives the same end either way.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from penstock.core.errors import IllegalTransitionError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill, OrderEvent, OrderEventKind, OrderState

#: The order of events with the same time: our requests come before the venue's answers.
_FIRST = {
    OrderEventKind.SUBMIT: 0,
    OrderEventKind.LOSE_TRACK: 1,
    OrderEventKind.REJECT: 2,
    OrderEventKind.ACCEPT: 3,
}


def order_as_of(
    intent: OrderRecord, events: Iterable[OrderEvent], fills: Iterable[Fill], at: datetime
) -> OrderRecord:
    """Return the order as it was at `at`.

    `intent` gives what was planned; its state is not read. `events` are the order's events other
    than fills. Refused events may be among them: they change nothing here either. `fills` are its
    fills. Both may be given in any order.
    """
    steps: list[tuple[datetime, int, OrderEvent | Fill]] = []
    steps += [(event.at, _FIRST.get(event.kind, 5), event) for event in events if event.at <= at]
    trades = [fill for fill in fills if fill.at <= at]
    steps += [(fill.at, 4, fill) for fill in trades]
    order = intent.as_planned
    if trades:  # a venue whose clock is behind ours dates a fill before our request
        order = replace(order, state=OrderState.SUBMITTING)
    for _, _, step in sorted(steps, key=lambda entry: entry[:2]):
        if isinstance(step, Fill):
            order = order.after_fill(step, order.request.quantity)
        else:
            order = _with_event(order, step)
    return order


def _with_event(order: OrderRecord, event: OrderEvent) -> OrderRecord:
    if event.kind is OrderEventKind.SUBMIT and order.state is not OrderState.PLANNED:
        return replace(order, updated_at=event.at)
    try:
        return order.after_event(event)
    except IllegalTransitionError:
        return order
