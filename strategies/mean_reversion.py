"""Mean reversion: buy what has fallen too far, sell at the return to the mean."""

import polars as pl
from pydantic import Field

from penstock.core.late_bars import weights_across
from penstock.core.strategy import Strategy, StrategyParams

#: A relative difference that counts as a tie. Prices lie on ticks, so ties happen, and moving
#: averages round in their last digit.
_TIE = 1e-9


class MeanReversion(Strategy):
    """Long a symbol that was oversold within the last `hold_bars` bars, until its close is back at
    its mean.

    A bar is oversold where two conditions hold. The close is under the lower Bollinger band: the
    mean less `band_width` standard deviations. The relative strength index is under `rsi_ceiling`.
    The index is Cutler's, with simple averages. Wilder's depends on all earlier bars, and a
    decision must depend on a bounded number of bars.

    Thesis: forced selling overshoots, and the price recovers within days. The time limit is the
    stop.
    """

    name = "mean_reversion"

    class Params(StrategyParams):
        band_bars: int = Field(
            20, ge=10, le=60, description="bars of the mean and the standard deviation"
        )
        band_width: float = Field(
            2.0, ge=1.0, le=3.0, description="standard deviations from the mean to the band"
        )
        rsi_bars: int = Field(14, ge=5, le=30, description="bars of the relative strength index")
        rsi_ceiling: float = Field(
            35.0, ge=20.0, le=50.0, description="oversold only under this index (0-100)"
        )
        hold_bars: int = Field(
            5, ge=1, le=15, description="bars for which an oversold bar counts, its own included"
        )
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        return max(self.params.band_bars - 1, self.params.rsi_bars) + self.params.hold_bars - 1

    def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        p, close, change = self.params, pl.col("close"), pl.col("close").diff()
        mean, deviation = close.rolling_mean(p.band_bars), close.rolling_std(p.band_bars)
        # gains / moves is the index. Without the division a flat market (0 / 0) is not oversold.
        gains = change.clip(lower_bound=0).rolling_mean(p.rsi_bars)
        moves = change.abs().rolling_mean(p.rsi_bars)
        below = close < (mean - p.band_width * deviation) * (1 - _TIE)
        weak = 100 * gains < p.rsi_ceiling * moves * (1 - _TIE)
        # Products of 0 and 1: `False and null` would be a decision before the warm-up is over.
        recently = (below.cast(pl.Float64) * weak.cast(pl.Float64)).rolling_max(p.hold_bars)
        held = recently * (close < mean * (1 - _TIE)).cast(pl.Float64)
        share = p.exposure / pl.col("held").count().over("ts")
        scores = bars.select("symbol", "ts", held=held.over("symbol"))
        return weights_across(scores, pl.col("held") * share)
