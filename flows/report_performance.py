"""Write the account's report: positions, orders, fills, equity and drawdown."""

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.states import ended
from tasks.trading import write_report


@flow(name="report-performance", flow_run_name="report-{portfolio}", log_prints=True)
def report_performance(portfolio: str = "daily") -> State[None]:
    """Write the HTML report and publish its figures."""
    return ended(write_report(portfolio))
