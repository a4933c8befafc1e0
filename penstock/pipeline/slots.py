"""One slot: ingest the bars that just closed, decide, place. The minute service loops over slots, and so does the demo."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.core.accounts import RebalanceStatus
from penstock.core.errors import PenstockError
from penstock.data.ingestion import ingest_universe
from penstock.execution.report import RebalanceReport
from penstock.pipeline.rebalance import load_models, rebalance_slot
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

    Where several slots have passed meanwhile the newest is returned: the ones between are too late to trade.
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


def trade_slot(platform: Platform, portfolio: str, slot: datetime) -> SlotOutcome:
    """Ingest the closed bar of every symbol and rebalance; a failure is an outcome, so that the service goes on."""
    started = time.monotonic()
    lateness = (platform.clock.now() - slot).total_seconds()
    new_bars, report, failure = 0, None, ""
    try:
        new_bars = _ingest(platform, portfolio, slot)
        report = rebalance_slot(platform, portfolio, slot)
    except PenstockError as error:
        failure = str(error)
        platform.notifier.notify(f"{portfolio}: slot {slot:%Y-%m-%d %H:%M} failed", str(error))
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
