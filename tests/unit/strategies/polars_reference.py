"""The shipped strategies in Polars, as they were before panels: the reference of the tests."""

from collections.abc import Callable
from typing import Any

import polars as pl

from penstock.core.late_bars import weights_across
from strategies.inverse_volatility import InverseVolatility
from strategies.ma_cross import MovingAverageCross
from strategies.mean_reversion import MeanReversion
from strategies.momentum import Momentum

TIE = 1e-9


def inverse_volatility(strategy: InverseVolatility, bars: pl.DataFrame) -> pl.DataFrame:
    p = strategy.params
    log_return = pl.col("close").log().diff()
    volatility = log_return.rolling_std(p.lookback_bars).over("symbol")
    inverse = 1 / volatility.clip(lower_bound=1e-6)
    share = p.exposure * pl.col("inverse") / pl.col("inverse").sum().over("ts")
    weight = share.clip(upper_bound=p.max_weight)
    return weights_across(bars.select("symbol", "ts", inverse=inverse), weight)


def ma_cross(strategy: MovingAverageCross, bars: pl.DataFrame) -> pl.DataFrame:
    p, close = strategy.params, pl.col("close")
    fast = close.rolling_mean(p.fast_bars).over("symbol")
    slow = close.rolling_mean(strategy.slow_bars).over("symbol")
    share = p.exposure / pl.col("trend").count().over("ts")
    weight = (pl.col("trend") > TIE).cast(pl.Float64) * share
    return weights_across(bars.select("symbol", "ts", trend=fast / slow - 1), weight)


def mean_reversion(strategy: MeanReversion, bars: pl.DataFrame) -> pl.DataFrame:
    p, close, change = strategy.params, pl.col("close"), pl.col("close").diff()
    mean, deviation = close.rolling_mean(p.band_bars), close.rolling_std(p.band_bars)
    gains = change.clip(lower_bound=0).rolling_mean(p.rsi_bars)
    moves = change.abs().rolling_mean(p.rsi_bars)
    below = close < (mean - p.band_width * deviation) * (1 - TIE)
    weak = 100 * gains < p.rsi_ceiling * moves * (1 - TIE)
    recently = (below.cast(pl.Float64) * weak.cast(pl.Float64)).rolling_max(p.hold_bars)
    held = recently * (close < mean * (1 - TIE)).cast(pl.Float64)
    share = p.exposure / pl.col("held").count().over("ts")
    scores = bars.select("symbol", "ts", held=held.over("symbol"))
    return weights_across(scores, pl.col("held") * share)


def momentum(strategy: Momentum, bars: pl.DataFrame) -> pl.DataFrame:
    p, close, score = strategy.params, pl.col("close"), pl.col("score")
    recent = close.shift(p.skip_bars).over("symbol")
    past = close.shift(p.skip_bars + p.lookback_bars).over("symbol")
    held = (score.count().over("ts") * p.top_fraction).ceil()
    rank = score.rank("ordinal", descending=True).over("ts")
    weight = ((rank <= held) & (score > 0)).cast(pl.Float64) * p.exposure / held
    return weights_across(bars.select("symbol", "ts", score=recent / past - 1), weight)


REFERENCE: dict[str, Callable[[Any, pl.DataFrame], pl.DataFrame]] = {
    each.__name__: each for each in (inverse_volatility, ma_cross, mean_reversion, momentum)
}
