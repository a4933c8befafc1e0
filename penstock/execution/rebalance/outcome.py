"""How a slot ends: why it is not traded, how its orders ended, and which breaks are new."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from penstock.core.breaks import Break
from penstock.core.halts import TradingState
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.orders.cancel import holds_positions
from penstock.execution.session import AccountSession

#: How many newer slots are read for a late slot: one week at one slot per minute.
_NEWER_SLOTS = 10_080


def refusal_of(
    session: AccountSession, slot: datetime, lateness: float, instruments: Mapping[str, Instrument]
) -> str | None:
    """Return why the slot is not to be traded now, or None."""
    recent = session.ledger.rebalances(session.account, limit=1)
    # A newer slot may have been traded before slots that an outage skipped.
    if any(each.slot > slot for each in recent):
        recent = session.ledger.rebalances(session.account, limit=_NEWER_SLOTS)
    newest = max(
        (done.slot for done in recent if done.status is RebalanceStatus.DONE), default=slot
    )
    if newest > slot:
        return (
            f"the slot {newest:%Y-%m-%d %H:%M} has been traded: an older decision must not "
            "undo a newer one"
        )
    if lateness > session.policy.max_lateness_seconds:
        return (
            f"{lateness:.0f} s late; the policy skips a slot after "
            f"{session.policy.max_lateness_seconds:.0f} s"
        )
    halt = session.kill_switch.read()
    if halt.state is TradingState.HALTED and not (
        halt.flatten and holds_positions(session, instruments)
    ):
        return f"halted: {halt.reason} (set by {halt.by})"
    return None


def outcome_of(orders: Sequence[OrderRecord]) -> tuple[RebalanceStatus, str]:
    """Return how the slot ended, and why.

    FAILED where the kill switch stopped an order or an order has not ended, else DONE.
    """
    stopped = [order for order in orders if order.end_cause is EndCause.STOPPED]
    unfinished = [order.request.client_order_id for order in orders if not order.state.is_final]
    if stopped or unfinished:
        parts = [stopped[0].reason] if stopped else []
        if unfinished:
            parts.append(f"{len(unfinished)} orders have not ended, first {unfinished[0]}")
        return RebalanceStatus.FAILED, "; ".join(parts)
    refused = {"by the venue": EndCause.REFUSED, "before sending": EndCause.REFUSED_HERE}
    found = {
        where: [order for order in orders if order.end_cause is cause]
        for where, cause in refused.items()
    }
    reasons = [
        f"{len(of)} orders refused {where}: {of[0].reason}" for where, of in found.items() if of
    ]
    return RebalanceStatus.DONE, "; ".join(reasons)


def cut_short(passed: Sequence[Rebalance]) -> tuple[str, ...]:
    """Return an alert for each earlier slot that was interrupted and has no reason."""
    return tuple(
        f"slot {each.slot:%Y-%m-%d %H:%M} was cut short and is over"
        for each in passed
        if not each.reason
    )


def new_breaks(breaks: Sequence[Break], before: Sequence[Break]) -> list[Break]:
    """Return the breaks that were not open before."""
    known = {(found.subject, found.kind) for found in before}
    return [found for found in breaks if (found.subject, found.kind) not in known]
