"""Live equity against the backtest of the same decisions on the same bars, and what explains the
difference.

Three accounts start with the same cash and follow the same targets. The backtest trades fractions
of units. The replay sends the targets through the live planner with the venue's lots and fees. Live
is what the ledger says. All are marked at the close of the bar that begins at each slot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from penstock.core.accounting import changes_of
from penstock.core.bars import wide
from penstock.core.doubts import DoubtedBar, known_then
from penstock.core.errors import DataError
from penstock.core.instruments import spot_symbol
from penstock.core.timeframes import Timeframe
from penstock.execution.orders.cancel import FLATTEN_VERSION
from penstock.execution.reconciliation.reconcile import OPENING_BALANCE
from penstock.monitoring.drift import DriftReport, explain_difference
from penstock.pipeline.rebalance import DecidingModel, pinned_models, stored_warm_bars
from penstock.portfolio.allocation import PortfolioTargets, allocate
from penstock.portfolio.decision import VOLATILITY_BARS, decide_targets
from penstock.research.engine.backtest import backtest
from penstock.research.journal import NoLook
from penstock.simulation.fill_model import FillModel
from penstock.simulation.replay import replay
from penstock.wiring import Platform

#: The most slots that are compared: 69 days of minutes.
MOST_SLOTS = 100_000


@dataclass(frozen=True)
class Period:
    """The slots that are compared, oldest first, and the cash that the account began with (quote
    units).
    """

    slots: tuple[datetime, ...]
    cash: Decimal


def compare_with_backtest(platform: Platform, portfolio: str, period: Period) -> DriftReport:
    """Return live, replay and backtest equity over the period, each slot decided by the versions
    and quotas that traded it.

    Raises DataError where no slot's bar is stored yet.
    """
    settings = platform.settings.portfolio(portfolio)
    versions = versions_of(platform, portfolio)
    models = {version: pinned_models(platform, version) for version in set(versions.values())}
    warmup = max(
        each.model.strategy.warmup(settings.timeframe)
        for loaded in models.values()
        for each in loaded
    )
    bars = _bars(platform, settings.timeframe, period, warmup)
    doubts = platform.bars.read_doubts(
        platform.exchange_name,
        settings.timeframe,
        platform.settings.universe.symbols_of(settings.timeframe),
    )
    decided = decisions(
        platform, portfolio, bars, {slot: models[versions[slot]] for slot in period.slots}, doubts
    )
    weights = {slot: targets.weights for slot, targets in decided.items()}
    closes = _closes(bars, period.slots)
    if closes.is_empty():
        raise DataError(
            "no bar that follows a slot is stored yet: compare once one has closed and is ingested"
        )
    replayed = _replayed(platform, portfolio, bars, decided, period, doubts)
    return explain_difference(
        live=_marked(
            live_balances(platform, portfolio, period.slots, settings.timeframe),
            closes,
            platform.settings.universe.quote,
        ),
        replay=_marked(replayed, closes, platform.settings.universe.quote),
        backtest=_simulated(platform, portfolio, bars, weights, period),
    )


def versions_of(platform: Platform, portfolio: str) -> dict[datetime, str]:
    """Return the portfolio version that traded each slot that is done.

    Raises DataError where the account has more than MOST_SLOTS slots: the replay begins with the
    first, and would take hours.
    """
    account = platform.environment.account_of(portfolio).name
    found = platform.ledger.rebalances(account, limit=MOST_SLOTS + 1)
    if len(found) > MOST_SLOTS:
        raise DataError(
            f"{account} has more than {MOST_SLOTS:,} slots: live is compared with the backtest "
            "over at most so many, from the first"
        )
    return {
        rebalance.slot: rebalance.portfolio_version
        for rebalance in found
        if rebalance.status == "done" and rebalance.portfolio_version != FLATTEN_VERSION
    }


def decisions(
    platform: Platform,
    portfolio: str,
    bars: pl.DataFrame,
    models: Mapping[datetime, Sequence[DecidingModel]],
    doubts: Sequence[DoubtedBar] = (),
) -> dict[datetime, PortfolioTargets]:
    """Return the account's targets by slot, decided by each slot's models as live decides: on the
    bars known then.
    """
    settings = platform.settings.portfolio(portfolio)
    return {
        slot: allocate(
            [
                decide_targets(
                    each.model,
                    known_then(bars, doubts, settings.timeframe, slot),
                    settings.timeframe,
                    slot,
                    each.quota,
                    symbols=platform.settings.universe.symbols_of(settings.timeframe, slot),
                )
                for each in deciding
            ]
        )
        for slot, deciding in models.items()
    }


def live_balances(
    platform: Platform, portfolio: str, slots: Sequence[datetime], timeframe: Timeframe
) -> dict[datetime, dict[str, Decimal]]:
    """Return what the account held after each slot by the ledger: opening balances plus every fill
    until the next slot.
    """
    account = platform.environment.account_of(portfolio).name
    held = dict(platform.ledger.balances(account))
    fills = sorted(platform.ledger.fills(account), key=lambda fill: fill.at, reverse=True)
    by_slot: dict[datetime, dict[str, Decimal]] = {}
    for slot in sorted(slots, reverse=True):
        while fills and fills[0].at >= slot + timeframe.duration:
            for asset, change in changes_of(fills.pop(0)).items():
                held[asset] = held.get(asset, Decimal(0)) - change
        by_slot[slot] = dict(held)
    return by_slot


def _bars(
    platform: Platform, timeframe: Timeframe, period: Period, warmup_bars: int
) -> pl.DataFrame:
    symbols = platform.settings.universe.symbols_of(timeframe)
    first, end = period.slots[0], period.slots[-1] + timeframe.duration
    rows = max(warmup_bars, VOLATILITY_BARS) + 1
    before = stored_warm_bars(platform, timeframe, symbols, rows, first)
    traded = platform.bars.read_bars(platform.exchange_name, timeframe, symbols, first, end)
    return pl.concat([before, traded]).sort("symbol", "ts")


def _closes(bars: pl.DataFrame, slots: Sequence[datetime]) -> pl.DataFrame:
    """Return one row per slot whose bar is stored: ts and each symbol's close. Without a bar it is
    the last known close.
    """
    table = wide(bars, "close")
    filled = table.with_columns(pl.exclude("ts").fill_null(strategy="forward"))
    return filled.filter(pl.col("ts").is_in(list(slots)))


def _marked(
    balances: Mapping[datetime, Mapping[str, Decimal]], closes: pl.DataFrame, quote: str
) -> pl.DataFrame:
    """Return ts and equity: what the balances were worth at the close of each slot's bar."""
    rows = []
    for row in closes.iter_rows(named=True):
        held = balances.get(row["ts"])
        if held is not None:
            worth = sum(
                float(units) * close
                for asset, units in held.items()
                if (close := row.get(spot_symbol(asset, quote)))
            )
            rows.append((row["ts"], float(held.get(quote, Decimal(0))) + worth))
    return pl.DataFrame(
        rows, schema={"ts": closes.schema["ts"], "equity": pl.Float64}, orient="row"
    )


