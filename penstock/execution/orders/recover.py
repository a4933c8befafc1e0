"""Recovery brings to an end what an earlier run left. Every rebalance begins with it.

Nothing is ever sent again from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from penstock.core.errors import VenueUnavailableError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, Fill, OrderEvent, OrderEventKind, OrderState
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.lease import LeaseKeeper
from penstock.execution.orders.track import OrderTracker
from penstock.execution.session import AccountSession

#: How far back a rebalance that never ended is looked for.
_LOOK_BACK = 100


@dataclass(frozen=True)
class Recovery:
    """What was found and done."""

    abandoned: tuple[str, ...] = ()
    """Orders that had never left (client order ids)."""
    resolved: tuple[str, ...] = ()
    """Orders that the venue was asked about (client order ids)."""
    fills: tuple[Fill, ...] = ()
    """Fills that were booked on the way."""


def recover(session: AccountSession, keeper: LeaseKeeper, slot: datetime | None) -> Recovery:
    """Bring every unfinished order of the account to its end, by asking the venue.

    A PLANNED order never left: it is abandoned. The slot, if it is run again, plans it anew under
    another attempt. Orders of slots other than `slot` that still work are cancelled; with `slot`
    None all are left the usual time to fill. An order on a symbol that the venue does not list any
    more is left as it is: reconciliation locks its symbol until an operator has looked. Raises
    VenueUnavailableError where a lost order cannot be resolved: what the account holds is then not
    known.
    """
    unfinished = session.ledger.orders(session.account, unfinished_only=True)
    if not unfinished:
        return Recovery()
    abandoned = [order for order in unfinished if order.state is OrderState.PLANNED]
    if abandoned:
        reason, at = "never sent: its run ended before the request left", session.clock.now()
        events = [
            OrderEvent(
                order.request.client_order_id,
                OrderEventKind.ABANDON,
                at,
                reason,
                end_cause=EndCause.NEVER_SENT,
            )
            for order in abandoned
        ]
        session.ledger.record_events(keeper.lease, events)
    sent = [order for order in unfinished if order.state is not OrderState.PLANNED]
    fills = _resolve(session, keeper, slot, sent)
    return Recovery(_names(abandoned), _names(sent), tuple(fills))


def _resolve(
    session: AccountSession, keeper: LeaseKeeper, slot: datetime | None, sent: Sequence[OrderRecord]
) -> list[Fill]:
    slots = (
        session.ledger.slots_of(session.account, {order.rebalance_id for order in sent})
        if sent
        else {}
    )
    fills: list[Fill] = []
    left: list[OrderRecord] = []
    for order_slot in sorted({slots[order.rebalance_id] for order in sent}):
        names = {
            order.request.client_order_id
            for order in sent
            if slots[order.rebalance_id] == order_slot
        }
        tracker = OrderTracker(session, keeper, order_slot)
        patience = session.policy.follow_timeout_seconds if slot in (None, order_slot) else 0.0
        left += [
            order
            for order in tracker.follow(names, {}, patience)
            if order.request.client_order_id not in tracker.unlisted
        ]
        fills += tracker.booked
    lost = [order for order in left if order.state in (OrderState.SUBMITTING, OrderState.UNKNOWN)]
    if lost:
        raise VenueUnavailableError(
            f"{len(lost)} orders of an earlier run cannot be resolved, "
            f"first {lost[0].request.client_order_id} "
            f"({lost[0].request.symbol}, {lost[0].reason or lost[0].state}): "
            "nothing is sent until the venue answers for them"
        )
    return fills


def end_superseded(session: AccountSession, keeper: LeaseKeeper, slot: datetime) -> list[Rebalance]:
    """Mark every rebalance before `slot` that never ended as FAILED: its slot has passed. Return
    them.
    """
    running = [
        rebalance
        for rebalance in session.ledger.rebalances(session.account, limit=_LOOK_BACK)
        if rebalance.status is RebalanceStatus.RUNNING and rebalance.slot < slot
    ]
    for rebalance in running:
        session.ledger.end_rebalance(
            keeper.lease, rebalance.id, RebalanceStatus.FAILED, taken_over(rebalance, slot)
        )
    return running


def taken_over(interrupted: Rebalance, slot: datetime) -> str:
    """Return why a slot that never ended is over, with what stopped it where that is known."""
    return f"{interrupted.reason or 'interrupted'}; the slot {slot:%Y-%m-%d %H:%M} took over"


def _names(orders: Sequence[OrderRecord]) -> tuple[str, ...]:
    return tuple(order.request.client_order_id for order in orders)
