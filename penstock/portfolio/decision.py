"""A strategy's decision for one slot: the last row of the function that was backtested."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from penstock.core.errors import StaleDataError
from penstock.core.proposals import SeenBar
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.portfolio.allocation import StrategyTargets
from penstock.ports import LoadedModel

#: The number of returns in a symbol's volatility.
VOLATILITY_BARS = 20


def decide_targets(
    model: LoadedModel,
    bars: pl.DataFrame,
    timeframe: Timeframe,
    slot: datetime,
    quota: float = 1.0,
    *,
    symbols: Collection[str] = (),
) -> StrategyTargets:
    """Return the weights that `model` wants at `slot`, the close of the bar that it acts on.

    Of `bars` (BARS_SCHEMA), those that close after the slot are not used. A symbol without the
    slot's bar gets None: its position is kept. So does one of `symbols`, the universe, that has no
    bar at all: its bars are missing, it did not leave the universe. Raises StaleDataError where no
    symbol has the slot's bar, or no symbol has as many bars as the warm-up needs.
    """
    decided_bar = slot - timeframe.duration
    known = bars.sort("symbol", "ts")
    newest = _newest(known)
    if newest is not None and newest > decided_bar:
        known = known.filter(pl.col("ts") <= decided_bar)
        newest = _newest(known)
    if newest != decided_bar:
        raise StaleDataError(
            f"no {timeframe} bar closes at the slot {slot:%Y-%m-%d %H:%M} UTC: the newest "
            f"opens at {newest}; ingest bars first"
        )
    needed = model.strategy.warmup(timeframe) + 1
    longest = max(known["symbol"].value_counts()["count"].to_list())
    if longest < needed:
        raise StaleDataError(
            f"{model.version.label} needs {needed} bars up to the slot and no symbol has more "
            f"than {longest}: backfill first"
        )
    weights = model.strategy.decide(known, timeframe)
    is_decided = weights["ts"] == decided_bar
    columns = (weights[name].filter(is_decided).to_list() for name in ("symbol", "weight"))
    decided = dict(zip(*columns, strict=True))
    seen = seen_bars(known, timeframe)
    return StrategyTargets(
        model.version.label,
        quota,
        {symbol: decided.get(symbol) for symbol in sorted({*seen, *symbols})},
        seen,
    )


def _newest(bars: pl.DataFrame) -> datetime | None:
    """Return the open time of the newest bar; None where there is none."""
    found = bars["ts"].max()
    return found if isinstance(found, datetime) else None


def _volatility() -> pl.Expr:
    """Return the volatility of a symbol's newest returns per day; null where there are too few."""
    returns = pl.col("close").log().diff().tail(VOLATILITY_BARS)
    enough = pl.col("close").len() > VOLATILITY_BARS
    # Elapsed time: a return over a gap of ten bars is not one bar's.
    days = (pl.col("ts").last() - pl.col("ts").tail(VOLATILITY_BARS + 1).first()).dt
    a_day = (VOLATILITY_BARS * 86_400_000 / days.total_milliseconds()).sqrt()
    return pl.when(enough).then(returns.std() * a_day)


_VOLATILITY = _volatility()


def seen_bars(known: pl.DataFrame, timeframe: Timeframe) -> dict[str, SeenBar]:
    """Return the newest bar of each symbol in `known` (BARS_SCHEMA, sorted by symbol and ts)."""
    last = known.group_by("symbol").agg(
        pl.col("ts").last(), pl.col("close").last(), _VOLATILITY.alias("volatility")
    )
    rows = sorted(last.iter_rows())
    return {
        symbol: SeenBar(ts + timeframe.duration, close, volatility)
        for symbol, ts, close, volatility in rows
    }


def under_former_names(
    seen: Mapping[str, SeenBar], series: Mapping[str, Series]
) -> dict[str, SeenBar]:
    """Return the bars seen by symbol, also under the tickers that coins had before, in the units of
    then.

    >>> from datetime import UTC, datetime
    >>> bar = SeenBar(datetime(2022, 2, 1, tzinfo=UTC), close=0.002)
    >>> joined = Series("BTTC/USDT", formerly="BTT/USDT", units=1000)
    >>> under_former_names({"BTTC/USDT": bar}, {"BTTC/USDT": joined})["BTT/USDT"].close
    2.0
    """
    found = dict(seen)
    for name, bar in seen.items():
        symbol, close = name, bar.close
        while (each := series.get(symbol)) is not None and each.formerly is not None:
            symbol, close = each.formerly, close * each.units
            found.setdefault(symbol, replace(bar, close=close))
    return found
