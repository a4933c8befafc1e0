"""One slot: ingest the bars that just closed, decide, place. The minute service loops over slots,
and so does the demo.

Slots that passed without a run are accounted for here, by the portfolio's `missed_slots`.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.core.actors import Actor
from penstock.core.alerts import Alert
from penstock.core.clock import Clock
from penstock.core.errors import PenstockError, StoreError, VenueError
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import ingest_universe
from penstock.execution.algorithms import MarketStyle
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.slots import SlotAccount, account_for_missed, find_gaps
from penstock.indicators.warm_up import warm_up
from penstock.pipeline.alerts import add_alerts, send_alerts
from penstock.pipeline.rebalance import (
    leave_unfinished,
    listed_limits,
    load_models,
    newest_slot,
    rebalance_slot,
)
from penstock.pipeline.reconcile import reconcile_after_slot
from penstock.pipeline.unexpected import ANYTHING, unexpected
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform

#: How long after a bar's close the venue is given to have it.
_SETTLE_SECONDS = 0.2
#: How long to wait before a venue that did not tell the time is asked again.
_ASK_AGAIN_SECONDS = 5.0
#: How long a slot's run may take, besides the time for which its orders are worked.
_SLOT_SECONDS = 1800.0
_PHASES = 2


@dataclass(frozen=True)
class SlotOutcome:
    """What became of one slot."""

    slot: datetime
    """The bar close that it acted on."""
    lateness_seconds: float
    """From the bar's close to the start of the work, by the venue's clock; 0 where that did not
    answer."""
    duration_seconds: float
    """How long the work took, by the machine's clock."""
    new_bars: int
    """How many bars were ingested for it."""
    result: RebalanceResult | None
    """What the rebalance did; None where it raised."""
    failure: str = ""
    """What was raised, by the rebalance or by the comparison after it; "" where nothing was."""

    @property
    def failed(self) -> bool:
        """Whether the slot did not end as it should: an error, also of the comparison after it,
        another holder of the account, or a failed rebalance.
        """
        if self.result is None or self.failure:
            return True
        return self.result.status in (None, RebalanceStatus.FAILED)

    @property
    def skipped(self) -> bool:
        """Whether the slot was not traded, for a reason that is on record."""
        return self.result is not None and self.result.status is RebalanceStatus.SKIPPED

    def line(self) -> str:
        """Return the slot in one line: slot, lateness, duration, bars, what happened."""
        text = f"failed: {self.failure}" if self.result is None else self.result.summary()
        if self.result is not None and self.failure:
            text += f"; its fills were not compared: {self.failure}"
        return (
            f"slot {self.slot:%Y-%m-%d %H:%M}  late {self.lateness_seconds:5.2f} s  "
            f"took {self.duration_seconds:5.2f} s  {self.new_bars} bars  {text}"
        )


@use_case
def wait_for_slot(
    platform: Platform, actor: Actor, portfolio: str, after: datetime | None
) -> datetime:
    """Wait for the next bar close after the slot `after` (default: after now) and return it.

    Where several slots have passed meanwhile the newest is returned: `slots_due` accounts for the
    ones between. While the venue does not tell the time, it is asked again, and one alert says so.
    """
    timeframe = platform.settings.portfolio(portfolio).timeframe
    said = False
    while True:
        try:
            return _waited(platform.clock, timeframe, after)
        except VenueError as error:
            if not said:
                alert = Alert("no slot can begin: the venue does not tell the time", str(error))
                add_alerts(platform, portfolio, alert, wait_seconds=0)
            said = True
            platform.machine_clock.sleep(_ASK_AGAIN_SECONDS)


def _waited(clock: Clock, timeframe: Timeframe, after: datetime | None) -> datetime:
    now = clock.now()
    due = (
        timeframe.floor(now)
        if after is not None and timeframe.floor(now) > after
        else timeframe.floor(now) + timeframe.duration
    )
    ready = due + timedelta(seconds=_SETTLE_SECONDS)
    if ready > now:
        clock.sleep((ready - now).total_seconds())
    return due


