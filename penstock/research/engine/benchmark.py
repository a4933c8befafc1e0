"""The naive benchmark that a strategy must beat: equal weights."""

import polars as pl

from penstock.core.late_bars import weights_across
from penstock.research.engine.backtest import run
from penstock.research.engine.costs import Costs
from penstock.research.engine.market import BarMatrices
from penstock.research.engine.results import BacktestResult


def equal_weights(
    market: BarMatrices, first: int, costs: Costs, initial_cash: float
) -> BacktestResult:
    """Return the naive benchmark: equal parts, 98% in all, of the symbols that have a bar.

    A symbol whose bar is late counts as well. It is rebalanced at each bar, from row `first` on.
    """
    bars = market.bars.select("symbol", "ts", score=pl.lit(1.0))
    weights = market.matrix(weights_across(bars, 0.98 / pl.len().over("ts")), "equal_weights")
    return run(market, weights, first, costs, initial_cash, name="equal_weights")
