"""The values that research hands on: to tracking, to the promotion gate, to reports and to
notebooks. Plain data, no behaviour.

Frames inside results are Polars frames and are never changed after construction.
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


@dataclass(frozen=True)
class BacktestMetrics:
    """Figures of one equity curve. Fractions are fractions (0.1 is 10%); formulas and sources are
    in research.metrics.

    `sharpe`, `sortino` and the annual figures are annualised by the timeframe's bars in a year,
    with a risk-free rate of zero. `max_drawdown` is positive (0.3: equity fell 30% from a peak).
    `turnover` is the notional traded a year over the mean equity (1.0: the whole book bought or
    sold once). `skewness` and `kurtosis` are of per-bar returns; kurtosis is raw (a normal
    distribution has 3). `probabilistic_sharpe` is the probability that the true Sharpe is above
    zero.
    """

    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe: float
    sortino: float
    max_drawdown: float
    calmar: float
    turnover: float
    orders: int
    bars: int
    final_equity: float
    skewness: float
    kurtosis: float
    probabilistic_sharpe: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, as floats: what a tracker logs."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class BacktestResult:
    """One simulated run of one set of weights.

    `equity`: columns ts (bar open, ms, UTC) and equity (quote units, marked at that bar's close),
    one row a bar. `orders`: columns ts (the bar at whose open it filled), symbol, side
    ("buy"/"sell"), quantity (base units), price (slippage included), fee (quote units). `weights`:
    the targets decided (WEIGHTS_SCHEMA), within the simulated range. `strategy` is "" and `params`
    empty where the weights were given and not computed.
    """

    strategy: str
    params: ParamValues
    timeframe: Timeframe
    symbols: tuple[str, ...]
    costs: Costs
    initial_cash: float
    equity: pl.DataFrame
    orders: pl.DataFrame
    weights: pl.DataFrame
    metrics: BacktestMetrics

    @property
    def first_ts(self) -> datetime:
        """Open time of the first simulated bar."""
        first: datetime = self.equity["ts"][0]
        return first

    @property
    def last_ts(self) -> datetime:
        """Open time of the last simulated bar."""
        last: datetime = self.equity["ts"][-1]
        return last


class Objective(StrEnum):
    """What a search maximises, in sample."""

    SHARPE = "sharpe"
    SORTINO = "sortino"
    CALMAR = "calmar"
    TOTAL_RETURN = "total_return"


class SearchSettings(BaseModel):
    """How a search is run. The same settings on the same data give the same trials.

    `trials` is for each strategy searched. The last `oos_fraction` of the bars is never seen by the
    search; `purge_bars` between the two parts are used by neither. `storage_url` is an Optuna
    storage (`journal:PATH` or a database URL) for optuna-dashboard; without one the study lives in
    memory. The storage is no part of the search's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(50, ge=1, le=100_000)
    seed: int = Field(0, ge=0)
    objective: Objective = Objective.SHARPE
    oos_fraction: float = Field(0.3, gt=0, lt=1)
    purge_bars: int = Field(1, ge=0)
    initial_cash: float = Field(10_000.0, gt=0)
    top: int = Field(10, ge=1)
    storage_url: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One of the best trials, by in-sample objective."""

    number: int
    strategy: str
    params: ParamValues
    value: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    `trials`: one row a trial, columns number, strategy, state ("complete"/"pruned"), value, sharpe,
    total_return, max_drawdown, turnover, orders, took_ms, params (the trial's parameters as JSON),
    and one `param_<name>` column for each parameter of any strategy (null where the strategy has no
    such parameter). `candidates` are the `top` best, best first; the first is the choice. The
    out-of-sample part was looked at once, with the choice only. `deflated_sharpe` is the
    probability that the choice's true in-sample Sharpe is above what the best of `trial_count`
    worthless trials would show. `benchmark_out_of_sample` holds equal weights, rebalanced each bar,
    with the same costs, in the same bars.
    """

    id: str
    dataset_hash: str
    settings: SearchSettings
    costs: Costs
    timeframe: Timeframe
    symbols: tuple[str, ...]
    trials: pl.DataFrame
    candidates: tuple[Candidate, ...]
    strategy: str
    best_params: ParamValues
    best_value: float
    in_sample: BacktestResult
    out_of_sample: BacktestResult
    benchmark_out_of_sample: BacktestResult
    deflated_sharpe: float
    trial_count: int
    in_sample_end: datetime
    out_of_sample_start: datetime
    study_name: str

    def figures_table(self) -> pl.DataFrame:
        """Return the choice's figures, one row per metric: columns metric, in_sample,
        out_of_sample, equal_weights (text).
        """
        parts = (self.in_sample, self.out_of_sample, self.benchmark_out_of_sample)
        figures = [part.metrics.as_dict() for part in parts]
        rows = [(name, *(f"{figure[name]:.4f}" for figure in figures)) for name in figures[0]]
        columns = ["metric", "in_sample", "out_of_sample", "equal_weights"]
        return pl.DataFrame(rows, schema=columns, orient="row")
