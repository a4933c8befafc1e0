"""The values that research hands on to tracking, to the promotion gate, to reports and notebooks.

The frames in them are Polars frames, which are never changed after construction.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs

#: A strategy's parameters as plain values, the way `Strategy.from_params` takes them.
ParamValues = Mapping[str, float | int | str | bool]


def parameters_text(params: ParamValues) -> str:
    """Return parameters as `name=value` pairs, fractions with four significant digits.

    >>> parameters_text({"lookback_bars": 30, "threshold": 0.123456789})
    'lookback_bars=30, threshold=0.1235'
    """
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


@dataclass(frozen=True)
class BacktestMetrics:
    """The figures of one equity curve.

    Fractions are fractions: 0.1 is 10%. Annual figures use elapsed time, and a risk-free rate of
    zero. Formulas and sources are in penstock.research.engine.metrics.
    """

    total_return: float
    """The return over the whole curve, as a fraction."""
    annual_return: float
    """The compound return per year, as a fraction."""
    annual_volatility: float
    """The standard deviation of returns per year, as a fraction."""
    sharpe: float
    """The Sharpe ratio per year."""
    sortino: float
    """The Sortino ratio per year."""
    max_drawdown: float
    """The largest fall from a peak, positive: 0.3 means that equity fell 30%."""
    calmar: float
    """The annual return over the maximum drawdown."""
    turnover: float
    """The notional traded per year over the mean equity: 1.0 trades the whole equity once."""
    orders: int
    """The number of orders."""
    bars: int
    """The number of bars."""
    final_equity: float
    """The equity at the last close, in quote units."""
    skewness: float
    """The skewness of the returns per bar."""
    kurtosis: float
    """The raw kurtosis of the returns per bar: a normal distribution has 3."""
    probabilistic_sharpe: float
    """The probability that the true Sharpe ratio is above zero."""
    unfilled_share: float = -1.0
    """The fraction of what was ordered that the bars' volume did not fill; -1 where nobody measured
    it.
    """

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, as floats."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class BacktestResult:
    """One simulated run of one set of weights."""

    strategy: str
    """The strategy's name; "" where the weights were given."""
    params: ParamValues
    """The strategy's parameters; empty where the weights were given."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    costs: Costs
    """What orders cost."""
    initial_cash: float
    """The cash at the start, in quote units."""
    equity: pl.DataFrame
    """One row per bar: ts (the bar's open, ms, UTC) and equity at its close, in quote units."""
    orders: pl.DataFrame
    """One row per order (penstock.research.engine.backtest.ORDERS_SCHEMA), sorted by bar."""
    weights: pl.DataFrame
    """The target weights of the simulated bars (WEIGHTS_SCHEMA)."""
    metrics: BacktestMetrics
    """The figures of the equity curve."""
    written_off: pl.DataFrame
    """One row per holding whose bars ended (penstock.research.engine.backtest.ENDED_SCHEMA)."""

    @property
    def first_ts(self) -> datetime:
        """The open time of the first simulated bar."""
        first: datetime = self.equity["ts"][0]
        return first

    @property
    def last_ts(self) -> datetime:
        """The open time of the last simulated bar."""
        last: datetime = self.equity["ts"][-1]
        return last


class Objective(StrEnum):
    """What a search maximises in sample: a figure of BacktestMetrics."""

    SHARPE = "sharpe"
    SORTINO = "sortino"
    CALMAR = "calmar"
    TOTAL_RETURN = "total_return"


class SearchSettings(BaseModel):
    """How a search is run. The same settings on the same data give the same trials.

    The storage is no part of the search's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(50, ge=1, le=100_000, description="trials of each strategy")
    seed: int = Field(0, ge=0, description="seed of the sampler")
    objective: Objective = Field(Objective.SHARPE, description="what is maximised, in sample")
    oos_fraction: float = Field(
        0.3, gt=0, lt=1, description="fraction of the bars, at the end, that the search never sees"
    )
    purge_bars: int = Field(
        1, ge=0, description="bars between the two parts that neither of them uses"
    )
    initial_cash: float = Field(10_000.0, gt=0, description="cash at the start, in quote units")
    top: int = Field(10, ge=1, description="number of best candidates that are kept")
    storage_url: str | None = Field(
        None,
        description="Optuna storage, `journal:PATH` or a database URL; without one it is in memory",
    )


@dataclass(frozen=True)
class Candidate:
    """One of the best trials, by in-sample objective."""

    number: int
    """The trial's number."""
    strategy: str
    """The strategy's name."""
    params: ParamValues
    """The strategy's parameters."""
    value: float
    """The objective, in sample."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found. The out-of-sample part was simulated once, with the choice only."""

    id: str
    """The search's name: same data, code, costs and settings, same id."""
    dataset_hash: str
    """The hash of the bars."""
    settings: SearchSettings
    """How it was run."""
    costs: Costs
    """What orders cost."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    trials: pl.DataFrame
    """One row per trial.

    The columns are number, strategy, state ("complete" or "pruned"), value, sharpe, total_return,
    max_drawdown, turnover, orders, took_ms and params (as JSON). There is one column `param_<name>`
    for each parameter of any strategy, null where the strategy has no such parameter.
    """
    candidates: tuple[Candidate, ...]
    """The `top` best trials, best first. The first is the choice."""
    strategy: str
    """The name of the chosen strategy."""
    best_params: ParamValues
    """The chosen parameters."""
    best_value: float
    """The objective of the choice, in sample."""
    in_sample: BacktestResult
    """The choice on the bars that were searched."""
    out_of_sample: BacktestResult
    """The choice on the bars that were not."""
    benchmark_out_of_sample: BacktestResult
    """Equal weights, rebalanced at each bar, on the same bars with the same costs."""
    deflated_sharpe: float
    """The probability that the choice's true in-sample Sharpe ratio is better than luck.

    Luck is what the best of `trial_count` worthless trials would show.
    """
    trial_count: int
    """The number of trials with allowed parameters."""
    in_sample_end: datetime
    """The open time of the last bar that was searched."""
    out_of_sample_start: datetime
    """The open time of the first bar out of sample."""
    study_name: str
    """The name of the chosen strategy's Optuna study."""

    def figures_table(self) -> pl.DataFrame:
        """Return the choice's figures, one row per metric, as text.

        The columns are metric, in_sample, out_of_sample and equal_weights. Counts are whole,
        fractions are percentages.
        """
        parts = (self.in_sample, self.out_of_sample, self.benchmark_out_of_sample)
        figures = [part.metrics.as_dict() for part in parts]
        rows = [(name, *(_shown(name, figure[name]) for figure in figures)) for name in figures[0]]
        columns = ["metric", "in_sample", "out_of_sample", "equal_weights"]
        return pl.DataFrame(rows, schema=columns, orient="row")


#: How each metric is written; ratios have two places.
_FORMATS = {
    **dict.fromkeys(("total_return", "annual_return"), "+z.2%"),
    **dict.fromkeys(
        ("annual_volatility", "max_drawdown", "probabilistic_sharpe", "unfilled_share"), ".2%"
    ),
    **dict.fromkeys(("orders", "bars"), ",.0f"),
    "final_equity": ",.2f",
}


def _shown(metric: str, value: float) -> str:
    if metric == "unfilled_share" and value < 0:
        return "not measured"
    return format(value, _FORMATS.get(metric, "z.2f"))
