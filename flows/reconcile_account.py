"""Compare the ledger with the venue; differences lock their instruments."""

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.states import ended
from tasks.trading import compare_with_venue


@flow(name="reconcile-account", flow_run_name="reconcile-{portfolio}", log_prints=True)
def reconcile_account(portfolio: str = "daily") -> State[None]:
    """Compare balances, orders and trades; open and close breaks."""
    return ended(compare_with_venue(portfolio))
