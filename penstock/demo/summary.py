"""What the demo shows at its end: one table for the terminal, and the HTML report."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from penstock.core.rebalances import RebalanceStatus
from penstock.demo.world import World
from penstock.interfaces.cli.console import table_of
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.reports import DemoReport, write_demo_report
from penstock.pipeline.ingest import IngestOutcome
from penstock.pipeline.promote import PromotionOutcome
from penstock.pipeline.reconcile import ReconcileOutcome
from penstock.pipeline.report import fills_table, orders_table
from penstock.pipeline.research import ResearchOutcome
from penstock.pipeline.slots import SlotOutcome
from penstock.promotion.gate import GateDecision
from penstock.research.plots import equity_figure, trials_figure
from penstock.wiring import Platform

PORTFOLIO = "daily"


@dataclass(frozen=True)
class DemoResult:
    """What every step of the demo returned. `project_verdict` is what the project's own thresholds
    say of the candidate.
    """

    world: World
    ingested: list[IngestOutcome]
    ingested_at_end: list[IngestOutcome]
    research: ResearchOutcome
    promotion: PromotionOutcome
    project_verdict: GateDecision
    slots: list[SlotOutcome]
    reconciled: ReconcileOutcome
    drift: DriftReport
    took: dict[str, float]


def print_summary(out: Console, platform: Platform, result: DemoResult, report: Path) -> None:
    """Print the summary, the comparison of live and backtest, and where to look further."""
    out.print()
    out.print(table_of(summary_table(platform, result), "Summary"))
    out.print(table_of(result.drift.table(), "Live equity against the backtest on the same bars"))
    out.print(result.drift.sentence())
    if result.project_verdict.failures:
        names = ", ".join(verdict.criterion for verdict in result.project_verdict.failures)
        out.print(
            f"[yellow]The demo promotes whatever the search found. configs/promotion.yaml would have rejected it:[/] {names}."
        )
    home = platform.home
    prefix = f"PENSTOCK_HOME={_shown(home)} PENSTOCK_CONFIGS={_shown(home / 'configs')} PENSTOCK_ENV=practice"
    out.print(f"report      {_shown(report)}", soft_wrap=True)
    out.print(f"data docs   {_shown(home / 'data-docs' / '1d' / 'index.html')}", soft_wrap=True)
    out.print(
        f"MLflow      mlflow ui --backend-store-uri sqlite:///{_shown(home / 'mlflow.db')}",
        soft_wrap=True,
    )
    out.print(f"look around {prefix} penstock status", soft_wrap=True)


def summary_table(platform: Platform, result: DemoResult) -> pl.DataFrame:
    """Return the demo in figures: columns what, value (text)."""
    account = platform.environment.account_of(PORTFOLIO).name
    checks = _checks(platform)
    found = result.research.result
    reports = [slot.report for slot in result.slots if slot.report is not None]
    ended = [report for report in reports if report.status is RebalanceStatus.DONE]
    again = sum(1 for report in reports if report.already_done)
    orders, fills = platform.ledger.orders(account), platform.ledger.fills(account)
    rows = [
        ("candles", result.world.described),
        ("bars new", _new_bars(result)),
        ("bars stored", f"{platform.bars.coverage(platform.exchange_name)['rows'].sum():,}"),
        ("checks", f"{checks.height} verdicts, {checks.filter(~pl.col('success')).height} not met"),
        ("dataset", f"{result.research.snapshot.rows:,} bars, {found.dataset_hash[:16]}"),
        (
            "search",
            f"{found.trial_count} trials; best: {found.strategy} {_short(dict(found.best_params))}",
        ),
        (
            "Sharpe",
            f"{found.in_sample.metrics.sharpe:.2f} in sample, {found.out_of_sample.metrics.sharpe:.2f} out of sample",
        ),
        ("deflated Sharpe", f"{found.deflated_sharpe:.3f} (probability that it is not luck)"),
        (
            "promoted",
            f"{result.promotion.version.label}: {result.promotion.promotion.gate.decision}",
        ),
        (
            "slots",
            f"{len(ended)} of {len(result.slots)} done"
            + (f" ({again} were done already)" if again else ""),
        ),
        (
            "orders",
            f"{len(orders)}, {sum(1 for order in orders if order.state == 'filled')} filled",
        ),
        ("fills", f"{len(fills)}, notional {sum(float(fill.notional) for fill in fills):,.2f}"),
        ("sent in this run", f"{sum(report.sent for report in reports)} orders"),
        ("reconciliation", result.reconciled.summary()),
        ("took", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.took.items())),
    ]
    return pl.DataFrame(rows, schema=["what", "value"], orient="row")


def _new_bars(result: DemoResult) -> str:
    """Return how many bars came in and when: slots ingest daily bars only, what passed meanwhile
    hourly comes at the end.
    """
    before, after = (
        sum(each.new_rows for each in some) for some in (result.ingested, result.ingested_at_end)
    )
    trading = sum(slot.new_bars for slot in result.slots)
    return f"{before:,} before trading, {trading:,} while trading, {after:,} after it: {before + trading + after:,} in this run"


def write_report(platform: Platform, result: DemoResult) -> Path:
    """Write the demo's HTML report and return its path."""
    account = platform.environment.account_of(PORTFOLIO).name
    report = DemoReport(
        made_at=platform.machine_clock.now(),
        summary=summary_table(platform, result),
        ingest=pl.concat(
            [
                outcome.table().with_columns(timeframe=pl.lit(outcome.timeframe.value))
                for outcome in (*result.ingested, *result.ingested_at_end)
            ]
        ),
        checks=_checks_by_kind(_checks(platform)),
        verdicts=result.promotion.table(),
        orders=orders_table(platform.ledger.orders(account)),
        fills=fills_table(platform.ledger.fills(account)),
        trials_figure=trials_figure(result.research.result),
        oos_figure=equity_figure(result.research.result.out_of_sample),
        drift=result.drift,
    )
    return write_demo_report(report, platform.home / "reports" / "demo.html")


def _checks(platform: Platform) -> pl.DataFrame:
    """Return the latest verdicts of the checks in every timeframe of the universe."""
    tables = [
        platform.bars.check_results(platform.exchange_name, timeframe).with_columns(
            timeframe=pl.lit(timeframe.value)
        )
        for timeframe in platform.settings.universe.timeframes
    ]
    return pl.concat(tables)


def _checks_by_kind(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return one row a check and timeframe: symbols judged, symbols that did not meet it, and
    which.
    """
    failed = pl.col("symbol").filter(~pl.col("success"))
    return verdicts.group_by("timeframe", "check", "detail", maintain_order=True).agg(
        symbols=pl.len(), not_met=failed.len(), which=failed.str.join(", ")
    )


def _short(params: dict[str, object]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
    )


def _shown(path: Path) -> str:
    """Return a path as short as it can be said from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
