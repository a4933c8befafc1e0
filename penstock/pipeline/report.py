"""The report of one account: what it holds, did, and earned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import structlog

from penstock.core.errors import ConfigError, DataError, PromotionError, VenueError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.reports import PerformanceReport, write_performance_report
from penstock.monitoring.returns import performance_of
from penstock.wiring import Platform

_log = structlog.get_logger(__name__)

_ORDER_COLUMNS = ("at", "symbol", "side", "quantity", "filled", "state", "version", "reason")


@dataclass(frozen=True)
class ReportOutcome:
    """A written report and its headline figures."""

    account: str
    path: Path
    figures: pl.DataFrame

    def table(self) -> pl.DataFrame:
        return self.figures

    def summary(self) -> str:
        """Return where the report is."""
        return f"{self.account}: report at {self.path}"


def report_account(platform: Platform, portfolio: str) -> ReportOutcome:
    """Write the account's HTML report into the home folder and return it with its figures."""
    account = platform.environment.account_of(portfolio).name
    now = platform.machine_clock.now()
    figures = account_figures(platform, account)
    report = PerformanceReport(
        made_at=now,
        account=account,
        summary=figures,
        positions=_positions(platform, account),
        orders=orders_table(platform.ledger.orders(account)),
        breaks=_breaks(platform, account),
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


def account_figures(platform: Platform, account: str) -> pl.DataFrame:
    """Return the account in figures: columns figure, value (text)."""
    totals = platform.ledger.totals(account)
    equity = platform.control_store.equity_history(account)
    rows = [
        ("trading state", str(platform.control_store.trading_state(account).state)),
        (
            "slots",
            ", ".join(f"{count} {status}" for status, count in sorted(totals.slots.items()))
            or "none yet",
        ),
        ("orders", str(totals.orders)),
        ("fills", str(totals.fills)),
        ("traded notional", f"{totals.traded:,.2f}"),
        ("open breaks", str(len(platform.control_store.open_breaks(account)))),
    ]
    if equity.height:
        earned = performance_of(equity)
        rows.append(("equity", f"{equity['equity'][-1]:,.2f}"))
        if earned.paid_in or earned.paid_out:
            rows.append(
                (
                    "transfers",
                    f"{earned.paid_in:,.2f} in, {earned.paid_out:,.2f} out: no gain, no loss",
                )
            )
        rows += [
            ("return since the first slot", f"{earned.total_return:+.2%}"),
            ("deepest fall", f"{earned.deepest_fall:.2%}"),
        ]
    return pl.DataFrame(rows, schema=["figure", "value"], orient="row")


def orders_table(orders: Sequence[OrderRecord]) -> pl.DataFrame:
    """Return orders as a table, newest first: at, symbol, side, quantity, filled, state, version,
    reason.
    """
    rows = [
        (
            order.created_at,
            order.request.symbol,
            order.request.side.value,
            f"{order.request.quantity.normalize():f}",
            f"{order.filled_quantity.normalize():f}",
            order.state.value,
            order.strategy_version,
            order.reason,
        )
        for order in reversed(list(orders))
    ]
    return (
        pl.DataFrame(rows, schema=list(_ORDER_COLUMNS), orient="row")
        if rows
        else pl.DataFrame(schema=list(_ORDER_COLUMNS))
    )


def fills_table(fills: Sequence[Fill]) -> pl.DataFrame:
    """Return fills as a table, newest first: at, symbol, side, quantity, price, fee, trade."""
    rows = [
        (
            f.at,
            f.symbol,
            f.side.value,
            f"{f.quantity.normalize():f}",
            f"{f.price.normalize():f}",
            f"{f.fee.normalize():f} {f.fee_asset}",
            f.trade_id,
        )
        for f in reversed(list(fills))
    ]
    columns = ["at", "symbol", "side", "quantity", "price", "fee", "trade"]
    return (
        pl.DataFrame(rows, schema=columns, orient="row") if rows else pl.DataFrame(schema=columns)
    )


def _positions(platform: Platform, account: str) -> pl.DataFrame:
    rows = [
        (asset, f"{quantity.normalize():f}")
        for asset, quantity in sorted(platform.ledger.positions(account).items())
    ]
    return pl.DataFrame(rows, schema={"asset": pl.String, "quantity": pl.String}, orient="row")


def _breaks(platform: Platform, account: str) -> pl.DataFrame:
    rows = [
        (b.subject, b.kind.value, b.detail) for b in platform.control_store.open_breaks(account)
    ]
    return pl.DataFrame(
        rows, schema={"subject": pl.String, "kind": pl.String, "detail": pl.String}, orient="row"
    )
