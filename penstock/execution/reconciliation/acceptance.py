"""Acceptance of a break by an operator: the ledger takes over what the venue has, with the reason
kept as an event.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from penstock.core.breaks import Break, BreakAcceptance, BreakKind, Settlement
from penstock.core.errors import StoreError
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import (
    ExplainedDifference,
    is_as_recorded,
    prices_of,
    venues_of,
)
from penstock.execution.reconciliation.reconcile import (
    Comparison,
    Reconciliation,
    compare,
    reconcile,
)
from penstock.execution.session import AccountSession

#: An order that works at the venue and is not ours must be cancelled there: no entry of the ledger
#: could own it.
_NOT_ACCEPTABLE = frozenset({BreakKind.UNKNOWN_ORDER})


def accept_break(
    session: AccountSession, keeper: LeaseKeeper, subject: str, reason: str, by: str = "operator"
) -> Reconciliation:
    """Settle the open breaks on `subject` (an asset or a symbol) as the venue has it, keep the
    acceptance, and compare again.

    Differences of balances are booked as adjustments, an order that is gone is cancelled in the
    ledger, changed steps are planned with from now on: all of it in one transaction, or nothing.
    Raises StoreError where no break is open on the subject, naming those that are; where it is
    about an unknown order: cancel that at the venue; and where a difference is not the recorded one
    any more, which is what the operator was told and means. The new one is recorded then.
    """
    seen = compare(session, keeper)
    open_now = session.control_store.open_breaks(session.account)
    standing = {
        each.kind: each
        for each in open_now
        if each.subject == subject and each.kind not in _NOT_ACCEPTABLE
    }
    chosen = _chosen(seen, standing, subject)
    if not chosen:
        raise StoreError(_nothing_to_accept(session.account, subject, open_now))
    _refuse_changed(
        session, keeper, seen, [(standing[each.found.kind], each.found) for each in chosen]
    )
    at = session.clock.now()
    session.control_store.settle_breaks(
        keeper.lease, [_settlement(session, each, reason, by, at) for each in chosen]
    )
    return reconcile(session, keeper)


def _nothing_to_accept(account: str, subject: str, open_now: Sequence[Break]) -> str:
    shown = ", ".join(sorted(f"{each.subject} ({each.kind})" for each in open_now)) or "none"
    unknown = any(each.kind in _NOT_ACCEPTABLE for each in open_now)
    way_out = "; an unknown order is to be cancelled at the venue" if unknown else ""
    return (
        f"no break on '{subject}' of account '{account}' can be accepted; open there are: "
        f"{shown}{way_out}"
    )


def _chosen(
    seen: Comparison, standing: Mapping[BreakKind, Break], subject: str
) -> list[ExplainedDifference]:
    """Return what was found of the standing breaks. An overfill stands though both sides agree: it
    is as it was recorded.
    """
    found = {each.found.kind: each for each in seen.findings if each.found.subject == subject}
    seen_again = [found[kind] for kind in standing if kind in found]
    return seen_again + [
        ExplainedDifference(each)
        for kind, each in standing.items()
        if kind is BreakKind.OVERFILL and kind not in found
    ]


def _refuse_changed(
    session: AccountSession,
    keeper: LeaseKeeper,
    seen: Comparison,
    pairs: Sequence[tuple[Break, Break]],
) -> None:
    """Raise StoreError where a break is not what was recorded; it is then closed, and opened with
    what it is now.
    """
    venues = venues_of(session)
    changed = [
        (then, now) for then, now in pairs if not is_as_recorded(then, now, seen.balances, venues)
    ]
    if not changed:
        return
    at = session.clock.now()
    for then, now in changed:
        session.control_store.close_break(
            keeper.lease, then.subject, then.kind, at, "the difference has changed: opened again"
        )
        session.control_store.open_break(keeper.lease, now, at)
    message = "; ".join(
        f"{then.kind} was: {then.message}; and is now: {now.message}" for then, now in changed
    )
    raise StoreError(
        f"the difference on '{changed[0][0].subject}' of account '{session.account}' has "
        "changed since it was recorded, and "
        f"nothing was booked: {message}. The break shows the new figures: look again, and "
        "accept it if they are right"
    )


def _settlement(
    session: AccountSession, finding: ExplainedDifference, reason: str, by: str, at: datetime
) -> Settlement:
    prices = prices_of(session, finding.changes) if finding.changes else {}
    value = sum(
        (change * prices.get(asset, Decimal(0)) for asset, change in finding.changes.items()),
        Decimal(0),
    )
    accepted = BreakAcceptance(
        session.account, finding.found.subject, finding.found.kind, reason, by, at, value
    )
    return Settlement(accepted, finding.changes, finding.orders, finding.instrument)