@use_case
def require_ready(platform: Platform, actor: Actor, portfolio: str) -> None:
    """Raise what would make every slot fail: wrong configuration, missing keys, or no champion.

    Indicators are compiled here, not in the first slot.
    """
    platform.settings.universe.history(platform.settings.portfolio(portfolio).timeframe)
    listed_limits(platform)
    load_models(platform, portfolio)
    warm_up()
    platform.session(portfolio)


@use_case
def why_idle(platform: Platform, actor: Actor, portfolio: str) -> str:
    """Return why there is nothing to trade yet: no account in this environment, or an account that
    never had a slot and has no champion. Return "" where there is.

    Raises ConfigError for a portfolio that is not configured.
    """
    models = platform.settings.portfolio(portfolio).models
    account = platform.environment.accounts.get(portfolio)
    if account is None:
        return (
            f"environment '{platform.settings.process.env}' has no account for portfolio "
            f"'{portfolio}'"
        )
    if platform.ledger.rebalances(account.name, limit=1):
        return ""
    missing = [each for each in models if platform.registry.find(each.name, each.alias) is None]
    if not missing:
        return ""
    studies = " or ".join(platform.settings.studies_of(missing[0].name))
    return (
        f"'{missing[0].name}' has no {missing[0].alias} yet: research and promote the study "
        f"{studies or 'that registers it'} first"
    )


@use_case
def slots_due(platform: Platform, actor: Actor, portfolio: str, newest: datetime) -> SlotAccount:
    """Account for the slots that passed without a run, and return those to run now, `newest` among
    them.

    Where that cannot be done (database or venue cannot be reached, or anything unexpected is
    raised), `newest` alone is due, and an alert says so. The next call accounts for the others.
    """
    settings = platform.settings.portfolio(portfolio)
    try:
        account = account_for_missed(
            platform.session(portfolio), settings.timeframe, newest, settings.missed_slots
        )
    except (StoreError, VenueError) as error:
        return _only(platform, portfolio, newest, error)
    except ANYTHING as error:
        return _only(platform, portfolio, newest, unexpected(error))
    # their alert was committed with their first row
    send_alerts(platform, portfolio, wait_seconds=0)
    return account


def _only(
    platform: Platform, portfolio: str, newest: datetime, error: PenstockError
) -> SlotAccount:
    alert = Alert("missed slots are not accounted for yet", str(error))
    add_alerts(platform, portfolio, alert, wait_seconds=0)
    return SlotAccount((newest,))


@dataclass(frozen=True)
class DueSlot:
    """A slot to be run now."""

    slot: datetime
    """The bar close to act on."""
    however_late: bool
    """Whether it is run although the portfolio's `max_lateness_minutes` have passed."""
    seconds: float
    """How long its run may take before something is wrong with it."""


@use_case
def due_slots(
    platform: Platform, actor: Actor, portfolio: str, slot: datetime | None = None
) -> list[DueSlot]:
    """Account for missed slots and return those that are due, oldest first; with `slot` that one
    alone.

    Raises ConfigError where no bar of the portfolio closes at `slot`.
    """
    settings = platform.settings.portfolio(portfolio)
    worked = (
        0.0
        if isinstance(settings.execution, MarketStyle)
        else _PHASES * settings.execution.duration.total_seconds()
    )
    if slot is not None:
        return [DueSlot(settings.timeframe.checked_close(slot), False, _SLOT_SECONDS + worked)]
    account = slots_due(platform, actor, portfolio, newest_slot(platform, portfolio))
    return [DueSlot(each, each in account.late, _SLOT_SECONDS + worked) for each in account.to_run]


@dataclass(frozen=True)
class SlotRecord:
    """A slot and what became of it."""

    slot: datetime
    """The bar close."""
    status: RebalanceStatus | None
    """How it stands; None where no run has had it yet."""
    reason: str
    """Why it stands so; "" where there is nothing to say."""
    version: str = ""
    """The portfolio version; "" where no run has had it yet."""


