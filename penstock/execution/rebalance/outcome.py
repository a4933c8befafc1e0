"""How a slot ends: why it is not traded, how its orders ended, what was not closed, and which
breaks are new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.amounts import to_step
from penstock.core.breaks import Break, lock_subjects
from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord, failed_orders
from penstock.core.orders import EndCause
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.core.risk_records import RiskVerdict
from penstock.execution.orders.cancel import holds_positions
from penstock.execution.session import AccountSession
from penstock.portfolio.rebalancing import Book, Skipped
from penstock.risk.rules import RuleFinding

#: What is said of orders that failed, by the cause of their end.
FAILED: Mapping[EndCause | None, str] = {
    EndCause.REFUSED: "refused by the venue",
    EndCause.REFUSED_HERE: "refused before sending",
    EndCause.PACED_OUT: "refused by the venue for their rate",
    EndCause.NEVER_ARRIVED: "that the venue does not have",
    EndCause.CANCELLED: "cancelled at the venue with nothing filled",
    EndCause.EXPIRED: "expired at the venue with nothing filled",
}
#: How many newer slots are read for a late slot: one week at one slot per minute.
_NEWER_SLOTS = 10_080


def refusal_of(
    session: AccountSession,
    slot: datetime,
    lateness: float,
    instruments: Mapping[str, Instrument],
    keep: Mapping[str, Decimal],
    halt: Halt,
    recent: Sequence[Rebalance],
) -> str | None:
    """Return why the slot is not to be traded now, or None.

    `keep` is the policy's reserve, `halt` the kill switch as it was read now. `recent` are the
    account's newest slots, as read under this lease.
    """
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
            f"{lateness / 60:.1f} minutes late: it is skipped after "
            f"{session.policy.max_lateness_seconds / 60:g} (max_lateness_minutes)"
        )
    if halt.state is TradingState.HALTED and not (
        halt.flatten and holds_positions(session, instruments, keep)
    ):
        return f"halted: {halt.reason} (set by {halt.by})"
    return None


def outcome_of(orders: Sequence[OrderRecord]) -> tuple[RebalanceStatus, str]:
    """Return how the slot ended, and why.

    FAILED where the kill switch stopped an order or an order has not ended, else DONE. Orders that
    failed are the reason then.
    """
    stopped = [order for order in orders if order.end_cause is EndCause.STOPPED]
    unfinished = [order.request.client_order_id for order in orders if not order.state.is_final]
    if stopped or unfinished:
        parts = [stopped[0].reason] if stopped else []
        if unfinished:
            parts.append(f"{len(unfinished)} orders have not ended, first {unfinished[0]}")
        return RebalanceStatus.FAILED, "; ".join(parts)
    by_cause: dict[EndCause | None, list[OrderRecord]] = {}
    for order in failed_orders(orders):
        by_cause.setdefault(order.end_cause, []).append(order)
    reasons = [
        f"{len(of)} orders {FAILED[cause]}: {of[0].reason or 'no reason is given'}"
        for cause, of in by_cause.items()
    ]
    return RebalanceStatus.DONE, "; ".join(reasons)


@dataclass(frozen=True)
class Closings:
    """What became of the positions that risk rules or an operator wanted closed."""

    closed: tuple[str, ...] = ()
    """A sentence for each that is closed."""
    locked: tuple[str, ...] = ()
    """A sentence for each that an open break locks."""
    held: tuple[str, ...] = ()
    """A sentence for each other one that is still held, with the reasons."""
    left: frozenset[str] = frozenset()
    """The symbols of those that are still held."""


def closings_of(
    closing: Sequence[RuleFinding],
    after: Book,
    locks: Mapping[str, str],
    orders: Sequence[OrderRecord],
    findings: Sequence[RuleFinding],
    skipped: Sequence[Skipped],
) -> Closings:
    """Return what became of the positions that were to be closed, by what is held `after` the last
    order.

    Less than can be sold counts as closed.
    """
    closed, locked, held = [], [], []
    left = frozenset(each.symbol for each in closing if after.can_be_sold(each.symbol))
    for each in closing:
        wanted = f"{each.symbol} is to be closed by {each.rule} ({each.reason})"
        lock = next((locks[s] for s in lock_subjects(each.symbol) if s in locks), None)
        if each.symbol not in left:
            closed.append(f"{each.symbol} was closed by {each.rule}: {each.reason}")
        elif lock is not None:
            locked.append(f"{wanted} but is locked by a break: {lock}")
        else:
            why = reasons_held(each.symbol, orders, findings, skipped)
            held.append(
                f"{wanted} but {to_step(after.positions[each.symbol])} is still held: "
                f"{'; '.join(why) or 'it was not sold whole'}"
            )
    return Closings(tuple(closed), tuple(locked), tuple(held), left)


def reasons_held(
    symbol: str,
    orders: Sequence[OrderRecord],
    findings: Sequence[RuleFinding],
    skipped: Sequence[Skipped],
) -> tuple[str, ...]:
    """Return why a position was not sold: what denied it, left it out, or ended its orders."""
    reasons = [
        each.reason
        for each in findings
        if each.symbol == symbol and each.verdict is RiskVerdict.DENY
    ]
    reasons += [each.reason for each in skipped if each.symbol == symbol]
    reasons += [each.reason for each in orders if each.request.symbol == symbol and each.reason]
    return tuple(dict.fromkeys(reasons))


def new_breaks(breaks: Sequence[Break], before: Sequence[Break]) -> list[Break]:
    """Return the breaks that were not open before."""
    known = {(found.subject, found.kind) for found in before}
    return [found for found in breaks if (found.subject, found.kind) not in known]
