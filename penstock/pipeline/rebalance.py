"""One slot of one portfolio: the champions decide on fresh bars, execution carries the targets to
the account.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from penstock.core.actors import Actor
from penstock.core.alerts import Alert
from penstock.core.errors import ConfigError, PenstockError, PromotionError, UnexpectedError
from penstock.core.log_ids import slot_ids
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.data.warm_bars import read_warm_bars
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.rebalance.slots import MOST_ROWS, record_failure
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import account_name, add_alerts, alert_failure, alerting
from penstock.pipeline.unexpected import ANYTHING, unexpected
from penstock.pipeline.use_case import use_case
from penstock.portfolio.allocation import (
    PortfolioTargets,
    StrategyTargets,
    allocate,
    portfolio_version,
    quotas_of,
)
from penstock.portfolio.decision import VOLATILITY_BARS, decide_targets, under_former_names
from penstock.ports import LoadedModel
from penstock.risk.limits import RiskLimits
from penstock.wiring import Platform


def newest_slot(platform: Platform, portfolio: str) -> datetime:
    """Return the close of the newest bar that is closed by the venue's clock."""
    timeframe = platform.settings.portfolio(portfolio).timeframe
    return timeframe.floor(platform.clock.now())


@use_case
def rebalance_slot(
    platform: Platform,
    actor: Actor,
    portfolio: str,
    slot: datetime | None = None,
    however_late: bool = False,
) -> RebalanceResult:
    """Bring the portfolio's account to its targets at `slot` (default: the newest), once.

    A slot that comes later than the portfolio's `max_lateness_minutes` is skipped unless
    `however_late`. Raises ConfigError where no bar of the portfolio closes at `slot`; nothing is
    kept of such a slot. Raises PromotionError where a model has no champion, and StaleDataError
    where the slot's bars are not stored. Such a slot may be run again while it is not too late.
    Raises UnexpectedError for anything that a strategy or a library raises: that slot ends as
    FAILED. A slot that does not end as done is an alert. The result's status is None where another
    process holds the account and has not ended the slot.
    """
    timeframe = platform.settings.portfolio(portfolio).timeframe
    chosen = timeframe.checked_close(slot) if slot else newest_slot(platform, portfolio)
    account = account_name(platform, portfolio)
    with slot_ids(account, chosen, platform.ids), alerting(platform, portfolio):
        return _rebalance_slot(platform, portfolio, chosen, however_late)


def _rebalance_slot(
    platform: Platform, portfolio: str, chosen: datetime, however_late: bool
) -> RebalanceResult:
    version: str | None = None
    try:
        inputs = _inputs(platform, portfolio, chosen)
        version = inputs.portfolio_version
        result = rebalance(_session(platform, portfolio, however_late), inputs)
    except PenstockError as error:
        leave_unfinished(platform, portfolio, chosen, error, version, however_late)
        raise
    except ANYTHING as error:
        failure = unexpected(error)
        leave_unfinished(platform, portfolio, chosen, failure, version, however_late)
        raise failure from error
    if result.status is None:
        return _left_to_another(platform, portfolio, result)
    if result.alerts and not result.alerted:  # it had ended before: only the way there is new
        title = f"slot {chosen:%Y-%m-%d %H:%M}"
        add_alerts(platform, portfolio, *(Alert(title, line) for line in result.alerts))
    return result


def leave_unfinished(
    platform: Platform,
    portfolio: str,
    slot: datetime,
    error: PenstockError,
    version: str | None = None,
    however_late: bool = False,
) -> None:
    """Alert that a slot's run raised, and keep the reason with the slot. Where it cannot be kept,
    only the alert has it.

    What is unexpected would be raised again by the same bars: the slot ends as FAILED. So does one
    that is too late to be run again, unless it is traded `however_late`.
    """
    alert_failure(platform, portfolio, f"slot {slot:%Y-%m-%d %H:%M}", error)
    timeframe = platform.settings.portfolio(portfolio).timeframe
    try:
        record_failure(
            _session(platform, portfolio, however_late),
            timeframe,
            slot,
            str(error),
            version,
            for_good=isinstance(error, UnexpectedError),
        )
    except PenstockError:
        pass  # then the next slot's account says that it was missed or interrupted
    except ANYTHING as second:
        unexpected(second)


def _left_to_another(
    platform: Platform, portfolio: str, result: RebalanceResult
) -> RebalanceResult:
    """Return the result of a slot whose account another process held. Where that one has not ended
    the slot, alert that it is open.
    """
    rows = platform.ledger.rebalances(result.account, limit=MOST_ROWS)
    row = next((each for each in rows if each.slot == result.slot), None)
    if row is not None and row.status is not RebalanceStatus.RUNNING:
        reason = (
            f"another process ended it as {row.status}{f' ({row.reason})' if row.reason else ''}"
        )
        return replace(result, status=row.status, reason=reason, already_done=True)
    stands = (
        "the slot is not on record yet"
        if row is None
        else "the slot is running there or was interrupted"
    )
    left = replace(
        result, reason=f"{result.reason}; {stands}, run it again once the account is free"
    )
    add_alerts(
        platform,
        portfolio,
        Alert(f"slot {result.slot:%Y-%m-%d %H:%M} was not traded by this run", left.reason),
    )
    return left