@use_case
def traded_portfolios(platform: Platform, actor: Actor) -> tuple[str, ...]:
    """Return the portfolios of the environment whose account was ever traded from here."""
    return tuple(
        name
        for name, account in platform.environment.accounts.items()
        if platform.ledger.rebalances(account.name, limit=1)
    )


@use_case
def list_slots(
    platform: Platform, actor: Actor, portfolio: str, limit: int = 50
) -> tuple[SlotRecord, ...]:
    """Return the account's newest slots, newest first, those that no run has had among them."""
    account = platform.environment.account_of(portfolio).name
    kept = platform.ledger.rebalances(account, limit)
    rows = [SlotRecord(row.slot, row.status, row.reason, row.portfolio_version) for row in kept]
    with suppress(VenueError):  # without the venue's time no slot is known to be due
        newest = newest_slot(platform, portfolio)
        timeframe = platform.settings.portfolio(portfolio).timeframe
        reason = "no run has had it yet: the next run trades it or says why not"
        missing = find_gaps({row.slot for row in kept}, newest, timeframe, limit).missing
        rows += [SlotRecord(slot, None, reason) for slot in missing]
    return tuple(sorted(rows, key=lambda row: row.slot, reverse=True)[:limit])


@use_case
def trade_slot(
    platform: Platform,
    actor: Actor,
    portfolio: str,
    slot: datetime,
    however_late: bool = False,
) -> SlotOutcome:
    """Ingest the closed bar of every symbol and rebalance; a failure of any kind is an outcome, so
    that the service goes on.
    """
    started = platform.machine_clock.elapsed_seconds()
    lateness, new_bars, result, failure = 0.0, 0, None, ""
    try:
        lateness = _lateness(platform, slot)
        new_bars = _ingested(platform, portfolio, slot, however_late)
        result = rebalance_slot(platform, actor, portfolio, slot, however_late)
        if result.status is not None and not result.already_done:
            reconcile_after_slot(platform, actor, portfolio)
    except PenstockError as error:
        failure = str(error)
    except ANYTHING as error:
        failure = str(unexpected(error))
        alert = Alert(f"slot {slot:%Y-%m-%d %H:%M} was not finished", failure)
        add_alerts(platform, portfolio, alert)
    duration = platform.machine_clock.elapsed_seconds() - started
    return SlotOutcome(slot, lateness, duration, new_bars, result, failure)


def _lateness(platform: Platform, slot: datetime) -> float:
    """Return how many seconds the slot is past; 0 where the venue does not tell the time.

    Then the slot's run asks again, and says so.
    """
    try:
        return (platform.clock.now() - slot).total_seconds()
    except VenueError:
        return 0.0


def _ingested(platform: Platform, portfolio: str, slot: datetime, however_late: bool) -> int:
    try:
        return _ingest(platform, portfolio, slot)
    except PenstockError as error:
        leave_unfinished(platform, portfolio, slot, error, however_late=however_late)
        raise
    except ANYTHING as error:
        failure = unexpected(error)
        leave_unfinished(platform, portfolio, slot, failure, however_late=however_late)
        raise failure from error


def _ingest(platform: Platform, portfolio: str, slot: datetime) -> int:
    universe, timeframe = (
        platform.settings.universe,
        platform.settings.portfolio(portfolio).timeframe,
    )
    reports = ingest_universe(
        platform.ingest_market,
        platform.bars,
        platform.exchange_name,
        universe.symbols_of(timeframe, slot),
        timeframe,
        universe.policy_of(timeframe),
        platform.quick_gate,
        now=slot,
        bounds=platform.settings.checks,
        register=False,
        series=universe.series,
        clock=platform.machine_clock,
        runner=platform.runner,
    )
    stopped = [f"{report.symbol}: {report.failure}" for report in reports if not report.ok]
    if stopped:
        title = f"slot {slot:%Y-%m-%d %H:%M}: {len(stopped)} symbols have no fresh bar"
        add_alerts(platform, portfolio, Alert(title, "\n".join(stopped)), wait_seconds=0)
    return sum(report.new for report in reports)
