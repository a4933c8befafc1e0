"""An operator's word on a break: the ledger takes over what the venue has, with the reason, and the lock goes."""

from decimal import Decimal

from penstock.core.accounts import BreakKind
from penstock.core.errors import StoreError
from penstock.execution.desk import TradingDesk
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation import Reconciliation, reconcile

#: Differences of balances, which an adjustment settles. Orders that only one side knows are settled at the venue.
_SETTLED_BY_ADJUSTMENT = (BreakKind.DEPOSIT, BreakKind.WITHDRAWAL, BreakKind.MANUAL_TRADE)


def accept_break(desk: TradingDesk, keeper: LeaseKeeper, subject: str, reason: str) -> Reconciliation:
    """Book the difference behind the open break on `subject` (an asset, or a symbol for a manual trade), and compare again.

    For a manual trade both of its assets are taken over. Raises StoreError where no such break is open, naming those that
    are, or where the break is about an order: cancel that at the venue.
    """
    kinds = {found.subject: found.kind for found in desk.supervision.open_breaks(desk.account)}
    kind = kinds.get(subject)
    if kind not in _SETTLED_BY_ADJUSTMENT:
        shown = ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "none"
        allowed = ", ".join(_SETTLED_BY_ADJUSTMENT)
        raise StoreError(f"no break on '{subject}' can be accepted; open are: {shown}; only {allowed} can be")
    balances, ledger = desk.exchange.balances(), desk.ledger.positions(desk.account)
    for asset in subject.split("/"):
        difference = balances.get(asset, Decimal(0)) - ledger.get(asset, Decimal(0))
        if difference:
            desk.ledger.book_adjustment(keeper.lease, asset, difference, f"accepted {kind}: {reason}", desk.clock.now())
    return reconcile(desk, keeper)
