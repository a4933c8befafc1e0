"""Composite: hold each symbol by how many of three views of it are good."""

from pydantic import Field

from penstock.core.strategy import Matrix, Panel, Strategy, StrategyParams, signal

#: A relative difference that counts as a tie. Prices lie on ticks, so ties happen, and moving
#: averages round in their last digit.
_TIE = 1e-9


class Composite(Strategy):
    """Long a symbol by the sum of three views, each worth a third.

    trend: the close is above the mean of `trend_bars` closes
    momentum: the return over `momentum_bars` is positive
    calm: the volatility of `calm_bars` returns is under that of four times as many

    weight = exposure / n * (trend + momentum + calm) / 3; n is the number of symbols with enough
    history, one whose newest bar is late included.

    Thesis: views that err at different times err less together. Sources: Timmermann, Forecast
    combinations, Handbook of Economic Forecasting 1, 2006; trend and momentum: Moskowitz, Ooi and
    Pedersen, Journal of Financial Economics 104, 2012; calm: Moreira and Muir, Journal of Finance
    72, 2017.
    """

    name = "composite"

    class Params(StrategyParams):
        trend_bars: int = Field(50, ge=10, le=200, description="bars of the mean")
        momentum_bars: int = Field(60, ge=5, le=180, description="bars of the return")
        calm_bars: int = Field(20, ge=10, le=60, description="returns in the shorter volatility")
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        p = self.params
        return max(p.trend_bars - 1, p.momentum_bars, 4 * p.calm_bars)

    def target_weights(self, panel: Panel) -> Matrix:
        p, returns = self.params, panel.log_returns()
        trend, momentum = panel.close / panel.sma(p.trend_bars) - 1, panel.returns(p.momentum_bars)
        short, long = panel.std(p.calm_bars, of=returns), panel.std(4 * p.calm_bars, of=returns)
        views = (
            signal(trend > _TIE, trend)
            + signal(momentum > 0, momentum)
            + signal(short < long * (1 - _TIE), short, long)
        )
        return views / 3 * (p.exposure / panel.count(views))
