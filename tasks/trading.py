"""Tasks around an account: rebalance, reconcile, report. No retries: the next run finishes what the
ledger says was left.
"""

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from penstock.core.rebalances import RebalanceStatus
from penstock.monitoring.tables import (
    breaks_table,
    figures_table,
    positions_sentence,
    positions_table,
)
from penstock.pipeline import rebalance, reconcile, report, slots
from penstock.pipeline.slots import DueSlot
from tasks.artifacts import publish_file, publish_rows, publish_table, publish_text
from tasks.platform import worker_actor, worker_platform
from tasks.states import ended


@task(task_run_name="idle-{portfolio}", cache_policy=NO_CACHE, timeout_seconds=600)
def find_idle_reason(portfolio: str) -> str:
    """Return why there is nothing to trade yet; "" where there is."""
    return slots.why_idle(worker_platform(), worker_actor(), portfolio)


@task(task_run_name="slots-{portfolio}", cache_policy=NO_CACHE, timeout_seconds=600)
def find_due_slots(portfolio: str, slot: datetime | None) -> list[DueSlot]:
    """Account for the slots that passed without a run, and return those to run now (with `slot`:
    that one).
    """
    return slots.due_slots(worker_platform(), worker_actor(), portfolio, slot)


@task(task_run_name="rebalance-{portfolio}-{slot:%Y-%m-%dT%H:%M}", cache_policy=NO_CACHE)
def rebalance_account(portfolio: str, slot: datetime, however_late: bool) -> State[None]:
    """Rebalance one slot and keep its orders, fills and refusals as artifacts."""
    outcome = rebalance.rebalance_slot(
        worker_platform(), worker_actor(), portfolio, slot, however_late
    )
    publish_rows(
        f"orders-{portfolio}",
        outcome.rows(),
        f"Orders of slot {outcome.slot:%Y-%m-%d %H:%M}",
    )
    publish_text(f"rebalance-{portfolio}", outcome.summary(), "What the rebalance did")
    return ended(
        outcome.summary(),
        failed=outcome.status in (None, RebalanceStatus.FAILED),
        skipped=outcome.status is RebalanceStatus.SKIPPED,
    )


@task(task_run_name="reconcile-{portfolio}", cache_policy=NO_CACHE, timeout_seconds=600)
def compare_with_venue(portfolio: str) -> str:
    """Compare ledger and venue and keep the breaks as an artifact; return them in one sentence."""
    return _published(
        portfolio, reconcile.reconcile_account(worker_platform(), worker_actor(), portfolio)
    )


@task(task_run_name="compare-{portfolio}", cache_policy=NO_CACHE, timeout_seconds=600)
def compare_after_slots(portfolio: str) -> State[None] | None:
    """Compare the fills that the slots left, where the next slot would be too late for them."""
    outcome = reconcile.reconcile_after_slot(worker_platform(), worker_actor(), portfolio)
    return None if outcome is None else ended(_published(portfolio, outcome))


def _published(portfolio: str, outcome: reconcile.ReconcileOutcome) -> str:
    table = breaks_table(outcome.found.breaks)
    publish_table(f"breaks-{portfolio}", table, "Differences between ledger and venue")
    return outcome.summary()


@task(task_run_name="report-{portfolio}", cache_policy=NO_CACHE, timeout_seconds=600)
def write_report(portfolio: str) -> str:
    """Write the account's HTML report and keep its figures as artifacts; return where it is."""
    outcome = report.report_account(worker_platform(), worker_actor(), portfolio)
    table = figures_table(outcome.figures)
    publish_table(f"performance-{portfolio}", table, "The account in figures")
    held = positions_table(outcome.holdings)
    publish_table(f"positions-{portfolio}", held, positions_sentence(outcome.holdings))
    publish_file(f"report-{portfolio}", outcome.path, "The report with its plots")
    return outcome.summary()
