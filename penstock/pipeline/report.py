"""The report of one account: what it holds, did, and earned."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from penstock.core.actors import Actor
from penstock.core.errors import ConfigError, DataError, PromotionError, VenueError
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.figures import AccountFigures, figures_of
from penstock.monitoring.reports import PerformanceReport, write_performance_report
from penstock.monitoring.tables import balances_table, breaks_table, figures_table, orders_table
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ReportOutcome:
    """A written report, and the account's figures in it."""

    account: str
    path: Path
    figures: AccountFigures

    def summary(self) -> str:
        """Return where the report is."""
        return f"{self.account}: report at {self.path}"


@use_case
def report_account(platform: Platform, actor: Actor, portfolio: str) -> ReportOutcome:
    """Write the account's HTML report into the home folder and return it with its figures."""
    account = platform.environment.account_of(portfolio).name
    now = platform.machine_clock.now()
    figures = account_figures(platform, account)
    report = PerformanceReport(
        made_at=now,
        account=account,
        summary=figures_table(figures),
        balances=balances_table(platform.ledger.balances(account)),
        orders=orders_table(platform.ledger.orders(account)),
        breaks=breaks_table(platform.control_store.open_breaks(account)),
        equity=platform.control_store.equity_history(account),
        drift=_drift(platform, portfolio),
    )
    path = write_performance_report(
        report, platform.home / "reports" / f"{account}-{now:%Y-%m-%d}.html"
    )
    return ReportOutcome(account, path, figures)


def _drift(platform: Platform, portfolio: str) -> DriftReport | None:
    """Return live against backtest over the slots traded; None, with a warning, where they cannot
    be compared.

    There is nothing to compare yet, no champion, or nobody to tell the venue's steps: no keys here,
    or no answer there. What the ledger knows is reported all the same.
    """
    # Here, because the backtest comes with an extra and the figures below are the core's.
    from penstock.pipeline.comparison import compare_with_backtest, traded_period

    try:
        return compare_with_backtest(platform, portfolio, traded_period(platform, portfolio))
    except (ConfigError, DataError, PromotionError, VenueError) as error:
        _log.warning("no comparison with the backtest", portfolio=portfolio, reason=str(error))
        return None


def account_figures(platform: Platform, account: str) -> AccountFigures:
    """Return the account in figures."""
    return figures_of(
        platform.ledger.totals(account),
        platform.control_store.trading_state(account).state,
        len(platform.control_store.open_breaks(account)),
        platform.control_store.equity_history(account),
    )
