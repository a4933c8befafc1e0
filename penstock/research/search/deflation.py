"""How much of a Sharpe ratio is luck, given how often somebody has looked."""

import math
from datetime import datetime, timedelta

from penstock.research.engine.metrics import deflated_sharpe
from penstock.research.engine.results import BacktestMetrics


def deflated(metrics: BacktestMetrics, first: datetime, last: datetime, tried: int) -> float:
    """Return the probability that a choice is better than the best of `tried` worthless ones.

    `first` and `last` are the open times of the first and last bar of the figures. The ratio of a
    worthless trial has the variance 1 / (returns - 1). Source: Lo, The statistics of Sharpe ratios,
    Financial Analysts Journal 58(4), 2002, equation 5 at zero. The paper on the deflated ratio
    takes the variance of the trials instead. That grows where strategies truly differ, and shrinks
    where the sampler has converged. It would punish a real edge and flatter a narrow search. For a
    curve that never moves it is 0.
    """
    if metrics.annual_volatility == 0:
        return 0.0
    returns = metrics.bars - 1
    per_bar = math.sqrt(returns * timedelta(days=365) / (last - first))
    return deflated_sharpe(
        metrics.sharpe / per_bar,
        returns,
        metrics.skewness,
        metrics.kurtosis,
        1 / max(returns - 1, 1),
        tried,
    )
