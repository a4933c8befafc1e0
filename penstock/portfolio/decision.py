"""A strategy's decision for one slot: the last row of the same function that was backtested, over a warm window."""

from datetime import datetime

import polars as pl

from penstock.core.drafts import SeenBar
from penstock.core.errors import StaleDataError
from penstock.core.timeframes import Timeframe
from penstock.portfolio.allocation import StrategyTargets
from penstock.ports import LoadedModel


def decide_targets(
    model: LoadedModel, bars: pl.DataFrame, timeframe: Timeframe, slot: datetime, quota: float = 1.0
) -> StrategyTargets:
    """Return the weights that `model` wants at `slot`, the close instant of the bar it acts on.

    `bars` (BARS_SCHEMA) are cut at the slot: bars that close later are not seen. A symbol without the slot's bar gets None
    (hold). Raises StaleDataError where no symbol has the slot's bar, or the window is shorter than the warm-up.
    """
    decided_bar = slot - timeframe.duration
    known = bars.filter(pl.col("ts") <= decided_bar).sort("symbol", "ts")
    newest = known.select(pl.col("ts").max()).item()
    if newest != decided_bar:
        raise StaleDataError(
            f"no {timeframe} bar closes at the slot {slot:%Y-%m-%d %H:%M} UTC: the newest opens at {newest}; ingest bars first"
        )
    needed = model.strategy.warmup_bars + 1
    longest = max(known.group_by("symbol").len()["len"].to_list())
    if longest < needed:
        raise StaleDataError(
            f"{model.version.label} needs {needed} bars up to the slot and no symbol has more than {longest}: backfill first"
        )
    weights = model.strategy.decide(known).filter(pl.col("ts") == decided_bar)
    decided = dict(zip(weights["symbol"].to_list(), weights["weight"].to_list(), strict=True))
    last = known.group_by("symbol").agg(pl.col("ts").last(), pl.col("close").last()).sort("symbol")
    seen = {symbol: SeenBar(ts + timeframe.duration, close) for symbol, ts, close in last.iter_rows()}
    return StrategyTargets(model.version.label, quota, {symbol: decided.get(symbol) for symbol in seen}, seen)
