"""The account between rebalances: finish what was left and compare with the venue, trading nothing."""

import time
from dataclasses import dataclass
from decimal import Decimal

from penstock.execution.desk import TradingDesk
from penstock.execution.lease import take_lease
from penstock.execution.reconciliation import Reconciliation, reconcile
from penstock.execution.recovery import Recovery, recover


@dataclass(frozen=True)
class AccountCheck:
    """What recovery and reconciliation found; None where another process holds the account."""

    recovery: Recovery
    reconciliation: Reconciliation
    positions: dict[str, Decimal]


def reconcile_account(desk: TradingDesk) -> AccountCheck | None:
    """Resolve unfinished orders, compare ledger and venue, open and close breaks. None: the account is being traded now."""
    desk.ledger.open_account(desk.account, desk.exchange_name, desk.quote)
    policy = desk.policy
    keeper = take_lease(desk.ledger, desk.account, policy.lease_ttl_seconds, policy.lease_wait_seconds, time.sleep)
    if keeper is None:
        return None
    try:
        recovery = recover(desk, keeper, None)
        reconciliation = reconcile(desk, keeper)
        return AccountCheck(recovery, reconciliation, dict(desk.ledger.positions(desk.account)))
    finally:
        keeper.release()
