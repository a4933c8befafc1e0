"""What the demo returns at its end: every step's outcome, the figures, and the HTML report."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.core.rebalances import RebalanceStatus
from penstock.data.ingestion import report_frame
from penstock.demo.history import DemoHistory
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.positions import Holdings
from penstock.monitoring.reports import DemoReport, report_path, write_demo_report
from penstock.monitoring.tables import (
    fills_table,
    orders_table,
    positions_sentence,
    positions_table,
)
from penstock.pipeline.ingest import IngestOutcome
from penstock.pipeline.promote import PromotionOutcome
from penstock.pipeline.reconcile import ReconcileOutcome
from penstock.pipeline.research import ResearchOutcome
from penstock.pipeline.slots import SlotOutcome
from penstock.promotion.gate import CandidateStatus, GateDecision
from penstock.research.engine.results import parameters_text
from penstock.research.plots import equity_figure, trials_figure
from penstock.wiring import Platform

PORTFOLIO = "daily"


@dataclass(frozen=True)
class DemoResult:
    """What every step of the demo returned, and what is stored at its end."""

    history: DemoHistory
    home: Path
    """The demo's folder."""
    report: Path
    """This run's HTML report in it. Those of earlier runs stay."""
    ingested: tuple[IngestOutcome, ...]
    """What came in before trading."""
    ingested_at_end: tuple[IngestOutcome, ...]
    """What came in after it."""
    research: ResearchOutcome
    promotion: PromotionOutcome
    project_decision: GateDecision
    """What the project's own thresholds say of the candidate."""
    made_at: datetime
    """When the report was made."""
    slots: tuple[SlotOutcome, ...]
    reconciled: ReconcileOutcome
    drift: DriftReport
    took: dict[str, float]
    """Seconds, by step."""
    bars_stored: int
    checks: int
    """How many checks have a newest verdict."""
    checks_not_met: int
    """How many of these failed."""
    orders: tuple[OrderRecord, ...]
    fills: tuple[Fill, ...]
    holdings: Holdings
    """What the account holds at the end."""


def result_of(
    platform: Platform,
    history: DemoHistory,
    *,
    ingested: list[IngestOutcome],
    ingested_at_end: list[IngestOutcome],
    research: ResearchOutcome,
    promotion: PromotionOutcome,
    project_decision: GateDecision,
    slots: list[SlotOutcome],
    reconciled: ReconcileOutcome,
    drift: DriftReport,
    took: dict[str, float],
    holdings: Holdings,
) -> DemoResult:
    """Gather what the steps returned and what is stored now, and write the report."""
    account = platform.environment.account_of(PORTFOLIO).name
    checks, made_at = _checks(platform), platform.machine_clock.now()
    result = DemoResult(
        history=history,
        home=platform.home,
        report=report_path(platform.home / "reports", "demo", made_at),
        ingested=tuple(ingested),
        ingested_at_end=tuple(ingested_at_end),
        research=research,
        promotion=promotion,
        project_decision=project_decision,
        made_at=made_at,
        slots=tuple(slots),
        reconciled=reconciled,
        drift=drift,
        took=took,
        bars_stored=int(platform.bar_inventory.coverage(platform.exchange_name)["rows"].sum()),
        checks=checks.height,
        checks_not_met=checks.filter(~pl.col("success")).height,
        orders=tuple(platform.ledger.orders(account)),
        fills=tuple(platform.ledger.fills(account)),
        holdings=holdings,
    )
    _write_report(result, checks)
    return result