def _replayed(
    platform: Platform,
    portfolio: str,
    bars: pl.DataFrame,
    decided: Mapping[datetime, PortfolioTargets],
    period: Period,
    doubts: Sequence[DoubtedBar],
) -> dict[datetime, Mapping[str, Decimal]]:
    timeframe = platform.settings.portfolio(portfolio).timeframe
    done = replay(
        bars,
        {slot: targets.weights for slot, targets in decided.items()},
        platform.settings.portfolio(portfolio).rebalancing,
        platform.exchange(portfolio).instruments(),
        period.cash,
        FillModel.of(platform.settings.costs),
        platform.settings.risk,
        decided,
        {(each.symbol, each.ts): each.known_slot(timeframe) for each in doubts},
    )
    return {row.slot: row.balances for row in done.rows}


def _simulated(
    platform: Platform,
    portfolio: str,
    bars: pl.DataFrame,
    weights: Mapping[datetime, Mapping[str, float | None]],
    period: Period,
) -> pl.DataFrame:
    """Return the backtest's equity with the same decisions: a weight of slot t is decided by the
    bar before it.
    """
    timeframe = platform.settings.portfolio(portfolio).timeframe
    first = period.slots[0] - timeframe.duration
    keys = bars.filter(pl.col("ts") >= first).select("symbol", "ts")
    decided = [
        (symbol, slot - timeframe.duration, weight)
        for slot, targets in weights.items()
        for symbol, weight in targets.items()
    ]
    table = pl.DataFrame(
        decided,
        schema={"symbol": pl.String, "ts": keys.schema["ts"], "weight": pl.Float64},
        orient="row",
    )
    joined = keys.join(table, on=["symbol", "ts"], how="left")
    used = bars.filter(pl.col("ts") >= first)
    symbols = platform.settings.universe.symbols_of(timeframe)
    result = backtest(
        used,
        joined,
        platform.settings.costs,
        float(period.cash),
        timeframe=timeframe,
        joins=platform.bars.read_joins(platform.exchange_name, symbols),
        journal=NoLook.NO_CHOICE,
    )
    return result.equity


def traded_period(platform: Platform, portfolio: str) -> Period:
    """Return the slots that the account has traded and the cash it began with.

    Raises DataError where there is none, where the account began with coins, or where anything but
    trades has changed it.
    """
    account = platform.environment.account_of(portfolio).name
    slots = sorted(versions_of(platform, portfolio))
    if not slots:
        raise DataError(f"{account} has traded no slot yet")
    if platform.ledger_history.moved_from_outside(account, OPENING_BALANCE):
        raise DataError(
            f"{account} has had deposits, withdrawals or accepted breaks: its equity is not its "
            "trades' alone"
        )
    timeframe = platform.settings.portfolio(portfolio).timeframe
    (before,) = live_balances(
        platform, portfolio, [slots[0] - timeframe.duration - timedelta(microseconds=1)], timeframe
    ).values()
    quote = platform.settings.universe.quote
    coins = sorted(asset for asset, held in before.items() if held and asset != quote)
    if coins:
        raise DataError(f"{account} began with {', '.join(coins)} besides {quote}")
    return Period(tuple(slots), before.get(quote, Decimal(0)))
