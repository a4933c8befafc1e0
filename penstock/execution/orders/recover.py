"""Recovery: bringing the orders that an earlier run left to their end.

Every rebalance begins with it. It sends no order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from penstock.core.alerts import Alert
from penstock.core.errors import VenueUnavailableError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, Fill, OrderEvent, OrderEventKind, OrderState
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.lease import LeaseKeeper
from penstock.execution.orders.track import OrderTracker
from penstock.execution.session import AccountSession

#: How many rebalances are searched for one that never ended.
LOOK_BACK = 100


@dataclass(frozen=True)
class Recovery:
    """What was found and done."""

    abandoned: tuple[str, ...] = ()
    """Orders that had never left (client order ids)."""
    resolved: tuple[str, ...] = ()
    """Orders that the venue was asked about (client order ids)."""
    fills: tuple[Fill, ...] = ()
    """Fills that were booked on the way."""
    unsettled: Sequence[OrderRecord] | None = None
    """See Ledger.unsettled_orders; None where recovery has changed what it read."""


def recover(session: AccountSession, keeper: LeaseKeeper, slot: datetime | None) -> Recovery:
    """Bring every unfinished order of the account to its end, by asking the venue.

    A PLANNED order never left: it is abandoned. If its slot is run again, it is planned again under
    another attempt. Working orders of other slots than `slot` are cancelled. Where `slot` is None,
    all get the usual time to fill. An order on a symbol that the venue no longer lists stays as it
    is; reconciliation locks the symbol.

    Raises VenueUnavailableError where a lost order cannot be resolved, because the account's
    positions are then unknown.
    """
    unsettled = session.ledger.unsettled_orders(session.account)
    unfinished = [order for order in unsettled if not order.state.is_final]
    if not unfinished:
        return Recovery(unsettled=unsettled)
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
        of_slot = [order for order in sent if slots[order.rebalance_id] == order_slot]
        tracker = OrderTracker(session, keeper, order_slot)
        patience = session.policy.follow_timeout_seconds if slot in (None, order_slot) else 0.0
        left += [
            order
            for order in tracker.follow(of_slot, {}, patience)
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


def end_superseded(
    session: AccountSession, keeper: LeaseKeeper, slot: datetime, recent: Sequence[Rebalance]
) -> None:
    """Mark every rebalance before `slot` that never ended as FAILED. `recent` are the newest.

    One without a reason was killed, and had no alert: that is committed with its end.
    """
    running = [
        rebalance
        for rebalance in recent
        if rebalance.status is RebalanceStatus.RUNNING and rebalance.slot < slot
    ]
    for rebalance in running:
        title = f"slot {rebalance.slot:%Y-%m-%d %H:%M} was cut short"
        reason = taken_over(rebalance, slot)
        session.ledger.end_rebalance(
            keeper.lease,
            rebalance.id,
            RebalanceStatus.FAILED,
            reason,
            () if rebalance.reason else (Alert(title, reason),),
        )


def taken_over(interrupted: Rebalance, slot: datetime) -> str:
    """Return the reason of a slot that a later one ended, with what stopped it where known."""
    return f"{interrupted.reason or 'interrupted'}; the slot {slot:%Y-%m-%d %H:%M} took over"


def _names(orders: Sequence[OrderRecord]) -> tuple[str, ...]:
    return tuple(order.request.client_order_id for order in orders)
