"""One slot of one portfolio: the champions decide on fresh bars, execution carries the targets to the account."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from penstock.core.accounts import RebalanceStatus
from penstock.core.errors import PenstockError, PromotionError
from penstock.core.timeframes import Timeframe
from penstock.execution.rebalance import RebalanceInputs, rebalance
from penstock.execution.report import RebalanceReport
from penstock.portfolio.allocation import PortfolioTargets, StrategyTargets, allocate, portfolio_version
from penstock.portfolio.decision import VOLATILITY_BARS, decide_targets
from penstock.ports import LoadedModel
from penstock.settings import ModelAllocation
from penstock.wiring import Platform

#: Bars beyond the warm-up that a decision reads: a symbol with a few missing bars is still warm.
_SPARE_BARS = 5


def newest_slot(platform: Platform, portfolio: str) -> datetime:
    """Return the close of the newest bar that is closed by the venue's clock."""
    timeframe = platform.settings.portfolio(portfolio).timeframe
    return timeframe.floor(platform.clock.now())


def rebalance_slot(
    platform: Platform, portfolio: str, slot: datetime | None = None, however_late: bool = False
) -> RebalanceReport:
    """Bring the portfolio's account to its targets at `slot` (default: the newest), once.

    A slot that comes later than the portfolio's `max_lateness_minutes` is skipped unless `however_late`.
    Raises PromotionError where a model has no champion, StaleDataError where the slot's bars are not stored. What does not
    end as done is an alert.
    """
    chosen = slot or newest_slot(platform, portfolio)
    try:
        report = _rebalance(platform, portfolio, chosen, however_late)
    except PenstockError as error:
        platform.notifier.notify(f"{portfolio}: slot {chosen:%Y-%m-%d %H:%M} was not finished", str(error))
        raise
    lines = [f"{b.subject} is locked: {b.kind}: {b.detail}" for b in report.opened] + list(report.alerts)
    if report.status in (RebalanceStatus.FAILED, RebalanceStatus.SKIPPED) and not report.already_done:
        lines.insert(0, report.summary())
    if lines:
        platform.notifier.notify(f"{report.account}: {len(lines)} things to look at", "\n".join(lines))
    return report


def _rebalance(platform: Platform, portfolio: str, chosen: datetime, however_late: bool) -> RebalanceReport:
    allocations = platform.settings.portfolio(portfolio).models
    models = load_models(platform, portfolio)
    versions = {model.version.label: allocation.quota for model, allocation in zip(models, allocations, strict=True)}

    def decide(version: str) -> PortfolioTargets:
        pinned = models if version == portfolio_version(versions) else _pinned(platform, allocations, version)
        return decide_portfolio(platform, portfolio, chosen, pinned)

    inputs = RebalanceInputs(
        slot=chosen,
        portfolio_version=portfolio_version(versions),
        decide=decide,
        policy=platform.settings.portfolio(portfolio).rebalancing,
        limits=platform.settings.risk,
    )
    desk = platform.desk(portfolio)
    if however_late:
        desk = replace(desk, policy=desk.policy.model_copy(update={"max_lateness_seconds": math.inf}))
    return rebalance(desk, inputs)


def rows_table(report: RebalanceReport) -> pl.DataFrame:
    """Return the report's rows as a table: what, symbol, detail, state, reason (text)."""
    return pl.DataFrame(report.rows(), schema=dict.fromkeys(("what", "symbol", "detail", "state", "reason"), pl.String))


def load_models(platform: Platform, portfolio: str) -> list[LoadedModel]:
    """Return the registered versions that the portfolio's aliases point at.

    Raises PromotionError where there is none, or where one was researched on another exchange's bars: what passed the gate
    on the practice exchange must never trade a real one.
    """
    allocations = platform.settings.portfolio(portfolio).models
    return [_load(platform, allocation.name, allocation.alias) for allocation in allocations]


def _load(platform: Platform, name: str, alias_or_version: str) -> LoadedModel:
    model = platform.registry.load(name, alias_or_version)
    researched_on = model.version.tags.get("exchange", "")
    if researched_on != platform.exchange_name:
        raise PromotionError(
            f"{model.version.label} was researched on the bars of '{researched_on}' and this environment trades "
            f"'{platform.exchange_name}': ingest, research and promote here first"
        )
    return model


def decide_portfolio(platform: Platform, portfolio: str, slot: datetime, models: Sequence[LoadedModel]) -> PortfolioTargets:
    """Return the account's targets at `slot`: each model decides on a warm window of stored bars."""
    settings = platform.settings.portfolio(portfolio)
    return allocate(
        [
            _decide(platform, settings.timeframe, slot, model, allocation)
            for model, allocation in zip(models, settings.models, strict=True)
        ]
    )


def _decide(
    platform: Platform, timeframe: Timeframe, slot: datetime, model: LoadedModel, allocation: ModelAllocation
) -> StrategyTargets:
    return decide_targets(model, warm_bars(platform, timeframe, slot, model), timeframe, slot, allocation.quota)


def warm_bars(platform: Platform, timeframe: Timeframe, slot: datetime, model: LoadedModel) -> pl.DataFrame:
    """Return the stored bars that the model needs for its decision at `slot`."""
    start = slot - (max(model.strategy.warmup_bars, VOLATILITY_BARS) + 1 + _SPARE_BARS) * timeframe.duration
    symbols = platform.settings.universe.symbols_of(timeframe)
    return platform.bars.read_bars(platform.exchange_name, timeframe, symbols, start, slot)


def pinned_models(platform: Platform, portfolio: str, version: str) -> list[LoadedModel]:
    """Return the models of a portfolio version, whatever the aliases point at now."""
    return _pinned(platform, platform.settings.portfolio(portfolio).models, version)


def _pinned(platform: Platform, allocations: Sequence[ModelAllocation], version: str) -> list[LoadedModel]:
    """Return the versions that an interrupted slot was started with, though the aliases have moved since."""
    labels = [part.split("*")[0] for part in version.split("+")]
    by_name = dict(label.rsplit("/", 1) for label in labels)
    missing = [allocation.name for allocation in allocations if allocation.name not in by_name]
    if missing:
        raise PromotionError(
            f"the slot was started with {version}, which has no version of {', '.join(missing)}: "
            "finish it with the portfolio of configs/portfolio.yaml that it was started with"
        )
    return [_load(platform, allocation.name, by_name[allocation.name]) for allocation in allocations]
