"""Trend: hold the symbols whose fast moving average is above the slow one."""

from pydantic import Field

from penstock.core.panel import Panel
from penstock.core.strategy import Matrix, Strategy, StrategyParams, signal

#: A relative difference that counts as a tie. Prices lie on ticks, so ties happen, and moving
#: averages round in their last digit.
_TIE = 1e-9


class MovingAverageCross(Strategy):
    """Long a symbol while its fast moving average of closes is above its slow one, else cash.

    weight = exposure / n where mean(close, fast_bars) > mean(close, slow_bars), else 0; n is the
    number of symbols with enough history, one whose newest bar is late included. The share of a
    symbol that is not held stays in cash.

    Thesis: crypto trends, because news and leverage spread slowly. A crossover is late at both
    ends, but stays out of long declines.
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
        """The number of bars in the slow average, always more than in the fast one."""
        return round(self.params.fast_bars * self.params.slow_ratio)

    @property
    def warmup_bars(self) -> int:
        return self.slow_bars - 1

    def target_weights(self, panel: Panel) -> Matrix:
        trend = panel.sma(self.params.fast_bars) / panel.sma(self.slow_bars) - 1
        share = self.params.exposure / panel.count(trend)
        return signal(trend > _TIE, trend) * share
