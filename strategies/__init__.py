"""The shipped strategies, one file each, and the table from names to classes.

A strategy file imports only penstock.core, NumPy, Polars, Pydantic and the standard library. Its
source is kept in the model registry and is loaded from there.
"""

from penstock.core.errors import StrategyError
from penstock.core.strategy import Strategy
from strategies.breakout import Breakout
from strategies.composite import Composite
from strategies.dca import DollarCostAveraging
from strategies.grid import Grid
from strategies.inverse_volatility import InverseVolatility
from strategies.ma_cross import MovingAverageCross
from strategies.mean_reversion import MeanReversion
from strategies.momentum import Momentum

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (
        MovingAverageCross,
        Momentum,
        MeanReversion,
        InverseVolatility,
        Breakout,
        Composite,
        DollarCostAveraging,
        Grid,
    )
}


def strategy_class(name: str) -> type[Strategy]:
    """Return the strategy class called `name`.

    Raises StrategyError, which lists the allowed names, where there is none.
    """
    if name not in STRATEGIES:
        raise StrategyError(
            f"unknown strategy '{name}': allowed are {', '.join(sorted(STRATEGIES))}"
        )
    return STRATEGIES[name]
