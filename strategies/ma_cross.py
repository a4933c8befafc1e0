"""Trend: hold what trades above its own past."""

import polars as pl
from pydantic import Field

from penstock.core.strategy import Strategy, StrategyParams

#: Moving averages round in their last digit, and prices lie on ticks, so exact ties happen: this
#: much apart is a tie.
_TIE = 1e-9


class MovingAverageCross(Strategy):
    """Long a symbol while its fast moving average of closes is above its slow one, else cash.

    Thesis: crypto trends because news and leverage spread slowly; a crossover is late at both ends
    but stays out of the long declines. Each symbol that has enough history owns an equal share of
    the exposure, used or left in cash.
    """

    name = "ma_cross"

    class Params(StrategyParams):
        fast_bars: int = Field(20, ge=5, le=60, description="bars in the fast average")
        slow_ratio: float = Field(
            4.0, ge=1.5, le=8.0, description="the slow average has fast_bars * slow_ratio bars"
        )
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def slow_bars(self) -> int:
        """Bars in the slow average; always more than in the fast one."""
        return round(self.params.fast_bars * self.params.slow_ratio)

    @property
    def warmup_bars(self) -> int:
        return self.slow_bars - 1

    def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        close = pl.col("close")
        fast = close.rolling_mean(self.params.fast_bars).over("symbol")
        slow = close.rolling_mean(self.slow_bars).over("symbol")
        share = self.params.exposure / pl.col("trend").count().over("ts")
        return bars.select("symbol", "ts", trend=fast / slow - 1).select(
            "symbol", "ts", weight=(pl.col("trend") > _TIE).cast(pl.Float64) * share
        )
