"""Compare the ledger with the venue; differences lock their instruments."""

from prefect import flow

from tasks.trading import compare_with_venue


@flow(name="reconcile-account", flow_run_name="reconcile-{portfolio}", log_prints=True)
def reconcile_account(portfolio: str = "daily") -> None:
    """Compare balances, orders and trades; open and close breaks."""
    compare_with_venue(portfolio)
