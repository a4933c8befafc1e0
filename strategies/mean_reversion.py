"""Mean reversion: buy what has fallen too far, sell at the return to the mean."""

from pydantic import Field

from penstock.core.panel import Panel
from penstock.core.strategy import Matrix, Strategy, StrategyParams, signal

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

    def target_weights(self, panel: Panel) -> Matrix:
        p, close = self.params, panel.close
        band, rsi = panel.bollinger(p.band_bars, p.band_width), panel.rsi(p.rsi_bars)
        below = close < band.lower * (1 - _TIE)
        weak = rsi < p.rsi_ceiling * (1 - _TIE)
        recently = panel.max(p.hold_bars, of=signal(below & weak, band.lower, rsi))
        held = recently * (close < band.middle * (1 - _TIE))
        return held * (p.exposure / panel.count(held))
