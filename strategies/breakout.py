"""Breakout at a volatility target: buy new highs, the calmer the more."""

import math
from datetime import timedelta

import numpy as np
from pydantic import Field

from penstock.core.strategy import Matrix, Panel, Strategy, StrategyParams, signal

#: A relative difference that counts as a tie. Prices lie on ticks, so ties happen, and moving
#: averages round in their last digit.
_TIE = 1e-9


class Breakout(Strategy):
    """Long a symbol for `hold_bars` bars after a new high, while it is above its channel's middle.

    A new high is a close above the highest high of the `channel_bars` bars before (Donchian's
    channel). The size of the holding aims at `target_volatility` per year:

    weight = exposure / n * min(1, target_volatility / volatility); n is the number of symbols with
    enough history, one whose newest bar is late included. Volatility is the standard deviation of
    `volatility_bars` log returns, per year by the bar length.

    Thesis: a new high shows demand that goes on, and a fixed amount of risk loses less in the wild
    times that end a trend. Sources: Brock, Lakonishok and LeBaron, Journal of Finance 47, 1992;
    Moreira and Muir, Journal of Finance 72, 2017.
    """

    name = "breakout"

    class Params(StrategyParams):
        channel_bars: int = Field(40, ge=10, le=120, description="bars of the channel")
        hold_bars: int = Field(20, ge=1, le=60, description="bars for which a new high counts")
        target_volatility: float = Field(
            0.4, ge=0.1, le=1.5, description="volatility per year that a whole share aims at"
        )
        volatility_bars: int = Field(30, ge=10, le=120, description="returns in the volatility")
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        p = self.params
        return max(p.channel_bars + p.hold_bars - 1, p.volatility_bars)

    def target_weights(self, panel: Panel) -> Matrix:
        p, channel = self.params, panel.donchian(self.params.channel_bars, skip=1)
        new_high = signal(panel.close > channel.upper * (1 + _TIE), channel.upper)
        held = panel.max(p.hold_bars, of=new_high) * (panel.close > channel.middle)
        per_year = math.sqrt(timedelta(days=365) / panel.timeframe.duration)
        volatility = panel.std(p.volatility_bars, of=panel.log_returns()) * per_year
        size = np.minimum(1, p.target_volatility / np.maximum(volatility, 1e-6))
        return held * size * (p.exposure / panel.count(held + size))