def summary_table(result: DemoResult) -> pl.DataFrame:
    """Return the demo in figures: columns what, value (text)."""
    found = result.research.result
    ran = [slot.result for slot in result.slots if slot.result is not None]
    ended = [each for each in ran if each.status is RebalanceStatus.DONE]
    again = sum(1 for each in ran if each.already_done)
    filled = sum(1 for order in result.orders if order.state == "filled")
    notional = sum(float(fill.notional) for fill in result.fills)
    rows = [
        ("candles", result.history.described),
        ("bars new", _new_bars(result)),
        ("bars stored", f"{result.bars_stored:,}"),
        ("checks", f"{result.checks} verdicts, {result.checks_not_met} not met"),
        ("dataset", f"{result.research.snapshot.rows:,} bars, {found.dataset_hash[:16]}"),
        (
            "search",
            f"{found.trial_count} trials; best: {found.strategy} "
            f"{parameters_text(found.best_params)}",
        ),
        ("Sharpe", _sharpe(result)),
        ("deflated Sharpe", f"{found.deflated_sharpe:.3f} (probability that it is not luck)"),
        (
            "promoted",
            f"{result.promotion.version.label}: {result.promotion.promotion.gate.status}",
        ),
        ("project's thresholds", project_sentence(result.project_decision).partition(":")[0]),
        (
            "slots",
            f"{len(ended)} of {len(result.slots)} done"
            + (f" ({again} were done already)" if again else ""),
        ),
        ("orders", f"{len(result.orders)}, {filled} filled"),
        ("fills", f"{len(result.fills)}, notional {notional:,.2f}"),
        ("sent in this run", f"{sum(each.sent for each in ran)} orders"),
        ("held at the end", positions_sentence(result.holdings)),
        ("reconciliation", result.reconciled.summary()),
        ("took", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.took.items())),
    ]
    return pl.DataFrame(rows, schema=["what", "value"], orient="row")


def _sharpe(result: DemoResult) -> str:
    """Return the Sharpe ratio in sample, and out of sample where the gate has opened these bars."""
    inside = f"{result.research.result.in_sample.metrics.sharpe:.2f} in sample"
    opened = result.promotion.promotion.opened
    if opened is None:
        return inside
    return f"{inside}, {opened.out_of_sample.sharpe:.2f} out of sample"


def project_sentence(decision: GateDecision) -> str:
    """Return what the project's own thresholds say of the demo's candidate, pass or fail."""
    named = "configs/promotion.yaml"
    if decision.decision is not CandidateStatus.REJECTED:
        return f"{named} would let it pass, too: {decision.reason}"
    failed = len(decision.failures)
    return f"{named} would reject it, by {failed} of {len(decision.verdicts)}: {decision.reason}"


def _new_bars(result: DemoResult) -> str:
    """Return how many bars came in and when. Slots ingest daily bars only; hourly ones come before
    and after.
    """
    before, after = (
        sum(each.new_rows for each in some) for some in (result.ingested, result.ingested_at_end)
    )
    trading = sum(slot.new_bars for slot in result.slots)
    return (
        f"{before:,} before trading, {trading:,} while trading, {after:,} after it: "
        f"{before + trading + after:,} in this run"
    )


def _write_report(result: DemoResult, checks: pl.DataFrame) -> None:
    found = result.research.result
    ingest = [
        report_frame(outcome.reports).with_columns(timeframe=pl.lit(outcome.timeframe.value))
        for outcome in (*result.ingested, *result.ingested_at_end)
    ]
    report = DemoReport(
        made_at=result.made_at,
        summary=summary_table(result),
        ingest=pl.concat(ingest),
        checks=_checks_by_kind(checks),
        promoted=result.promotion.summary(),
        verdicts=result.promotion.promotion.gate.table(),
        project_says=project_sentence(result.project_decision),
        project_verdicts=result.project_decision.table(),
        positions=positions_table(result.holdings),
        orders=orders_table(result.orders),
        fills=fills_table(result.fills),
        trials_figure=trials_figure(found),
        equity_figure=equity_figure(found.in_sample, found.benchmark_in_sample),
        drift=result.drift,
    )
    write_demo_report(report, result.report)


def _checks(platform: Platform) -> pl.DataFrame:
    """Return the latest verdicts of the checks in every timeframe of the universe."""
    tables = [
        platform.bar_inventory.check_results(platform.exchange_name, timeframe).with_columns(
            timeframe=pl.lit(timeframe.value)
        )
        for timeframe in platform.settings.universe.timeframes
    ]
    return pl.concat(tables)


def _checks_by_kind(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per check and timeframe: symbols judged, symbols that did not meet it, and
    which.
    """
    failed = pl.col("symbol").filter(~pl.col("success"))
    return verdicts.group_by("timeframe", "check", "detail", maintain_order=True).agg(
        symbols=pl.len(), not_met=failed.len(), which=failed.str.join(", ")
    )
