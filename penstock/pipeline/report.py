"""The report of one account: what it holds, did, and earned."""

from dataclasses import dataclass
from pathlib import Path

from penstock.core.actors import Actor
from penstock.core.errors import ConfigError, DataError, PromotionError, VenueError
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.figures import AccountFigures, figures_of
from penstock.monitoring.positions import Holdings
from penstock.monitoring.reports import (
    MAX_ROWS,
    PerformanceReport,
    report_path,
    write_performance_report,
)
from penstock.monitoring.tables import (
    breaks_table,
    figures_table,
    orders_table,
    positions_sentence,
    positions_table,
)
from penstock.pipeline.positions import list_positions
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform


@dataclass(frozen=True)
class ReportOutcome:
    """A written report, and the account's figures in it."""

    account: str
    path: Path
    figures: AccountFigures
    holdings: Holdings
    not_compared: str = ""
    """Why live is not compared with the backtest; "" where it is."""

    def summary(self) -> str:
        """Return where the report is, and what it lacks."""
        lack = f"; not compared with the backtest: {self.not_compared}" if self.not_compared else ""
        return f"{self.account}: report at {self.path}{lack}"


@use_case
def report_account(platform: Platform, actor: Actor, portfolio: str) -> ReportOutcome:
    """Write the account's HTML report into the home folder and return it with its figures."""
    account = platform.environment.account_of(portfolio).name
    now = platform.machine_clock.now()
    figures = account_figures(platform, account)
    holdings = list_positions(platform, actor, portfolio)
    drift, not_compared = _drift(platform, portfolio)
    report = PerformanceReport(
        made_at=now,
        account=account,
        summary=figures_table(figures),
        positions=positions_table(holdings),
        positions_sentence=positions_sentence(holdings),
        orders=orders_table(platform.ledger.newest_orders(account, MAX_ROWS)),
        order_count=figures.totals.orders,
        breaks=breaks_table(platform.control_store.open_breaks(account)),
        equity=platform.control_store.equity_history(account),
        drift=drift,
    )
    path = write_performance_report(report, report_path(platform.home / "reports", account, now))
    return ReportOutcome(account, path, figures, holdings, not_compared)


def _drift(platform: Platform, portfolio: str) -> tuple[DriftReport | None, str]:
    """Return live against backtest over the slots traded; where they cannot be compared, None and
    the reason.

    No slot was traded, no champion is there, or the venue's steps are not known (no keys, or no
    answer). The report is then written without the comparison.
    """
    # Here, because the backtest comes with an extra and the figures below are the core's.
    from penstock.pipeline.comparison import compare_with_backtest, traded_period

    try:
        period = traded_period(platform, portfolio)
        return compare_with_backtest(platform, portfolio, period), ""
    except (ConfigError, DataError, PromotionError, VenueError) as error:
        return None, str(error)


def account_figures(platform: Platform, account: str) -> AccountFigures:
    """Return the account in figures. What it earned is measured at the ends of days."""
    return figures_of(
        platform.ledger.totals(account),
        platform.control_store.trading_state(account).state,
        len(platform.control_store.open_breaks(account)),
        platform.control_store.equity_by_day(account),
        platform.settings.universe.quote,
    )
