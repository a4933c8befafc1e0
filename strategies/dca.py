"""Dollar-cost averaging: buy what is cheap in equal parts, one part at each bar."""

from pydantic import Field

from penstock.core.strategy import Matrix, Panel, Strategy, StrategyParams, signal

#: A relative difference that counts as a tie. Prices lie on ticks, so ties happen, and moving
#: averages round in their last digit.
_TIE = 1e-9


class DollarCostAveraging(Strategy):
    """Long a symbol by the number of the last `parts` bars at whose close it was cheap.

    Cheap is a close more than `discount` under the mean of `mean_bars` closes. Each such bar buys
    one part, and each part is held for `parts` bars.

    weight = exposure / n * (cheap bars of the last `parts`) / parts; n is the number of symbols
    with enough history, one whose newest bar is late included.

    Thesis: nobody knows the bottom. Equal parts, bought over a decline, pay its average price and
    depend on no single entry. Sources: Brennan, Li and Torous, Review of Finance 9, 2005; against
    it Constantinides, Journal of Financial and Quantitative Analysis 14, 1979: a fixed plan is
    never better than one that looks.
    """

    name = "dca"

    class Params(StrategyParams):
        mean_bars: int = Field(90, ge=20, le=250, description="bars of the mean")
        discount: float = Field(
            0.05, ge=0.0, le=0.3, description="how far under the mean a close is cheap"
        )
        parts: int = Field(
            20, ge=2, le=60, description="equal purchases, and the bars for which each is held"
        )
        exposure: float = Field(
            0.98, gt=0, le=1, description="fraction of equity shared out; the rest pays fees"
        )

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.mean_bars + self.params.parts - 2

    def target_weights(self, panel: Panel) -> Matrix:
        p, mean = self.params, panel.sma(self.params.mean_bars)
        cheap = signal(panel.close < mean * (1 - p.discount - _TIE), mean)
        bought = panel.sum(p.parts, of=cheap)
        return bought / p.parts * (p.exposure / panel.count(bought))
