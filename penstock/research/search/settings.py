"""How a search is run: what configs/research.yaml says of it, and what a notebook gives."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Objective(StrEnum):
    """A figure of BacktestMetrics by which a search can choose, in sample."""

    SHARPE = "sharpe"
    SORTINO = "sortino"
    CALMAR = "calmar"
    TOTAL_RETURN = "total_return"
    ANNUAL_RETURN = "annual_return"
    PROBABILISTIC_SHARPE = "probabilistic_sharpe"
    MAX_DRAWDOWN = "max_drawdown"
    ANNUAL_VOLATILITY = "annual_volatility"
    TURNOVER = "turnover"

    @property
    def minimised(self) -> bool:
        """Whether less is better."""
        return self in (Objective.MAX_DRAWDOWN, Objective.ANNUAL_VOLATILITY, Objective.TURNOVER)


class SamplerName(StrEnum):
    """What proposes the parameters of a search's trials."""

    QMC_TPE = "qmc_tpe"
    """The first half quasi-random, the second half by TPE, which learns from all before.

    The first half covers the space evenly: a heat map of it has no bias to the peak.
    """
    QMC = "qmc"
    """Quasi-random: a scrambled Sobol sequence."""
    TPE = "tpe"
    """Optuna's tree-structured Parzen estimator, for one objective or several."""
    RANDOM = "random"
    """Independent draws."""
    GRID = "grid"
    """A grid over the space, as fine as the number of trials allows, in random order."""
    NSGA2 = "nsga2"
    """Optuna's NSGA-II, a genetic algorithm for several objectives."""


class FrontRule(StrEnum):
    """How the choice is made among the trials that no other trial beats in every objective."""

    IDEAL = "ideal"
    """The nearest to the best of every objective, each scaled to its range on the front."""
    FIRST = "first"
    """The best by the first objective."""


class SearchSettings(BaseModel):
    """How a search is run. The same settings on the same data give the same trials.

    An objective or a metric is the name of a figure (Objective), or a function: `module:function`,
    or the function itself. It takes a penstock.research.search.objectives.Simulation and returns a
    number, of which more is better.

    >>> SearchSettings(objective="sharpe").objective
    ('sharpe',)
    >>> SearchSettings(objective=["calmar", "turnover"]).objective
    ('calmar', 'turnover')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(50, ge=1, le=100_000, description="trials of each strategy")
    seed: int = Field(0, ge=0, description="seed of the sampler")
    objective: tuple[str, ...] = Field(
        ("sharpe",), min_length=1, description="what is optimised, in sample: one, or several"
    )
    choice: FrontRule = Field(
        FrontRule.IDEAL, description="how the choice is made where there are several objectives"
    )
    metrics: tuple[str, ...] = Field((), description="further figures of each trial: functions")
    sampler: SamplerName = Field(SamplerName.QMC_TPE, description="what proposes the trials")
    batch: int = Field(20, ge=1, description="trials that are proposed and kept together, at most")
    oos_fraction: float = Field(
        0.3, gt=0, lt=1, description="fraction of the bars, at the end, that the search never sees"
    )
    split_step: float = Field(
        0.05,
        ge=0,
        le=1,
        description="the part in sample grows in steps of this fraction; 0 means bar by bar",
    )
    purge_bars: int = Field(
        1, ge=0, description="bars between the two parts that neither of them uses"
    )
    initial_cash: float = Field(10_000.0, gt=0, description="cash at the start, in quote units")
    top: int = Field(10, ge=1, description="number of best candidates that are kept")

    @model_validator(mode="before")
    @classmethod
    def _no_storage(cls, given: Any) -> Any:
        if isinstance(given, dict) and "storage_url" in given:
            raise ValueError(
                "storage_url is gone: Penstock keeps the trials in its own database, where a "
                "search goes on by itself; leave it out, and give `search` a store in a notebook"
            )
        return given

    @field_validator("objective", "metrics", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        if isinstance(given, str) or callable(given):
            given = (given,)
        if not isinstance(given, list | tuple):
            return given
        return tuple(_path_of(each) if callable(each) else str(each) for each in given)

    @field_validator("objective")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in list(Objective) and ":" not in name:
                raise ValueError(
                    f"'{name}' is no figure to optimise: there are {', '.join(Objective)}, "
                    "and functions as module:function"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(names)}: an objective is named twice")
        return names

    @field_validator("metrics")
    @classmethod
    def _functions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if ":" not in name:
                raise ValueError(f"'{name}' is no function: write module:function")
        return names


def _path_of(function: Callable[..., Any]) -> str:
    """Return `module:name` of a function, by which it is found again."""
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name:
        raise ValueError(f"{function} has no name to be found by: define it in a module or a cell")
    return f"{function.__module__}:{name}"