@dataclass(frozen=True)
class DecidingModel:
    """A version that decides on its part of an account."""

    model: LoadedModel
    """The version."""
    quota: float
    """The fraction of the account's equity that it may use."""


def _inputs(platform: Platform, portfolio: str, chosen: datetime) -> RebalanceInputs:
    models = load_models(platform, portfolio)
    present = portfolio_version({each.model.version.label: each.quota for each in models})

    def decide(version: str) -> PortfolioTargets:
        pinned = models if version == present else pinned_models(platform, version)
        return decide_portfolio(platform, portfolio, chosen, pinned)

    return RebalanceInputs(
        slot=chosen,
        portfolio_version=present,
        decide=decide,
        policy=platform.settings.portfolio(portfolio).rebalancing,
        limits=listed_limits(platform),
        timeframe=platform.settings.portfolio(portfolio).timeframe,
    )


def listed_limits(platform: Platform) -> RiskLimits:
    """Return the limits of configs/risk.yaml.

    Raises ConfigError where one is for a symbol that is neither in the universe nor listed by the
    market: it would bind nothing. The market is asked only about symbols outside the universe.
    """
    limits = platform.settings.risk
    outside = sorted(set(limits.max_position) - set(platform.settings.universe.symbols))
    unlisted = sorted(set(outside) - platform.market.instruments().keys()) if outside else []
    if unlisted:
        raise ConfigError(
            f"configs/risk.yaml: max_position of {', '.join(unlisted)}: "
            f"{platform.environment.market.ccxt_id} lists no such symbol and the universe has "
            "none; symbols are written like BTC/USDT"
        )
    return limits


def _session(platform: Platform, portfolio: str, however_late: bool) -> AccountSession:
    session = platform.session(portfolio)
    if not however_late:
        return session
    return replace(
        session, policy=session.policy.model_copy(update={"max_lateness_seconds": math.inf})
    )


def load_models(platform: Platform, portfolio: str) -> list[DecidingModel]:
    """Return the registered versions that the portfolio's aliases point at, with their quotas.

    Raises PromotionError where there is none, or where one was researched on another exchange's
    bars. A version that passed the gate on the practice exchange must never trade a real one.
    """
    allocations = platform.settings.portfolio(portfolio).models
    return [
        DecidingModel(_load(platform, allocation.name, allocation.alias), allocation.quota)
        for allocation in allocations
    ]


def _load(platform: Platform, name: str, alias_or_version: str) -> LoadedModel:
    model = platform.registry.load(name, alias_or_version)
    researched_on = model.version.tags.get("exchange", "")
    if researched_on != platform.exchange_name:
        raise PromotionError(
            f"{model.version.label} was researched on the bars of '{researched_on}' and this "
            f"environment trades '{platform.exchange_name}': ingest, research and promote here "
            "first"
        )
    return model


def decide_portfolio(
    platform: Platform, portfolio: str, slot: datetime, models: Sequence[DecidingModel]
) -> PortfolioTargets:
    """Return the account's targets at `slot`: each model decides on a warm window of bars."""
    settings = platform.settings.portfolio(portfolio)
    targets = allocate([_decide(platform, settings.timeframe, slot, each) for each in models])
    # A coin with a new name may still be held under the old one: its price is known there too.
    seen = under_former_names(targets.seen, platform.settings.universe.series)
    return replace(targets, seen=seen)


def _decide(
    platform: Platform, timeframe: Timeframe, slot: datetime, deciding: DecidingModel
) -> StrategyTargets:
    return decide_targets(
        deciding.model,
        warm_bars(platform, timeframe, slot, deciding.model),
        timeframe,
        slot,
        deciding.quota,
        symbols=platform.settings.universe.symbols_of(timeframe, slot),
    )


def warm_bars(
    platform: Platform, timeframe: Timeframe, slot: datetime, model: LoadedModel
) -> pl.DataFrame:
    """Return the stored bars that the model needs for its decision at `slot`."""
    rows = max(model.strategy.warmup(timeframe), VOLATILITY_BARS) + 1
    symbols = platform.settings.universe.symbols_of(timeframe, slot)
    return stored_warm_bars(platform, timeframe, symbols, rows, slot)


def stored_warm_bars(
    platform: Platform, timeframe: Timeframe, symbols: Sequence[str], rows: int, until: datetime
) -> pl.DataFrame:
    """Return the stored bars before `until`, `rows` of each symbol: see read_warm_bars."""
    oldest = platform.settings.universe.history(timeframe).start_at
    return read_warm_bars(
        platform.bars, platform.exchange_name, timeframe, symbols, rows, until, oldest
    )


def pinned_models(platform: Platform, version: str) -> list[DecidingModel]:
    """Return the models and quotas of a portfolio version, whatever the aliases point at and the
    configuration says now.
    """
    return [
        DecidingModel(_load(platform, name, number), quota)
        for (name, _, number), quota in (
            (label.rpartition("/"), quota) for label, quota in quotas_of(version).items()
        )
    ]
