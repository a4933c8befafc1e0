"""One slot: ingest the bars that just closed, decide, place. The minute service loops over slots, and so does the demo.

Slots that passed without a run are accounted for here, by the portfolio's `missed_slots`.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from penstock.core.accounts import RebalanceStatus
from penstock.core.bars import TS
from penstock.core.errors import PenstockError, StoreError, VenueError
from penstock.data.ingestion import ingest_universe
from penstock.execution.report import RebalanceReport
from penstock.execution.slots import SlotAccount, account_for_missed, record_failure
from penstock.pipeline.rebalance import load_models, newest_slot, rebalance_slot
from penstock.wiring import Platform

#: How long after a bar's close the venue is given to have it.
_SETTLE_SECONDS = 0.2


@dataclass(frozen=True)
class SlotOutcome:
    """What became of one slot. `lateness_seconds` is from the bar's close to the start of its work, by the venue's clock."""

    slot: datetime
    lateness_seconds: float
    duration_seconds: float
    new_bars: int
    report: RebalanceReport | None
    failure: str = ""

    @property
    def failed(self) -> bool:
        """Whether the slot did not end as it should: an error, another holder of the account, or a failed rebalance."""
        return self.report is None or self.report.status in (None, RebalanceStatus.FAILED)

    def line(self) -> str:
        """Return the slot in one line: slot, lateness, duration, bars, what happened."""
        text = f"failed: {self.failure}" if self.report is None else self.report.summary()
        return (
            f"slot {self.slot:%Y-%m-%d %H:%M}  late {self.lateness_seconds:5.2f} s  took {self.duration_seconds:5.2f} s  "
            f"{self.new_bars} bars  {text}"
        )


def wait_for_slot(platform: Platform, portfolio: str, after: datetime | None) -> datetime:
    """Wait for the next bar close after the slot `after` (default: after now) and return it.

    Where several slots have passed meanwhile the newest is returned: `slots_due` accounts for the ones between.
    """
    timeframe = platform.settings.portfolio(portfolio).timeframe
    now = platform.clock.now()
    due = (
        timeframe.floor(now)
        if after is not None and timeframe.floor(now) > after
        else timeframe.floor(now) + timeframe.duration
    )
    ready = due + timedelta(seconds=_SETTLE_SECONDS)
    if ready > now:
        platform.clock.sleep((ready - now).total_seconds())
    return due


def require_ready(platform: Platform, portfolio: str) -> None:
    """Raise what would make every slot fail: a wrong configuration, missing keys, or no champion."""
    platform.settings.universe.history(platform.settings.portfolio(portfolio).timeframe)
    load_models(platform, portfolio)
    platform.desk(portfolio)


def slots_due(platform: Platform, portfolio: str, newest: datetime) -> SlotAccount:
    """Account for the slots that passed without a run, and return those to run now, `newest` among them.

    Where database or venue cannot be reached, `newest` alone is due: the next call that reaches them accounts for the others.
    """
    settings = platform.settings.portfolio(portfolio)
    try:
        account = account_for_missed(platform.desk(portfolio), settings.timeframe, newest, settings.missed_slots)
    except (StoreError, VenueError) as error:
        platform.notifier.notify(f"{portfolio}: missed slots are not accounted for yet", str(error))
        return SlotAccount((newest,))
    missed = len(account.skipped) + account.together
    if missed:
        platform.notifier.notify(f"{portfolio}: {missed} slots were missed", account.summary())
    return account


def rebalance_due(platform: Platform, portfolio: str) -> list[RebalanceReport]:
    """Account for missed slots and rebalance those that are due, oldest first. Raises what a rebalance raises."""
    account = slots_due(platform, portfolio, newest_slot(platform, portfolio))
    return [rebalance_slot(platform, portfolio, slot, slot in account.late) for slot in account.to_run]


def slots_table(platform: Platform, portfolio: str, limit: int = 50) -> pl.DataFrame:
    """Return the newest slots with what became of them: slot, status, reason, version."""
    account = platform.environment.account_of(portfolio).name
    rows = [
        (row.slot, row.status.value, row.reason, row.portfolio_version) for row in platform.ledger.rebalances(account, limit)
    ]
    schema = pl.Schema({"slot": TS, "status": pl.String(), "reason": pl.String(), "version": pl.String()})
    return pl.DataFrame(rows, schema=schema, orient="row")


def trade_slot(platform: Platform, portfolio: str, slot: datetime, however_late: bool = False) -> SlotOutcome:
    """Ingest the closed bar of every symbol and rebalance; a failure is an outcome, so that the service goes on.

    A slot that failed is marked FAILED with the reason: the service does not come back to it.
    """
    started = time.monotonic()
    lateness = (platform.clock.now() - slot).total_seconds()
    new_bars, report, failure = 0, None, ""
    try:
        new_bars = _ingest(platform, portfolio, slot)
        report = rebalance_slot(platform, portfolio, slot, however_late)
    except PenstockError as error:
        failure = str(error)
        with suppress(PenstockError):  # then the next slot's account says that it was missed
            record_failure(platform.desk(portfolio), slot, failure)
    return SlotOutcome(slot, lateness, time.monotonic() - started, new_bars, report, failure)


def _ingest(platform: Platform, portfolio: str, slot: datetime) -> int:
    universe, timeframe = platform.settings.universe, platform.settings.portfolio(portfolio).timeframe
    reports = ingest_universe(
        platform.market,
        platform.bars,
        platform.exchange_name,
        universe.symbols_of(timeframe),
        timeframe,
        universe.policy_of(timeframe),
        platform.quick_gate,
        now=slot,
        bounds=platform.settings.checks,
        register=False,
    )
    stopped = [f"{report.symbol}: {report.failure}" for report in reports if not report.ok]
    if stopped:
        platform.notifier.notify(f"Slot {slot:%Y-%m-%d %H:%M}: {len(stopped)} symbols have no fresh bar", "\n".join(stopped))
    return sum(report.new for report in reports)
