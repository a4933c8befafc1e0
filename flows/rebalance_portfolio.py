"""Carry the champion's target weights to the account, for one slot."""

from datetime import datetime

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.states import ended, ended_together
from tasks.trading import (
    compare_after_slots,
    find_due_slots,
    find_idle_reason,
    rebalance_account,
)


@flow(name="rebalance-portfolio", flow_run_name="rebalance-{portfolio}", log_prints=True)
def rebalance_portfolio(portfolio: str = "daily", slot: datetime | None = None) -> State[None]:
    """Rebalance the slot (default: the newest bar's close, and missed ones as configured). No slot
    is done twice.

    Each slot has a task and a time limit of its own. A slot that fails does not stop a newer one.
    What the slots left to compare is compared at the end. A portfolio that never had a champion
    ends as Skipped: the promotion that it waits for is no fault.
    """
    idle = find_idle_reason(portfolio)
    if idle:
        return ended(f"nothing trades: {idle}", skipped=True)
    slots = [
        rebalance_account.with_options(timeout_seconds=due.seconds)(
            portfolio, due.slot, due.however_late, return_state=True
        )
        for due in find_due_slots(portfolio, slot)
    ]
    return ended_together(slots, [compare_after_slots(portfolio, return_state=True)])
