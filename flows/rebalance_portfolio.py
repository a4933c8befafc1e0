"""Carry the champion's target weights to the account, for one slot."""

from datetime import datetime

from prefect import flow

from tasks.trading import rebalance_account


@flow(name="rebalance-portfolio", flow_run_name="rebalance-{portfolio}", log_prints=True)
def rebalance_portfolio(portfolio: str = "daily", slot: datetime | None = None) -> None:
    """Rebalance the slot (default: the newest bar's close, and missed ones as the portfolio says). None is done twice."""
    rebalance_account(portfolio, slot)
