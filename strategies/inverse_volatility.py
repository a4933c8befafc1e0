"""Allocation: hold every symbol, in inverse proportion to its volatility."""

import numpy as np
from pydantic import Field

from penstock.core.panel import Panel
from penstock.core.strategy import Matrix, Strategy, StrategyParams


class InverseVolatility(Strategy):
    """Long every symbol, weighted by the inverse of its recent volatility.

    weight = exposure * (1 / volatility) / sum over symbols of (1 / volatility), at most max_weight.
    Volatility is the standard deviation of log returns. What the cap cuts off stays in cash.

    Thesis: risk is easier to forecast than return, and equal risk diversifies better than equal
    money. Source: Maillard, Roncalli and Teiletche, Journal of Portfolio Management 36, 2010. With
    equal correlations their risk parity is this formula.
    """

    name = "inverse_volatility"

    class Params(StrategyParams):
        lookback_bars: int = Field(
            30, ge=10, le=120, description="bar returns in the standard deviation"
        )
        max_weight: float = Field(
            0.4, ge=0.1, le=1.0, description="the largest weight of one symbol"
        )
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.lookback_bars

    def target_weights(self, panel: Panel) -> Matrix:
        volatility = panel.std(self.params.lookback_bars, of=panel.log_returns())
        # A price that did not move has no measurable risk: the floor keeps its weight finite.
        inverse = 1 / np.maximum(volatility, 1e-6)
        share = self.params.exposure * inverse / panel.total(inverse)
        return np.minimum(share, self.params.max_weight)
