"""Grid: hold more of a symbol the lower it stands in its band, in equal steps."""

import numpy as np
from pydantic import Field

from penstock.core.strategy import Matrix, Panel, Strategy, StrategyParams

#: A place this near to a line of the grid is on it: means round in their last digits.
_TIE = 1e-6


class Grid(Strategy):
    """Long a symbol by the number of grid lines that its close is under.

    The band is the mean of `band_bars` closes, and `band_width` standard deviations to both sides.
    It is cut into `levels` steps.

    place = (upper - close) / (upper - lower), within 0 and 1
    weight = exposure / n * floor(place * levels) / levels; n is the number of symbols with enough
    history, one whose newest bar is late included.

    Thesis: a price that goes sideways crosses the same lines again and again, and each crossing
    buys lower than the next one sells. Out of the band it is all cash, or all in: a long decline is
    what it loses by. Source: Taranto and Khan, Investment Management and Financial Innovations 17,
    2020, on the ruin of grid traders.
    """

    name = "grid"

    class Params(StrategyParams):
        band_bars: int = Field(
            60, ge=10, le=180, description="bars of the mean and the standard deviation"
        )
        band_width: float = Field(
            2.0, ge=1.0, le=4.0, description="standard deviations from the mean to either edge"
        )
        levels: int = Field(6, ge=2, le=20, description="steps between the edges")
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.band_bars - 1

    def target_weights(self, panel: Panel) -> Matrix:
        p, mean = self.params, panel.sma(self.params.band_bars)
        # A price that does not move is in the middle of its band.
        deviation = np.maximum(panel.std(p.band_bars), 1e-6 * mean)
        place = 0.5 - (panel.close - mean) / (2 * p.band_width * deviation)
        steps = np.floor(np.clip(place, 0, 1) * p.levels + _TIE)
        return steps / p.levels * (p.exposure / panel.count(place))
