"""Cross-sectional momentum: hold the symbols with the highest past return."""

import numpy as np
from pydantic import Field

from penstock.core.panel import Panel
from penstock.core.strategy import Matrix, Strategy, StrategyParams, signal


class Momentum(Strategy):
    """Long the symbols with the highest past return, in equal parts, where that return is positive.

    score = close[t - skip] / close[t - skip - lookback] - 1. The best ceil(n * top_fraction) of n
    ranked symbols are held. The part of one with a negative score stays in cash.

    Thesis: relative strength persists over weeks, and the newest bars are skipped because the
    shortest moves revert. Sources: Jegadeesh and Titman, Journal of Finance 48, 1993; for coins
    Liu, Tsyvinski and Wu, Journal of Finance 77, 2022.
    """

    name = "momentum"

    class Params(StrategyParams):
        lookback_bars: int = Field(
            60, ge=5, le=180, description="bars over which the return is measured"
        )
        skip_bars: int = Field(1, ge=0, le=5, description="newest bars left out of the return")
        top_fraction: float = Field(
            0.3, ge=0.1, le=0.6, description="fraction of the ranked symbols that is held"
        )
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.lookback_bars + self.params.skip_bars

    def target_weights(self, panel: Panel) -> Matrix:
        score = panel.momentum(self.params.lookback_bars, skip=self.params.skip_bars)
        held = np.ceil(panel.count(score) * self.params.top_fraction)
        best = (panel.rank(score) <= held) & (score > 0)
        return signal(best, score) * (self.params.exposure / held)
