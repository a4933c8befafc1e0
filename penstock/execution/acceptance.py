"""An operator's word on a break: the ledger takes over what the venue has, with the reason kept as an event."""

from decimal import Decimal

from penstock.core.accounts import BreakAcceptance, BreakKind
from penstock.core.errors import StoreError
from penstock.core.orders import OrderEventKind
from penstock.execution.desk import TradingDesk
from penstock.execution.differences import Finding, prices_of
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation import Reconciliation, compare, reconcile

#: An order that works at the venue and is not ours must be cancelled there: no entry of the ledger could own it.
_NOT_ACCEPTABLE = frozenset({BreakKind.UNKNOWN_ORDER})


def accept_break(desk: TradingDesk, keeper: LeaseKeeper, subject: str, reason: str, by: str = "operator") -> Reconciliation:
    """Settle the open breaks on `subject` (an asset or a symbol) as the venue has it, keep the word, and compare again.

    Differences of balances are booked as adjustments, an order that is gone is cancelled in the ledger, changed steps are
    planned with from now on. Raises StoreError where no break is open on the subject, naming those that are, or where it is
    about an unknown order: cancel that at the venue.
    """
    seen = compare(desk, keeper)
    open_now = {(each.subject, each.kind) for each in desk.supervision.open_breaks(desk.account)}
    chosen = [
        finding
        for finding in seen.findings
        if finding.found.subject == subject
        and (subject, finding.found.kind) in open_now
        and finding.found.kind not in _NOT_ACCEPTABLE
    ]
    standing = [each for each in desk.supervision.open_breaks(desk.account) if each.subject == subject]
    chosen += [Finding(each) for each in standing if each.kind is BreakKind.OVERFILL and each not in [c.found for c in chosen]]
    if not chosen:
        shown = ", ".join(f"{name} ({kind})" for name, kind in sorted(open_now)) or "none"
        raise StoreError(
            f"no break on '{subject}' of account '{desk.account}' can be accepted; open there are: {shown}; "
            "an unknown order is to be cancelled at the venue"
        )
    for finding in chosen:
        _settle(desk, keeper, finding, reason, by)
    return reconcile(desk, keeper)


def _settle(desk: TradingDesk, keeper: LeaseKeeper, finding: Finding, reason: str, by: str) -> None:
    kind, subject, at = finding.found.kind, finding.found.subject, desk.clock.now()
    word = f"accepted {kind} by {by}: {reason}"
    prices = prices_of(desk, finding.changes) if finding.changes else {}
    value = sum((change * prices.get(asset, Decimal(0)) for asset, change in finding.changes.items()), Decimal(0))
    for asset, change in finding.changes.items():
        if change:
            desk.ledger.book_adjustment(keeper.lease, asset, change, word, at)
    for name in finding.orders:
        desk.ledger.record_event(keeper.lease, name, OrderEventKind.CANCEL, at, word)
    if finding.instrument is not None:
        desk.supervision.record_instruments(desk.account, [finding.instrument])
    desk.supervision.record_acceptance(BreakAcceptance(desk.account, subject, kind, reason, by, at, value))
    desk.supervision.close_break(desk.account, subject, kind, at, word)
