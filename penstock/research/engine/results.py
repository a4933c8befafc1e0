"""The values that research hands on to tracking, to the promotion gate, to reports and notebooks.

The frames in them are Polars frames, which are never changed after construction.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from penstock.core.looks import LookCount
from penstock.core.timeframes import Timeframe
from penstock.core.trials import ParamValues
from penstock.research.engine.costs import Costs
from penstock.research.search.settings import Objective, SearchSettings

__all__ = [
    "BacktestMetrics",
    "BacktestResult",
    "Candidate",
    "ParamValues",
    "SearchResult",
    "SearchSettings",
    "parameters_text",
]


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


@dataclass(frozen=True)
class Candidate:
    """One of the best trials, by in-sample objective."""

    number: int
    """The trial's number."""
    strategy: str
    """The strategy's name."""
    params: ParamValues
    """The strategy's parameters."""
    values: tuple[float, ...]
    """The objectives, in sample."""

    @property
    def value(self) -> float:
        """The first objective, in sample."""
        return self.values[0]


@dataclass(frozen=True)
class SearchResult:
    """What a search found in sample. The bars out of sample stay closed: the gate opens them."""

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

    The columns are number, strategy, state ("complete" or "pruned"), value (the first objective),
    `objective_<name>` for each where there are several, sharpe, total_return, max_drawdown,
    turnover, orders, further metrics by their functions' names, took_ms and params (as JSON). There
    is one column `param_<name>` for each parameter of any strategy, null where the strategy has no
    such parameter.
    """
    candidates: tuple[Candidate, ...]
    """The `top` best trials, best first. The first is the choice."""
    front: tuple[Candidate, ...]
    """The trials that no other beats in every objective, best by the first objective first.

    Where there is one objective it is the best trial.
    """
    strategy: str
    """The name of the chosen strategy."""
    best_params: ParamValues
    """The chosen parameters."""
    best_value: float
    """The objective of the choice, in sample."""
    in_sample: BacktestResult
    """The choice on the bars that were searched."""
    benchmark_in_sample: BacktestResult
    """Equal weights, rebalanced at each bar, on the same bars with the same costs."""
    deflated_sharpe: float
    """The probability that the choice's true in-sample Sharpe ratio is better than luck.

    Luck is what the best of as many worthless trials would show as were ever tried on these bars:
    `trial_count`, or more by the journal.
    """
    trial_count: int
    """The number of trials with allowed parameters."""
    looks: LookCount | None
    """What the journal has counted on these bars; None where the search is on no journal."""
    in_sample_start: datetime
    """The open time of the first bar that was searched."""
    in_sample_end: datetime
    """The open time of the last bar that was searched."""
    out_of_sample_start: datetime
    """The open time of the first bar out of sample."""
    out_of_sample_end: datetime
    """The open time of the last bar out of sample."""
    study_name: str
    """The name under which the trials of the chosen strategy are kept."""

    @property
    def objective(self) -> str:
        """The name of the first objective."""
        return self.settings.objective[0]

    def best_so_far(self, values: pl.Expr) -> pl.Expr:
        """Return the best first objective up to each trial."""
        minimised = self.objective in list(Objective) and Objective(self.objective).minimised
        return values.cum_min() if minimised else values.cum_max()

    def figures_table(self) -> pl.DataFrame:
        """Return the choice's figures in sample, one row per metric, as text.

        The columns are metric, in_sample and equal_weights. Counts are whole, fractions are
        percentages.
        """
        figures = [part.metrics.as_dict() for part in (self.in_sample, self.benchmark_in_sample)]
        rows = [(name, *(_shown(name, figure[name]) for figure in figures)) for name in figures[0]]
        columns = ["metric", "in_sample", "equal_weights"]
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
